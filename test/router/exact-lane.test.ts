/** What a table of cases can't show: bytes in time, aborts, and ends that are not clean. */
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import http from 'node:http'
import t from 'tap'
import { ask, dial, facade, origin, rawOrigin, writeUntilFull } from '../support/facade.ts'
import type { Teardown } from '../support/facade.ts'
import { ordersOf, sliceOrder } from '../support/router-control.ts'

const GET = 'GET /x HTTP/1.1\r\nHost: a\r\n\r\n'

async function before(t: Teardown, url: string, limits = {}) {
  return facade(t, ordersOf(url, url, [sliceOrder('legacy')]), { limits })
}

void t.test('a response’s head and each chunk arrive before the next one is sent', async t => {
  const legacy = await rawOrigin(t)
  const { port } = await before(t, legacy.url)
  const client = await dial(t, port)
  client.write(GET)
  const origin = await legacy.connection(0)
  await origin.until('\r\n\r\n')
  origin.write('HTTP/1.1 200 OK\r\nX-Name: caf\xe9\r\nTransfer-Encoding: chunked\r\n\r\n')
  t.match(await client.until('\r\n\r\n'), /X-Name: caf\xe9\r\n/, 'the head alone, byte for byte')
  for (const event of ['one', 'two', 'three']) {
    origin.write(`${event.length}\r\n${event}\r\n`)
    await client.until(event)
  }
  origin.write('0\r\n\r\n')
  await client.until('0\r\n\r\n')
  t.pass('ended')
})

void t.test('a request’s head and each chunk arrive before the next one is sent', async t => {
  const legacy = await rawOrigin(t)
  const { port } = await before(t, legacy.url)
  const client = await dial(t, port)
  client.write(
    'POST /x HTTP/1.1\r\nHost: a\r\nX-Name: caf\xe9\r\nTransfer-Encoding: chunked\r\n\r\n',
  )
  const origin = await legacy.connection(0)
  t.match(await origin.until('\r\n\r\n'), /X-Name: caf\xe9\r\n/, 'the head alone, byte for byte')
  for (const event of ['one', 'two', 'three']) {
    client.write(`${event.length}\r\n${event}\r\n`)
    await origin.until(event)
  }
})

void t.test('the origin decides about 100-continue', async t => {
  const head =
    'POST /x HTTP/1.1\r\nHost: a\r\nX: \xe9\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n'

  await t.test('it says continue: the body follows', async t => {
    const legacy = await rawOrigin(t)
    const { port } = await before(t, legacy.url)
    const client = await dial(t, port)
    client.write(head)
    const origin = await legacy.connection(0)
    t.match(await origin.until('\r\n\r\n'), /X: \xe9\r\nExpect: 100-continue/)
    t.equal(client.text, '', 'nobody else says it')
    origin.write('HTTP/1.1 100 Continue\r\n\r\n')
    await client.take('HTTP/1.1 100 Continue\r\n\r\n')
    client.write('hello')
    await origin.until('hello')
    origin.write('HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n')
    t.match(await client.until('\r\n\r\n'), /^HTTP\/1.1 201 Created/)
  })

  await t.test('it says no: the body is never asked for, and both connections end', async t => {
    const legacy = await rawOrigin(t)
    const { port } = await before(t, legacy.url)
    const client = await dial(t, port)
    client.write(head)
    const origin = await legacy.connection(0)
    await origin.until('\r\n\r\n')
    origin.write('HTTP/1.1 417 No\r\nContent-Length: 2\r\n\r\nno')
    const { text } = await client.end()
    t.match(text, /^HTTP\/1.1 417 No\r\n[^]*Connection: close\r\n[^]*no$/)
    t.notMatch(text, /100 Continue/)
    await origin.end()
  })

  await t.test('the client doesn’t wait: the body goes through', async t => {
    const legacy = await rawOrigin(t)
    const { port } = await before(t, legacy.url)
    const client = await dial(t, port)
    client.write(`${head}hello`)
    const origin = await legacy.connection(0)
    await origin.until('hello')
  })
})

void t.test('early hints and other interim answers are relayed before the final one', async t => {
  const legacy = await rawOrigin(t)
  const { port } = await before(t, legacy.url)
  const client = await dial(t, port)
  client.write(GET)
  const origin = await legacy.connection(0)
  await origin.until('\r\n\r\n')
  origin.write('HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\nLink: </b.js>\r\n\r\n')
  const hints = 'HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\nLink: </b.js>\r\n\r\n'
  t.equal(await client.take('\r\n\r\n'), hints)
  origin.write('HTTP/1.1 102 Processing\r\n\r\n')
  t.equal(await client.take('\r\n\r\n'), 'HTTP/1.1 102 Processing\r\n\r\n')
  origin.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
  t.match(await client.until('ok'), /^HTTP\/1.1 200 OK/)
})

