/** What a client is told when an upstream fails, and that nothing unsafe is ever sent twice. */
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { ask, dial, facade, origin, rawOrigin } from '../support/facade.ts'
import type { Reply, Teardown } from '../support/facade.ts'
import { ordersOf, sliceOrder } from '../support/router-control.ts'

async function before(t: Teardown, url: string, limits = {}) {
  return facade(t, ordersOf(url, url, [sliceOrder('legacy')]), { limits })
}

function isProblem(t: Tap, reply: Reply, status: number, reason: string): void {
  t.equal(reply.status, status)
  t.equal(reply.headers['x-banyan'], reason)
  t.equal(reply.headers['content-type'], 'application/problem+json')
  const body = JSON.parse(reply.body) as Record<string, unknown>
  t.match(body, { status, code: reason.toUpperCase().replaceAll('-', '_') })
  t.match(body.requestId, /^[0-9a-f-]{36}$/)
  t.notMatch(reply.body, /127\.0\.0\.1|localhost|stack|ECONN/)
}

type Tap = Pick<typeof t, 'equal' | 'match' | 'notMatch'>

void t.test('an upstream that refuses is a 502', async t => {
  const gone = await rawOrigin({ teardown() {} })
  gone.close()
  const { port } = await before(t, gone.url)
  isProblem(t, await ask(port, 'GET', '/secret/path'), 502, 'upstream-unreachable')
  isProblem(t, await ask(port, 'POST', '/', { body: 'x' }), 502, 'upstream-unreachable')
  const head = await ask(port, 'HEAD', '/')
  t.match(head, { status: 502, body: '' })
})

void t.test('an upstream that resets or closes before its answer is a 502', async t => {
  const legacy = await rawOrigin(t, async socket => {
    await socket.until('\r\n\r\n')
    if (socket.text.includes('/reset')) socket.socket.resetAndDestroy()
    else socket.socket.end()
  })
  const { port } = await before(t, legacy.url)
  for (const method of ['GET', 'POST']) {
    isProblem(t, await ask(port, method, '/reset'), 502, 'upstream-reset')
    isProblem(t, await ask(port, method, '/close'), 502, 'upstream-reset')
  }
  t.equal(legacy.sockets.length, 4, 'once each: a fresh connection is no keep-alive race')
})

const GARBAGE = [
  'SSH-2.0-OpenSSH\r\n',
  'HTTP/1.1 000 Zero\r\nContent-Length: 0\r\n\r\n',
  'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab',
  'HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n',
  'HTTP/1.1 200 OK\r\nBad Name: 1\r\n\r\n',
  `HTTP/1.1 200 OK\r\nX: ${'x'.repeat(70_000)}\r\n\r\n`,
  'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n',
]

void t.test(
  'an upstream that doesn’t speak HTTP is a 502, and the next request is served',
  async t => {
    let next = ''
    const legacy = await rawOrigin(t, async socket => {
      await socket.until('\r\n\r\n')
      socket.write(next)
    })
    const { port } = await before(t, legacy.url)
    for (const garbage of GARBAGE) {
      next = garbage
      const reply = await ask(port, 'GET', '/')
      t.equal(reply.status, 502, garbage.slice(0, 60))
      t.match(reply.headers['x-banyan'], /^upstream-(garbage|reset)$/)
    }
    next = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
    t.match(await ask(port, 'GET', '/'), { status: 200, body: 'ok' })
  },
)

void t.test('more than was asked for ends with the answer that was asked for', async t => {
  const extra = 'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen'
  const answers: Record<string, string> = {
    '/204': `HTTP/1.1 204 No Content\r\n\r\nbody`,
    '/double': `HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok${extra}`,
    '/': 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine',
  }
  const legacy = await rawOrigin(t, async socket => {
    for (;;) {
      const head = await socket.take('\r\n\r\n')
      socket.write(answers[/ (\S+) /.exec(head)?.[1] ?? '/'] ?? '')
    }
  })
  const { port } = await before(t, legacy.url)
  for (const path of ['/204', '/double']) {
    const odd = await ask(port, 'GET', path)
    t.match(odd, { status: path === '/204' ? 204 : 200 })
    t.match(await ask(port, 'GET', '/'), { status: 200, body: 'fine' }, `after ${path}`)
  }
})

void t.test('bytes on an idle connection are nobody’s answer', async t => {
  const legacy = await rawOrigin(t)
  const { port } = await before(t, legacy.url)
  const first = ask(port, 'GET', '/1')
  const origin = await legacy.connection(0)
  await origin.take('\r\n\r\n')
  origin.write('HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none')
  t.match(await first, { body: 'one' })
  origin.write('HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison')
  await origin.end()
  const second = ask(port, 'GET', '/2')
  const fresh = await legacy.connection(1)
  await fresh.until('\r\n\r\n')
  fresh.write('HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo')
  t.match(await second, { body: 'two' })
})

