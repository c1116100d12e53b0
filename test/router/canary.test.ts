/** Canary over real sockets: who answers reads, reading one's own writes, and what happens when the service is down. */
import type http from 'node:http'
import t from 'tap'
import { ask, facade, origin, rawOrigin } from '../support/facade.ts'
import type { SliceReport } from '../../model/orders.ts'
import type { Teardown } from '../support/facade.ts'
import { ordersOf, sliceOrder } from '../support/router-control.ts'

const PATH = '/api/appointments/1'
const TENANT = { headers: { 'x-tenant-id': 'acme' } }

const named =
  (name: string): http.RequestListener =>
  (req, res) => {
    req.resume()
    req.on('end', () => res.end(name))
  }

async function canary(t: Teardown, percent = 100) {
  const legacy = await origin(t, named('legacy'))
  const service = await origin(t, named('service'))
  const orders = ordersOf(legacy.url, service.url, [sliceOrder('canary', { percent })])
  const f = await facade(t, orders)
  f.freshness.watermarks.set('appointments', 10n)
  const reader = async (options = TENANT): Promise<string> =>
    (await ask(f.port, 'GET', PATH, options)).body
  return { f, legacy, service, reader }
}

void t.test('a key reads its own writes, from whoever has them', async t => {
  const { f, reader } = await canary(t)
  t.equal(await reader(), 'service')
  f.freshness.position = 20n
  t.match(await ask(f.port, 'PATCH', PATH, TENANT), { body: 'legacy' })
  t.equal(await reader(), 'legacy', 'the copy is behind')
  t.equal(await reader({ headers: { 'x-tenant-id': 'other' } }), 'service', 'others don’t wait')
  f.freshness.watermarks.set('appointments', 20n)
  t.equal(await reader(), 'service', 'the copy has caught up')
})

void t.test('so it does after a write that no slice’s route matched', async t => {
  const { f, reader } = await canary(t)
  f.freshness.position = 20n
  await ask(f.port, 'POST', '/api/prescriptions', TENANT)
  t.equal(await reader(), 'legacy')
})

void t.test(
  'a write under way, or whose token is still fetched, keeps its key with the owner',
  async t => {
    let answer = (): void => {}
    const legacy = await origin(t, (req, res) => {
      if (req.method === 'PATCH') answer = () => res.end('written')
      else res.end('legacy')
    })
    const service = await origin(t, named('service'))
    const orders = ordersOf(legacy.url, service.url, [sliceOrder('canary', { percent: 100 })])
    const f = await facade(t, orders)
    f.freshness.watermarks.set('appointments', 10n)
    let open = (): void => {}
    f.freshness.gate = new Promise<void>(resolve => (open = resolve))
    const write = ask(f.port, 'PATCH', PATH, TENANT)
    await legacy.arrived(1)
    t.match(await ask(f.port, 'GET', PATH, TENANT), { body: 'legacy' }, 'under way')
    answer()
    await write
    t.match(await ask(f.port, 'GET', PATH, TENANT), { body: 'legacy' }, 'no token yet')
    open()
    await f.freshness.gate
    while ((await ask(f.port, 'GET', PATH, TENANT)).body !== 'service');
    t.equal(f.freshness.asked, 2, 'once at its beginning, once for the write')
  },
)

void t.test('an unknown watermark leaves every read with legacy', async t => {
  const { f, reader } = await canary(t)
  f.freshness.watermarks.clear()
  t.equal(await reader(), 'legacy')
})

void t.test('a service that is down costs no read while legacy owns, and is counted', async t => {
  const legacy = await origin(t, named('legacy'))
  const dead = await rawOrigin(t, async socket => {
    await socket.until('\r\n\r\n')
    socket.socket.resetAndDestroy()
  })
  const orders = (version: number, stage: 'canary' | 'moved') =>
    ordersOf(legacy.url, dead.url, [sliceOrder(stage, { percent: 100 })], { version })
  const f = await facade(t, orders(1, 'canary'))
  f.freshness.watermarks.set('appointments', 10n)
  t.match(await ask(f.port, 'GET', PATH, TENANT), { status: 200, body: 'legacy' })
  dead.close()
  t.match(await ask(f.port, 'GET', PATH, TENANT), { status: 200, body: 'legacy' })
  const both = (r: SliceReport) => r.failed.service === 2 && r.requests.legacy === 2
  const report = await f.control.reported('appointments', both)
  t.match(report, { requests: { legacy: 2, service: 2 }, failed: { legacy: 0 } })
  await f.order(orders(2, 'moved'))
  const moved = await ask(f.port, 'GET', PATH, TENANT)
  t.match(moved, { status: 502, headers: { 'x-banyan': 'upstream-unreachable' } })
  t.equal(legacy.seen.length, 2, 'nobody else answers for the owner')
})

void t.test('an answer of the service is an answer, whatever its status', async t => {
  const legacy = await origin(t, named('legacy'))
  const service = await origin(t, (_req, res) => res.writeHead(500).end('broken'))
  const orders = ordersOf(legacy.url, service.url, [sliceOrder('canary', { percent: 100 })])
  const f = await facade(t, orders)
  f.freshness.watermarks.set('appointments', 10n)
  t.match(await ask(f.port, 'GET', PATH, TENANT), { status: 500, body: 'broken' })
  t.equal(legacy.seen.length, 0)
  await f.control.reported('appointments', r => r.failed.service === 1)
})

void t.test('after the first byte there is no other side', async t => {
  const legacy = await origin(t, named('legacy'))
  const service = await rawOrigin(t, async socket => {
    await socket.until('\r\n\r\n')
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\npart')
    socket.socket.end()
  })
  const orders = ordersOf(legacy.url, service.url, [sliceOrder('canary', { percent: 100 })])
  const f = await facade(t, orders)
  f.freshness.watermarks.set('appointments', 10n)
  await t.rejects(ask(f.port, 'GET', PATH, TENANT))
  t.equal(legacy.seen.length, 0)
})