void t.test('hop-by-hop headers stay on their hop, in both directions', async t => {
  const legacy = await rawOrigin(t)
  const { port } = await before(t, legacy.url)
  const client = await dial(t, port)
  const nominated =
    'X-Drop, Host, Authorization, Cookie, Content-Length, X-Forwarded-For, x-banyan-identity'
  const lines = [
    'POST /x HTTP/1.1',
    'Host: a',
    `Connection: keep-alive, ${nominated}`,
    'Keep-Alive: timeout=9',
    'Proxy-Connection: keep-alive',
    'Proxy-Authorization: x',
    'TE: gzip, trailers;q=0.5',
    'X-Drop: 1',
    'Authorization: Basic y',
    'Cookie: z=1',
    'Content-Length: 2',
  ]
  client.write(`${lines.join('\r\n')}\r\n\r\nhi`)
  const origin = await legacy.connection(0)
  const seen = await origin.until('hi')
  for (const gone of [/x-drop/i, /^keep-alive/im, /proxy-/i, /gzip/, /timeout=9/])
    t.notMatch(seen, gone)
  for (const kept of ['Host: a', 'Authorization: Basic y', 'Cookie: z=1', 'Content-Length: 2']) {
    t.ok(seen.includes(`\r\n${kept}\r\n`), kept)
  }
  t.match(seen, /\r\nTE: trailers\r\nConnection: keep-alive, TE\r\n/)
  t.match(seen, /\r\nX-Forwarded-For: 127.0.0.1\r\n/)
  const answer = [
    'HTTP/1.1 200 OK',
    'Connection: close, X-Hop',
    'X-Hop: 1',
    'Keep-Alive: timeout=9',
  ]
  origin.write(
    [...answer, 'Upgrade: h2c', 'Proxy-Authenticate: q', 'Content-Length: 2', '', 'ok'].join(
      '\r\n',
    ),
  )
  const got = await client.until('ok')
  for (const gone of [/x-hop/i, /timeout=9/, /^upgrade/im]) t.notMatch(got, gone)
  t.match(got, /Proxy-Authenticate: q/)
  t.equal(client.ended, undefined, 'the origin’s close is not the client’s')
})

void t.test(
  'forwarding headers grow, and are believed where somebody stands in front of us',
  async t => {
    const legacy = await origin(t, (_req, res) => res.end())
    const { port } = await before(t, legacy.url)
    await ask(port, 'GET', '/', { headers: { host: 'app.test:81' } })
    const headers = {
      host: 'inner',
      'x-forwarded-for': '192.0.2.1',
      'x-forwarded-proto': 'https',
      'x-forwarded-host': 'app.test',
    }
    await ask(port, 'GET', '/', { headers })
    const seen = legacy.seen.map(({ headers: h }) => [
      h['x-forwarded-for'],
      h['x-forwarded-proto'],
      h['x-forwarded-host'],
    ])
    t.match(seen[0], ['127.0.0.1', 'http', 'app.test:81'])
    t.match(seen[1], ['192.0.2.1, 127.0.0.1', 'https', 'app.test'])
  },
)

void t.test('a client that leaves is news for the origin, whatever the method', async t => {
  for (const method of ['GET', 'POST']) {
    let aborted = (): void => {}
    const told = new Promise<void>(resolve => (aborted = resolve))
    const legacy = await origin(t, req => {
      req.resume()
      req.once('close', () => (req.destroyed ? aborted() : undefined))
      req.socket.once('close', aborted)
    })
    const { port } = await before(t, legacy.url)
    const client = await dial(t, port)
    client.write(`${method} /x HTTP/1.1\r\nHost: a\r\n\r\n`)
    await legacy.arrived(1)
    client.socket.destroy()
    await told
    t.pass(method)
  }
})

void t.test(
  'a client that leaves in the middle of its upload leaves no complete request',
  async t => {
    const legacy = await rawOrigin(t)
    const { port } = await before(t, legacy.url)
    const client = await dial(t, port)
    client.write('POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf')
    const origin = await legacy.connection(0)
    await origin.until('half')
    client.socket.destroy()
    const { text } = await origin.end()
    t.ok(text.endsWith('\r\n\r\nhalf'))
  },
)

void t.test('an origin that dies in the middle of its answer is never a clean end', async t => {
  const shapes = [
    ['Content-Length: 10', 'part', 'fin'],
    ['Transfer-Encoding: chunked', '4\r\npart\r\n', 'fin'],
    ['Content-Length: 10', 'part', 'reset'],
    ['Transfer-Encoding: chunked', '4\r\npart\r\n', 'reset'],
    ['X-Until: close', 'part', 'reset'],
  ] as const
  const legacy = await rawOrigin(t)
  const { port } = await before(t, legacy.url)
  for (const [i, [header, body, how]] of shapes.entries()) {
    const client = await dial(t, port)
    client.write(GET)
    const origin = await legacy.connection(i)
    await origin.until('\r\n\r\n')
    origin.write(`HTTP/1.1 200 OK\r\n${header}\r\n\r\n${body}`)
    await client.until('part')
    if (how === 'fin') origin.socket.end()
    else origin.socket.resetAndDestroy()
    const { text, ended } = await client.end()
    t.ok(text.endsWith(body), `${header}, ${how}: what arrived is all there is`)
    if (header === 'X-Until: close') t.equal(ended, 'reset', 'or the gap could not be seen')
  }
})