/** A façade whose pooled connection closes at the moment of its reuse. */
async function race(t: Teardown) {
  const legacy = await rawOrigin(t)
  const { port } = await before(t, legacy.url)
  const warm = ask(port, 'GET', '/warm')
  const origin = await legacy.connection(0)
  await origin.take('\r\n\r\n')
  origin.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')
  await warm
  void origin.until('\r\n\r\n').then(() => origin.socket.resetAndDestroy())
  return { legacy, port }
}

void t.test('a keep-alive race: a GET is sent once more, a POST never', async t => {
  await t.test('GET', async t => {
    const { legacy, port } = await race(t)
    const get = ask(port, 'GET', '/raced')
    const again = await legacy.connection(1)
    await again.until('GET /raced')
    again.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    t.match(await get, { status: 200, body: 'ok' })
  })
  for (const [method, options] of [
    ['POST', {}],
    ['PUT', { body: 'x' }],
    ['GET', { body: 'x', headers: { 'content-length': 1 } }],
    ['GET', { headers: { 'x-http-method-override': 'DELETE' } }],
  ] as const) {
    await t.test(`${method} ${JSON.stringify(options)}`, async t => {
      const { legacy, port } = await race(t)
      isProblem(t, await ask(port, method, '/raced', options), 502, 'upstream-reset')
      t.equal(legacy.sockets.length, 1)
    })
  }
})

void t.test('a 503 passes once, with what it says', async t => {
  const legacy = await origin(t, (_req, res) =>
    res.writeHead(503, { 'retry-after': '1' }).end('x'.repeat(200_000)),
  )
  const { port } = await before(t, legacy.url)
  const reply = await ask(port, 'GET', '/')
  t.match(reply, { status: 503, headers: { 'retry-after': '1' } })
  t.equal(reply.body.length, 200_000)
  t.equal(legacy.seen.length, 1)
})

void t.test('an upstream that says nothing is a 504', async t => {
  const legacy = await rawOrigin(t)
  const { port } = await before(t, legacy.url, { answerMs: 50 })
  isProblem(t, await ask(port, 'GET', '/'), 504, 'upstream-timeout')
  isProblem(t, await ask(port, 'POST', '/', { body: 'x' }), 504, 'upstream-timeout')
})

void t.test('a client that stops in its upload is a 408, and its connection ends', async t => {
  const legacy = await rawOrigin(t)
  const { port } = await before(t, legacy.url, { answerMs: 50 })
  const client = await dial(t, port)
  client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf')
  const { text } = await client.end()
  t.match(text, /^HTTP\/1.1 408 [^]*X-Banyan: request-timeout\r\n[^]*Connection: close/)
})

void t.test('a stream that falls silent is cut, not ended', async t => {
  const legacy = await rawOrigin(t, async socket => {
    await socket.until('\r\n\r\n')
    socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n')
  })
  const { port } = await before(t, legacy.url, { streamIdleMs: 50 })
  const client = await dial(t, port)
  client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  const { text } = await client.end()
  t.ok(text.endsWith('2\r\nhi\r\n'))
})

void t.test(
  'requests beyond the sockets and the queue of an upstream are a 503 at once',
  async t => {
    const legacy = await rawOrigin(t)
    const { port } = await before(t, legacy.url, { upstreamSockets: 1, upstreamWaiting: 1 })
    const first = ask(port, 'GET', '/1')
    const origin = await legacy.connection(0)
    await origin.take('\r\n\r\n')
    const client = await dial(t, port)
    client.write('GET /2 HTTP/1.1\r\nHost: a\r\n\r\n')
    let busy: Reply
    do busy = await ask(port, 'GET', '/3')
    while (busy.status !== 503)
    isProblem(t, busy, 503, 'upstream-busy')
    origin.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')
    t.match(await first, { status: 200 })
    await origin.until('GET /2')
  },
)

void t.test('without orders there is nowhere to go', async t => {
  const { port } = await facade(t, undefined)
  isProblem(t, await ask(port, 'GET', '/'), 503, 'no-orders')
})

void t.test(
  'the identity of a TLS upstream is verified unless the file says otherwise',
  async t => {
    const dir = t.testdir()
    const args =
      'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=other.test -keyout key.pem -out cert.pem'
    execFileSync('openssl', args.split(' '), { cwd: dir, stdio: 'ignore' })
    const [key, cert] = ['key.pem', 'cert.pem'].map(file => readFileSync(join(dir, file)))
    const server = https.createServer({ key, cert }, (_req, res) => res.end('secret'))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.teardown(() => server.close())
    const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`
    const f = await before(t, url)
    isProblem(t, await ask(f.port, 'GET', '/'), 502, 'upstream-tls')
    await f.order({ ...ordersOf(url, url, []), version: 2, legacy: { url, insecure: true } })
    t.match(await ask(f.port, 'GET', '/'), { status: 200, body: 'secret' })
    server.closeAllConnections()
  },
)
