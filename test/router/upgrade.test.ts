/** Upgrades: a tunnel that starts after the upstream's 101 and not before. */
import { once } from 'node:events'
import http from 'node:http'
import t from 'tap'
import { WebSocket, WebSocketServer } from 'ws'
import { ask, dial, facade, origin, rawOrigin, writeUntilFull } from '../support/facade.ts'
import type { Teardown } from '../support/facade.ts'
import { ordersOf, sliceOrder } from '../support/router-control.ts'

async function before(t: Teardown, url: string, limits = {}) {
  return facade(t, ordersOf(url, url, [sliceOrder('legacy')]), { limits })
}

function handshake(...headers: string[]): string {
  const lines = [
    'GET /live HTTP/1.1',
    'Host: app.test',
    'Upgrade: websocket',
    'Connection: keep-alive, Upgrade',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Version: 13',
    ...headers,
  ]
  return `${lines.join('\r\n')}\r\n\r\n`
}

const ACCEPTED =
  'HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nConnection: Upgrade\r\nX-Odd: caf\xe9\r\n\r\n'

/** Open, with nothing sent through it yet. */
async function tunnel(t: Teardown, limits = {}) {
  const legacy = await rawOrigin(t)
  const f = await before(t, legacy.url, limits)
  const client = await dial(t, f.port)
  client.write(handshake())
  const origin = await legacy.connection(0)
  await origin.until('\r\n\r\n')
  origin.write(ACCEPTED)
  await client.until('\r\n\r\n')
  return { f, client, origin }
}

void t.test('bytes flow both ways, unread, after the upstream’s 101', async t => {
  const legacy = await rawOrigin(t)
  const { port } = await before(t, legacy.url)
  const client = await dial(t, port)
  client.write(
    `${handshake('Authorization: Bearer x', 'Origin: http://app.test', 'X-A: caf\xe9')}early`,
  )
  const origin = await legacy.connection(0)
  const seen = await origin.take('\r\n\r\n')
  for (const line of [
    'Host: app.test',
    'Authorization: Bearer x',
    'Origin: http://app.test',
    'X-A: caf\xe9',
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  ]) {
    t.ok(seen.includes(`\r\n${line}\r\n`), line)
  }
  t.equal(origin.text, '', 'what came with the handshake waits')
  origin.write(`${ACCEPTED}greeting`)
  t.equal(await client.until('greeting'), `${ACCEPTED}greeting`, 'the 101 comes as it was')
  await origin.until('early')
  client.write('\x00\xff')
  await origin.until('early\x00\xff')
  client.socket.end()
  t.equal((await origin.end()).ended, 'fin')
  origin.write('last words')
  await client.until('last words')
  origin.socket.end()
  t.equal((await client.end()).ended, 'fin')
})

void t.test('a reset passes as a reset', async t => {
  const { client, origin } = await tunnel(t)
  origin.socket.resetAndDestroy()
  t.equal((await client.end()).ended, 'reset')
})

void t.test(
  'a refused upgrade is answered as it was, and nothing behind it reaches an upstream',
  async t => {
    const smuggled = 'DELETE /api/appointments/1 HTTP/1.1\r\nHost: app.test\r\n\r\n'
    const answers = [
      'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\nContent-Length: 4\r\n\r\nnope',
      'HTTP/1.1 302 Found\r\nLocation: /login\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nnope\r\n0\r\n\r\n',
      'HTTP/1.1 200 OK\r\nX-Until: close\r\n\r\nnope',
      'HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n',
    ]
    const legacy = await rawOrigin(t)
    const { port } = await before(t, legacy.url)
    for (const [i, answer] of answers.entries()) {
      const client = await dial(t, port)
      client.write(handshake() + smuggled)
      const origin = await legacy.connection(i)
      await origin.take('\r\n\r\n')
      client.write(smuggled)
      origin.write(answer)
      if (answer.includes('X-Until')) origin.socket.end()
      const { text } = await client.end()
      const [head = ''] = answer.split('\r\n', 1)
      t.ok(text.startsWith(`${head}\r\n`), head)
      t.match(text, /\r\nConnection: close\r\n/)
      if (answer.includes('nope')) t.match(text, /nope/)
      await origin.end()
      t.equal(origin.text, '', 'not a byte more')
    }
    t.equal(legacy.sockets.length, answers.length, 'and no other connection')
  },
)

void t.test('an upgrade to a dead upstream is a 502', async t => {
  const gone = await rawOrigin({ teardown() {} })
  gone.close()
  const { port } = await before(t, gone.url)
  const client = await dial(t, port)
  client.write(handshake())
  const { text } = await client.end()
  t.match(text, /^HTTP\/1.1 502 Bad Gateway\r\n[^]*X-Banyan: upstream-unreachable/)
})

