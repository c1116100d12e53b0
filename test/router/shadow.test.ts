/** Law L7: shadowing may be lost, never felt. And what it finds is right. */
import type http from 'node:http'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import type { SliceReport } from '../../model/orders.ts'
import type { RouterLimits } from '../../router/limits.ts'
import { ask, dial, facade, origin, rawOrigin } from '../support/facade.ts'
import type { Teardown } from '../support/facade.ts'
import { ordersOf, sliceOrder } from '../support/router-control.ts'

const PATH = '/api/appointments/1'

const json =
  (body: string, status = 200): http.RequestListener =>
  (req, res) => {
    req.resume()
    res.writeHead(status, { 'content-type': 'application/json' }).end(body)
  }

async function stand(
  t: Teardown,
  legacy: { readonly url: string },
  service: { readonly url: string },
  limits: Partial<RouterLimits> = {},
) {
  const orders = ordersOf(legacy.url, service.url, [sliceOrder('shadow')])
  const f = await facade(t, orders, { limits })
  f.freshness.watermarks.set('appointments', 100n)
  const shadowed = (fits: (shadow: SliceReport['shadow']) => boolean) =>
    f.control.reported('appointments', report => fits(report.shadow))
  return { f, shadowed, get: (path = PATH) => ask(f.port, 'GET', path) }
}

void t.test('safe requests are asked of both, unsafe ones never', async t => {
  const legacy = await origin(t, json('{"id":1,"fee":"12.50"}'))
  const service = await origin(t, json('{"fee":"12.50","id":1.0}'))
  const { f, get, shadowed } = await stand(t, legacy, service)
  t.match(await get(), { status: 200, body: '{"id":1,"fee":"12.50"}' })
  await service.arrived(1)
  t.match(service.seen[0]?.headers, { 'x-banyan-shadow': '1', host: `localhost:${f.port}` })
  for (const [method, headers] of [
    ['PATCH', {}],
    ['POST', {}],
    ['GET', { 'x-http-method-override': 'DELETE' }],
    ['GET', { range: 'bytes=0-1' }],
  ] as const) {
    await ask(f.port, method, method === 'POST' ? '/api/appointments' : PATH, { headers })
  }
  await ask(f.port, 'GET', PATH, { body: '{}', headers: { 'content-length': 2 } })
  await get()
  await shadowed(shadow => shadow.compared === 2)
  t.equal(service.seen.length, 2)
  t.strictSame(
    service.seen.map(req => req.method),
    ['GET', 'GET'],
  )
})

void t.test('differences are counted, with their place and without their values', async t => {
  const answers: Record<string, [http.RequestListener, http.RequestListener]> = {
    same: [json('{"a":1}'), json('{ "a": 1.0 }')],
    status: [json('{}', 404), json('{}', 200)],
    value: [json('{"a":{"name":"Jane"}}'), json('{"a":{"name":"Joan"}}')],
    missing: [json('{"a":1,"b":2}'), json('{"a":1}')],
    text: [(_req, res) => res.end('a'), (_req, res) => res.end('b')],
    gzip: [
      (_req, res) =>
        res
          .writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' })
          .end(gzipSync('{"a":1}')),
      json('{"a":1.0}'),
    ],
  }
  const pick =
    (side: 0 | 1): http.RequestListener =>
    (req, res) =>
      answers[req.url?.split('/').at(-1) ?? '']?.[side](req, res)
  const legacy = await origin(t, pick(0))
  const service = await origin(t, pick(1))
  const { get, f } = await stand(t, legacy, service)
  for (const name of Object.keys(answers)) await get(`/api/slots/${name}`)
  const report = await f.control.reported('appointments', r => r.shadow.compared === 6)
  t.strictSame(report.shadow, { compared: 6, different: 4, dropped: 0 })
  const route = '* /api/slots/**'
  t.strictSame(report.examples, [
    { route, path: '$', kind: 'body' },
    { route, path: '$.b', kind: 'missing' },
    { route, path: '$.a.name', kind: 'value' },
  ])
  t.notMatch(JSON.stringify(report), /Jane|Joan/)

  const orders = (version: number, stage: 'sync' | 'shadow') => ({
    ...ordersOf(legacy.url, service.url, [sliceOrder(stage)]),
    version,
  })
  await f.order(orders(2, 'shadow'))
  const same = await f.control.reported('appointments', r => r.shadow.compared === 6)
  t.equal(same.examples.length, 3, 'a table in which it stays changes nothing')
  await f.order(orders(3, 'sync'))
  await f.order(orders(4, 'shadow'))
  const anew = await f.control.reported('appointments', r => r.shadow.compared === 0)
  t.strictSame(anew.examples, [], 'a shadow that begins anew counts anew')
})

