/** What each hop has of its own: HTTP/1.0, idle connections, connecting, refusals. */
import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { ask, dial, facade, origin, rawOrigin } from '../support/facade.ts'
import type { RawSocket, Teardown } from '../support/facade.ts'
import { ordersOf, sliceOrder } from '../support/router-control.ts'

async function before(t: Teardown, url: string, limits = {}) {
  return facade(t, ordersOf(url, url, [sliceOrder('legacy')]), { limits })
}

const GET = 'GET /x HTTP/1.1\r\nHost: a\r\n\r\n'
const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'

void t.test('an HTTP/1.0 client without a Host is given the upstream’s', async t => {
  const legacy = await rawOrigin(t)
  const { port } = await before(t, legacy.url)
  const client = await dial(t, port)
  client.write('GET /x HTTP/1.0\r\nX-A: 1\r\n\r\n')
  const origin = await legacy.connection(0)
  const seen = await origin.until('\r\n\r\n')
  t.match(seen, `GET /x HTTP/1.1\r\nHost: 127.0.0.1:${legacy.port}\r\nX-A: 1\r\n`)
  t.notMatch(seen, /x-forwarded-host/i, 'nobody named one')
})

void t.test('an HTTP/1.0 client gets a chunked answer without its chunks', async t => {
  const legacy = await rawOrigin(t)
  const { port } = await before(t, legacy.url)
  const client = await dial(t, port)
  client.write('GET /x HTTP/1.0\r\nHost: a\r\n\r\n')
  const origin = await legacy.connection(0)
  await origin.until('\r\n\r\n')
  origin.write(
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 1\r\n\r\n',
  )
  const { text, ended } = await client.end()
  t.match(text, /^HTTP\/1.1 200 OK\r\n(?:[^\r]+\r\n)*\r\nabcde$/)
  t.notMatch(text, /transfer-encoding|x-sum/i)
  t.equal(ended, 'fin')
})

void t.test('CONNECT is refused, and no upstream hears of it', async t => {
  const legacy = await rawOrigin(t)
  const { port } = await before(t, legacy.url)
  const client = await dial(t, port)
  client.write(`CONNECT other.test:443 HTTP/1.1\r\nHost: other.test:443\r\n\r\n${GET}`)
  t.notMatch((await client.end()).text, /HTTP\/1.1 2/)
  t.equal(legacy.sockets.length, 0)
})

void t.test('an origin that is tired of a slow upload is heard', async t => {
  const legacy = await rawOrigin(t)
  const { port } = await before(t, legacy.url)
  const client = await dial(t, port)
  client.write('POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nslow')
  const origin = await legacy.connection(0)
  await origin.until('slow')
  origin.write('HTTP/1.1 408 Too Slow For Me\r\nContent-Length: 4\r\nConnection: close\r\n\r\ntime')
  origin.socket.end()
  t.match(await client.until('time'), /^HTTP\/1.1 408 Too Slow For Me\r\n/)
})

void t.test('a thousand requests on one connection need one towards the origin', async t => {
  const legacy = await rawOrigin(t, async socket => {
    for (;;) {
      await socket.take('\r\n\r\n')
      socket.write(OK)
    }
  })
  const { port } = await before(t, legacy.url)
  const client = await dial(t, port)
  for (let i = 0; i < 1_000; i++) {
    client.write(GET)
    await client.take('\r\n\r\nok')
  }
  t.equal(legacy.sockets.length, 1)
  t.equal(client.text, '')
})

void t.test('an origin’s word on how long it keeps an idle connection counts', async t => {
  for (const [hint, connections] of [
    ['timeout=1', 2],
    ['timeout=60, max=100', 1],
  ] as const) {
    const legacy = await rawOrigin(t, async socket => {
      for (;;) {
        await socket.take('\r\n\r\n')
        socket.write(`HTTP/1.1 200 OK\r\nKeep-Alive: ${hint}\r\nContent-Length: 2\r\n\r\nok`)
      }
    })
    const { port } = await before(t, legacy.url)
    const client = await dial(t, port)
    for (let i = 0; i < 2; i++) {
      client.write(GET)
      await client.take('\r\n\r\nok')
    }
    t.equal(legacy.sockets.length, connections, hint)
  }
})

void t.test('a client may keep its connection for longer than load balancers do', async t => {
  const legacy = await origin(t, (_req, res) => res.end('ok'))
  const { port } = await before(t, legacy.url)
  const client = await dial(t, port)
  client.write(GET)
  const text = await client.until('ok')
  const seconds = Number(/\r\nKeep-Alive: timeout=(\d+)/.exec(text)?.[1])
  t.ok(seconds > 60, `${seconds} s`)
})

void t.test('no socket in time and no answer in time have two names', async t => {
  const legacy = await rawOrigin(t)
  const { port } = await before(t, legacy.url, { upstreamSockets: 1, connectMs: 50 })
  const client = await dial(t, port)
  client.write(GET)
  await (await legacy.connection(0)).until('\r\n\r\n')
  t.match(await ask(port, 'GET', '/'), {
    status: 504,
    headers: { 'x-banyan': 'upstream-connect-timeout' },
  })
  const hasty = await before(t, legacy.url, { answerMs: 50 })
  t.match(await ask(hasty.port, 'GET', '/'), {
    status: 504,
    headers: { 'x-banyan': 'upstream-timeout' },
  })
})

void t.test('an upstream may have an IPv6 address', async t => {
  const server = http.createServer((req, res) => res.end(req.headers.host))
  server.listen(0, '::1')
  const up = await Promise.race([
    once(server, 'listening').then(() => true),
    once(server, 'error').then(() => false),
  ])
  if (!up) return t.comment('this machine has no ::1')
  t.teardown(() => server.close())
  const { port } = await before(t, `http://[::1]:${(server.address() as AddressInfo).port}`)
  t.match(await ask(port, 'GET', '/', { headers: { host: 'app.test' } }), { body: 'app.test' })
})

void t.test('what the façade says in its own name is one line each, whatever it heard', async t => {
  const service = await rawOrigin(t)
  const nasty = 'a\r\nX-Evil: 1\u0000\r\n\r\n'
  const legacy = await origin(t, (_req, res) =>
    res.end(JSON.stringify({ sub: nasty, role: nasty })),
  )
  const identity = { cookie: 'clinic_sid', whoami: 'GET /internal/whoami' }
  const orders = ordersOf(legacy.url, service.url, [sliceOrder('moved')], { identity })
  const { port } = await facade(t, orders)
  const client = await dial(t, port)
  const heads = ['Host: \xe9\t"', 'X-Forwarded-For: \xff,\t', 'Cookie: clinic_sid=a b"\xe9']
  client.write(`GET /api/appointments/1 HTTP/1.1\r\n${heads.join('\r\n')}\r\n\r\n`)
  const seen = await headOf(await service.connection(0))
  t.strictSame(seen.map(line => line.slice(0, line.indexOf(':') + 1)).sort(), [
    'Connection:',
    'Cookie:',
    'Host:',
    'X-Forwarded-For:',
    'X-Forwarded-Host:',
    'X-Forwarded-Proto:',
    'x-banyan-identity:',
  ])
  for (const line of seen) t.notMatch(line, /[\0\r\n]/)
})

async function headOf(socket: RawSocket): Promise<string[]> {
  const head = await socket.take('\r\n\r\n')
  t.equal(socket.text, '', 'nothing behind it')
  return head.trimEnd().split('\r\n').slice(1)
}