void t.test(
  'an offer of h2c is answered as plain HTTP/1.1, on a connection that lives on',
  async t => {
    const legacy = await origin(t, (req, res) => {
      let body = ''
      req.on('data', (chunk: Buffer) => (body += chunk.toString()))
      req.on('end', () => res.end(`${req.method} ${req.headers.upgrade} [${body}]`))
    })
    const { port } = await before(t, legacy.url)
    const client = await dial(t, port)
    const head = (method: string, extra: string) =>
      `${method} /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n${extra}\r\n`
    client.write(head('GET', ''))
    t.match(await client.take('GET undefined []'), /^HTTP\/1.1 200 OK/)
    client.write(`${head('POST', 'Content-Length: 5\r\n')}hello`)
    await client.take('POST undefined [hello]')
    client.write(head('POST', 'Content-Length: 5\r\n'))
    client.write('later')
    await client.take('POST undefined [later]')
    t.equal(client.ended, undefined)
  },
)

void t.test('any other upgrade with a body or an unsafe method is a plain request', async t => {
  const legacy = await origin(t, (req, res) => {
    req.resume()
    res.end(`${req.method} ${req.headers.upgrade}!`)
  })
  const { port } = await before(t, legacy.url)
  const client = await dial(t, port)
  client.write(handshake('Content-Length: 2').replace('GET', 'POST') + 'hi')
  await client.until('POST undefined!')
})

void t.test(
  'a real WebSocket works through it, with the subprotocol that the origin chose',
  async t => {
    const legacy = http.createServer()
    const sockets = new WebSocketServer({
      server: legacy,
      handleProtocols: protocols => (protocols.has('v2') ? 'v2' : false),
    })
    sockets.on('connection', socket => {
      socket.on('message', (data, binary) => socket.send(data as Buffer, { binary }))
      socket.on('ping', () => socket.close(4001, 'bye'))
    })
    legacy.listen(0, '127.0.0.1')
    await once(legacy, 'listening')
    t.teardown(() => legacy.close())
    const { port } = legacy.address() as { port: number }
    const f = await before(t, `http://127.0.0.1:${port}`)
    const socket = new WebSocket(`ws://127.0.0.1:${f.port}/live`, ['v1', 'v2'])
    await once(socket, 'open')
    t.equal(socket.protocol, 'v2')
    const big = 'x'.repeat(2_000_000)
    socket.send(big)
    const [echo] = (await once(socket, 'message')) as [Buffer]
    t.equal(echo.toString(), big)
    socket.ping()
    const [code, reason] = (await once(socket, 'close')) as [number, Buffer]
    t.strictSame([code, reason.toString()], [4001, 'bye'])
  },
)

void t.test('extensions and close codes are agreed between the two ends', async t => {
  const legacy = http.createServer()
  const sockets = new WebSocketServer({ server: legacy, perMessageDeflate: { threshold: 0 } })
  sockets.on('connection', socket => {
    socket.on('message', data => socket.close(Number((data as Buffer).toString()), 'as asked'))
  })
  legacy.listen(0, '127.0.0.1')
  await once(legacy, 'listening')
  t.teardown(() => legacy.close())
  const f = await before(t, `http://127.0.0.1:${(legacy.address() as { port: number }).port}`)
  for (const code of [1000, 1001, 1003, 1008, 1011, 1012, 1013, 3000, 4999]) {
    const socket = new WebSocket(`ws://127.0.0.1:${f.port}/live`)
    await once(socket, 'open')
    t.match(socket.extensions, /permessage-deflate/)
    socket.send(String(code))
    const [closed, reason] = (await once(socket, 'close')) as [number, Buffer]
    t.strictSame([closed, reason.toString()], [code, 'as asked'])
  }
})

void t.test('a slow reader behind a tunnel makes the origin wait', async t => {
  const { client, origin } = await tunnel(t)
  client.socket.pause()
  const chunk = Buffer.alloc(65_536)
  const sent = await writeUntilFull(origin, chunk)
  t.ok(sent < 32 << 20, `${sent >> 20} MB were taken`)
})

void t.test('a tunnel goes where a GET of its path goes', async t => {
  const answer =
    (name: string): http.RequestListener =>
    (_req, res) =>
      res.end(name)
  const legacy = await origin(t, answer('legacy'))
  const service = await origin(t, answer('service'))
  const orders = ordersOf(legacy.url, service.url, [
    sliceOrder('moved', { routes: [{ methods: ['GET'], pattern: '/live' }] }),
  ])
  const f = await facade(t, orders)
  const client = await dial(t, f.port)
  client.write(handshake())
  t.match((await client.end()).text, /service$/)
  const other = await dial(t, f.port)
  other.write(handshake().replace('/live', '//live'))
  t.match((await other.end()).text, /^HTTP\/1.1 400 [^]*X-Banyan: path-unclear/)
  t.match(await ask(f.port, 'GET', '/x'), { body: 'legacy' })
})

void t.test('stopping the router closes its tunnels after the grace period', async t => {
  const { f, client, origin } = await tunnel(t, { graceMs: 50 })
  await f.stop()
  await client.end()
  await origin.end()
  t.pass('closed on both sides')
})