void t.test(
  'pipelined requests reach the origin one by one, and are answered in order',
  async t => {
    const legacy = await rawOrigin(t)
    const { port } = await before(t, legacy.url)
    const client = await dial(t, port)
    const request = (path: string) =>
      `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx`
    client.write(request('/first') + request('/second') + request('/third'))
    const origin = await legacy.connection(0)
    for (const path of ['/first', '/second', '/third']) {
      await origin.take('\r\n\r\nx')
      t.equal(origin.text, '', 'no other request is under way')
      origin.write(`HTTP/1.1 200 OK\r\nContent-Length: ${path.length}\r\n\r\n${path}`)
      t.match(await client.take(path), /^HTTP\/1.1 200 OK/)
    }
    t.equal(legacy.sockets.length, 1)
  },
)

void t.test('an upload of 64 MB passes unchanged, and needs no memory', async t => {
  const legacy = await origin(t, (req, res) => {
    const hash = createHash('sha256')
    req.on('data', (chunk: Buffer) => hash.update(chunk))
    req.on('end', () => res.end(hash.digest('hex')))
  })
  const { port } = await before(t, legacy.url)
  const chunk = randomBytes(1 << 20)
  const expected = createHash('sha256')
  const request = http.request({ port, method: 'POST', agent: false })
  const answered = once(request, 'response')
  const start = process.memoryUsage().arrayBuffers
  let peak = 0
  for (let i = 0; i < 64; i++) {
    expected.update(chunk)
    if (!request.write(chunk)) await once(request, 'drain')
    peak = Math.max(peak, process.memoryUsage().arrayBuffers - start)
  }
  request.end()
  const [answer] = (await answered) as [http.IncomingMessage]
  const [digest] = (await once(answer.setEncoding('utf8'), 'data')) as [string]
  t.equal(digest, expected.digest('hex'))
  t.ok(peak < 48 << 20, `${peak >> 20} MB`)
})

void t.test('an answer before the upload’s end doesn’t cut the upload', async t => {
  const legacy = await rawOrigin(t)
  const { port } = await before(t, legacy.url)
  const client = await dial(t, port)
  client.write('POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nhalf')
  const origin = await legacy.connection(0)
  await origin.until('half')
  origin.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
  await client.take('ok')
  client.write('rest')
  await origin.until('halfrest')
  client.write(GET)
  await origin.until(/GET \/x/)
  t.equal(legacy.sockets.length, 1, 'and both connections live on')
})

void t.test('an upload that nobody wants any more is read only so far', async t => {
  const legacy = await rawOrigin(t)
  const { port } = await before(t, legacy.url, { lingerBytes: 100_000, lingerMs: 60_000 })
  const client = await dial(t, port)
  client.write('POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\nstart')
  const origin = await legacy.connection(0)
  await origin.until('start')
  origin.write('HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno')
  origin.socket.destroySoon()
  await client.until('no')
  const push = (): void => {
    if (!client.ended) client.socket.write(Buffer.alloc(65_536), push)
  }
  push()
  await client.end()
  t.pass('closed by the façade')
})

void t.test('a slow reader makes the origin wait', async t => {
  const legacy = await rawOrigin(t)
  const { port } = await before(t, legacy.url)
  const client = await dial(t, port)
  client.write(GET)
  const origin = await legacy.connection(0)
  await origin.until('\r\n\r\n')
  client.socket.pause()
  origin.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n')
  const chunk = Buffer.concat([Buffer.from('10000\r\n'), Buffer.alloc(65_536), Buffer.from('\r\n')])
  const sent = await writeUntilFull(origin, chunk)
  t.ok(sent < 32 << 20, `${sent >> 20} MB were taken`)
})

void t.test('a slow reader gets all of an answer whose origin has long gone', async t => {
  const legacy = await rawOrigin(t)
  const { port } = await before(t, legacy.url)
  const body = 'x'.repeat(300_000)
  for (const [i, head] of [`Content-Length: ${body.length}`, 'X-Until: close'].entries()) {
    const client = await dial(t, port)
    client.socket.pause()
    client.write(GET)
    const origin = await legacy.connection(i)
    await origin.until('\r\n\r\n')
    origin.write(`HTTP/1.1 200 OK\r\nConnection: close\r\n${head}\r\n\r\n${body}`)
    origin.socket.end()
    await origin.end()
    client.socket.resume()
    t.ok((await client.until(body)).endsWith(body), head)
  }
})