void t.test('a difference counts only once the copy has all that legacy had', async t => {
  const legacy = await origin(t, json('{"v":2}'))
  let body = '{"v":1}'
  const service = await origin(t, (req, res) => json(body)(req, res))
  const { f, get, shadowed } = await stand(t, legacy, service, { shadowSettleMs: 100 })
  f.freshness.position = 200n
  await get()
  await shadowed(shadow => shadow.dropped === 1)
  t.equal(service.seen.length, 1, 'behind for too long: inconclusive')

  await get()
  await service.arrived(2)
  body = '{"v":2}'
  f.freshness.watermarks.set('appointments', 200n)
  const lagged = await shadowed(shadow => shadow.compared === 1)
  t.match(lagged.shadow, { different: 0 }, 'it had only lagged')
  t.equal(service.seen.length, 3, 'asked again')

  body = '{"v":3}'
  await get()
  t.match((await shadowed(shadow => shadow.compared === 2)).shadow, { different: 1 })
})

void t.test('a copy that is ahead of the answer is no difference', async t => {
  let version = 1
  const body = () => `{"v":${version}}`
  const legacy = await origin(t, (req, res) => json(body())(req, res))
  // Between legacy's answer and the service's, the row changes.
  const service = await origin(t, (req, res) => {
    version = 2
    json(body())(req, res)
  })
  const { f, get, shadowed } = await stand(t, legacy, service)
  f.freshness.position = 100n
  t.match(await get(), { body: '{"v":1}' })
  t.match((await shadowed(shadow => shadow.compared === 1)).shadow, { different: 0 })
  t.equal(legacy.seen.length, 2, 'legacy was asked again, once')
})

void t.test('data that never stands still is inconclusive', async t => {
  let version = 1
  const legacy = await origin(t, (req, res) => json(`{"v":${version++}}`)(req, res))
  const service = await origin(t, json('{"v":0}'))
  const { f, get, shadowed } = await stand(t, legacy, service)
  f.freshness.position = 100n
  await get()
  t.match((await shadowed(shadow => shadow.dropped === 1)).shadow, { compared: 0, different: 0 })
})

void t.test(
  'what can’t be compared is dropped: failures of legacy, huge answers, dead services',
  async t => {
    const legacy = await origin(t, (req, res) => {
      if (req.url?.endsWith('/500')) json('{}', 500)(req, res)
      else if (req.url?.endsWith('/304')) res.writeHead(304).end()
      else if (req.url?.endsWith('/huge')) res.end('x'.repeat(300_000))
      else json('{}')(req, res)
    })
    const dead = await rawOrigin(t, socket => void socket.socket.resetAndDestroy())
    const { get, shadowed } = await stand(t, legacy, dead)
    for (const name of ['500', '304', 'huge', 'fine']) await get(`/api/slots/${name}`)
    t.match((await shadowed(shadow => shadow.dropped === 4)).shadow, { compared: 0, different: 0 })
  },
)

type Target = (socket: Awaited<ReturnType<typeof dial>>) => unknown
const HOSTILE: Readonly<Record<string, Target>> = {
  tarpit: () => {},
  reset: socket => void socket.socket.resetAndDestroy(),
  'a head and then nothing': socket =>
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf'),
  garbage: socket => socket.write('what?\r\n\r\n'),
  'a body without end': socket => {
    socket.write('HTTP/1.1 200 OK\r\n\r\n')
    // A socket that is being destroyed answers at once: writing on would keep it from ever saying that it has ended.
    const pour = (error?: Error | null): void => {
      if (!error && !socket.ended) socket.socket.write(Buffer.alloc(65_536), pour)
    }
    pour()
  },
}

for (const [name, behave] of Object.entries(HOSTILE)) {
  void t.test(`a hostile shadow target is not felt: ${name}`, async t => {
    const legacy = await origin(t, json('{"fine":true}'))
    const service = await rawOrigin(t, behave)
    // Were one of these answers waiting for its shadow, the test would not end.
    const limits = { shadowMs: 600_000, shadowConcurrent: 3, shadowSockets: 2 }
    const { get, f } = await stand(t, legacy, service, limits)
    for (let i = 0; i < 20; i++) t.match(await get(), { status: 200, body: '{"fine":true}' })
    t.ok(service.sockets.length <= 40)
    const report = await f.control.reported('appointments', r => r.requests.legacy === 20)
    t.match(report, { failed: { legacy: 0 }, shadow: { compared: 0, different: 0 } })
    t.ok(report.shadow.dropped >= 17, 'dropped, not queued')
    const start = performance.now()
    await f.stop()
    t.ok(performance.now() - start < 5_000, 'nor does it hold up the end')
  })
}

void t.test('the client has its answer before the service is asked', async t => {
  const legacy = await rawOrigin(t)
  const service = await rawOrigin(t)
  const { f } = await stand(t, legacy, service)
  const client = await dial(t, f.port)
  client.write(`GET ${PATH} HTTP/1.1\r\nHost: a\r\n\r\n`)
  const origin = await legacy.connection(0)
  await origin.until('\r\n\r\n')
  origin.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no')
  await client.until('\r\n\r\no')
  t.equal(service.sockets.length, 0)
  origin.write('k')
  await client.until('ok')
  await (await service.connection(0)).until(`GET ${PATH}`)
})
