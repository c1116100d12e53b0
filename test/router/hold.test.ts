/** While a slice's owner changes: what is parked, what is waited for, and where it goes afterwards. */
import { createHash, randomBytes } from 'node:crypto'
import http from 'node:http'
import t from 'tap'
import type { HoldOrder, Orders, SliceReport } from '../../model/orders.ts'
import type { Stage } from '../../model/stage.ts'
import { ask, dial, facade, origin, rawOrigin } from '../support/facade.ts'
import type { Facade, Teardown } from '../support/facade.ts'
import { manualClock } from '../support/manual-clock.ts'
import type { ManualClock } from '../support/manual-clock.ts'
import { ordersOf, sliceOrder } from '../support/router-control.ts'

const HOLD: HoldOrder = { epoch: 7, holdMs: 1e9, maxHeld: 100, maxHeldBodyBytes: 10_000 }
const PATH = '/api/appointments/1'

interface Stand {
  readonly f: Facade
  readonly clock: ManualClock
  readonly legacy: { readonly url: string }
  /** Puts orders in force: a stage, held or not. */
  order(stage: Stage, hold?: HoldOrder | null): Promise<void>
  /** Moves the clock on, second by second, until a report fits. */
  report(fits: (report: SliceReport) => boolean): Promise<SliceReport>
}

async function stand(
  t: Teardown,
  urls: { legacy: string; service: string },
  limits: NonNullable<Parameters<typeof facade>[2]>['limits'] = {},
): Promise<Stand> {
  const clock = manualClock()
  let version = 0
  const orders = (stage: Stage, hold: HoldOrder | null = null): Orders =>
    ordersOf(urls.legacy, urls.service, [sliceOrder(stage, { hold })], { version: ++version })
  const f = await facade(t, orders('canary'), { clock, limits })
  return {
    f,
    clock,
    legacy: { url: urls.legacy },
    order: (stage, hold) => f.order(orders(stage, hold)),
    async report(fits) {
      for (;;) {
        const next = f.control.reported('appointments', () => true, 'next')
        await clock.waits(1_000)
        clock.advance(1_000)
        const report = await next
        if (fits(report)) return report
      }
    },
  }
}

const named =
  (name: string): http.RequestListener =>
  (req, res) => {
    req.resume()
    req.on('end', () => res.end(name))
  }

void t.test('a hold parks, drains, says so, and lets go to the new owner', async t => {
  const answers: (() => void)[] = []
  const legacy = await origin(t, (_req, res) => answers.push(() => res.end('legacy')))
  const service = await origin(t, named('service'))
  const s = await stand(t, { legacy: legacy.url, service: service.url })
  const before = ask(s.f.port, 'PATCH', PATH)
  await legacy.arrived(1)
  await s.order('canary', HOLD)
  const label = 'PATCH /api/appointments/:id'
  const waiting = [{ slice: 'appointments', count: 1, oldest: label }]
  t.match(s.f.control.acks.at(-1), { version: 2, drained: [], waiting })
  const parked = ask(s.f.port, 'PATCH', PATH, { body: 'x' })
  await s.report(report => report.held.now === 1)
  const read = ask(s.f.port, 'GET', PATH)
  const elsewhere = ask(s.f.port, 'POST', '/api/other')
  await legacy.arrived(3)
  for (const answer of answers) answer()
  t.match(await before, { status: 200, body: 'legacy' })
  t.match(await read, { body: 'legacy' })
  t.match(await elsewhere, { body: 'legacy' })
  const drained = [{ slice: 'appointments', epoch: 7 }]
  await s.f.control.acked(ack => ack.version === 2 && ack.drained.length === 1)
  t.match(s.f.control.acks.at(-1), { version: 2, drained, waiting: [] })
  t.equal(service.seen.length, 0)
  const told = s.f.control.reported('appointments', () => true, 'next')
  await s.order('moved')
  t.match(await told, { held: { total: 1 } }, 'what was held is told with the end of the hold')
  t.match(await parked, { status: 200, body: 'service' })
  t.match(s.f.control.acks.at(-1), { version: 3, drained: [], waiting: [] })
  t.match(await s.report(() => true), { held: { now: 0, total: 1, overflowed: 0, expired: 0 } })
})

void t.test('a hold that is given up lets go to the old owner', async t => {
  const legacy = await origin(t, named('legacy'))
  const s = await stand(t, { legacy: legacy.url, service: 'http://127.0.0.1:1' })
  await s.order('canary', HOLD)
  t.match(s.f.control.acks.at(-1), { drained: [{ slice: 'appointments', epoch: 7 }] })
  const parked = ask(s.f.port, 'DELETE', PATH)
  await s.report(report => report.held.now === 1)
  await s.order('canary')
  t.match(await parked, { status: 200, body: 'legacy' })
})

void t.test('a client that leaves is no end: the origin’s answer is, or its close', async t => {
  for (const how of ['answers', 'closes'] as const) {
    const legacy = await rawOrigin(t)
    const s = await stand(t, { legacy: legacy.url, service: legacy.url })
    const client = await dial(t, s.f.port)
    client.write(`DELETE ${PATH} HTTP/1.1\r\nHost: a\r\n\r\n`)
    const origin = await legacy.connection(0)
    await origin.until('\r\n\r\n')
    client.socket.destroy()
    t.equal((await origin.end()).ended, 'fin', 'the origin is told')
    await s.order('canary', HOLD)
    t.match(s.f.control.acks.at(-1), { drained: [], waiting: [{ count: 1 }] })
    if (how === 'answers') origin.write('HTTP/1.1 204 No Content\r\n\r\n')
    else origin.socket.end()
    await s.f.control.acked(ack => ack.drained.length === 1)
    t.pass(how)
  }
})

void t.test('beyond its number a hold refuses the newest', async t => {
  const legacy = await origin(t, named('legacy'))
  const s = await stand(t, { legacy: legacy.url, service: legacy.url })
  await s.order('canary', { ...HOLD, maxHeld: 1 })
  const parked = ask(s.f.port, 'PATCH', PATH)
  await s.report(report => report.held.now === 1)
  const refused = await ask(s.f.port, 'PATCH', PATH)
  t.match(refused, { status: 503, headers: { 'x-banyan': 'hold-overflow', 'retry-after': '1' } })
  await s.order('canary')
  t.match(await parked, { status: 200 })
  t.match(await s.report(() => true), { held: { total: 1, overflowed: 1 } })
})

void t.test('an expired hold answers 503 and never falls back', async t => {
  const legacy = await origin(t, named('legacy'))
  const s = await stand(t, { legacy: legacy.url, service: legacy.url })
  await s.order('canary', HOLD)
  const parked = ask(s.f.port, 'PATCH', PATH)
  await s.report(report => report.held.now === 1)
  s.clock.advance(HOLD.holdMs)
  await s.report(report => report.held.expired === 1)
  const expired = { status: 503, headers: { 'x-banyan': 'hold-expired', 'retry-after': '1' } }
  t.match(await parked, expired)
  t.match(await ask(s.f.port, 'PATCH', PATH), expired, 'and so does whoever comes next')
  t.equal(legacy.seen.length, 0)
  await s.order('canary', { ...HOLD, epoch: 8 })
  const again = ask(s.f.port, 'PATCH', PATH)
  await s.report(report => report.held.now === 1)
  await s.order('canary')
  t.match(await again, { status: 200 })
})

void t.test('a connection goes on after an expired hold, whatever its body', async t => {
  const legacy = await origin(t, named('legacy'))
  const s = await stand(t, { legacy: legacy.url, service: legacy.url })
  for (const [round, body] of ['', '{"a":1}', 'x'.repeat(60_000)].entries()) {
    await s.order('canary', { ...HOLD, epoch: 20 + round })
    const client = await dial(t, s.f.port)
    const head = `PATCH ${PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n`
    client.write(head)
    client.write(body)
    await s.report(report => report.held.now === 1)
    s.clock.advance(HOLD.holdMs)
    await client.take('}')
    for (const _again of [1, 2]) {
      client.write(head)
      client.write(body)
      await client.take('}')
    }
    await s.order('canary')
    client.write(head)
    client.write(body)
    await client.take('legacy')
    t.pass(`${body.length} bytes`)
    client.socket.destroy()
  }
})

void t.test('an expired hold whose control is lost lets through: the gate protects', async t => {
  const legacy = await origin(t, named('legacy'))
  const s = await stand(t, { legacy: legacy.url, service: legacy.url })
  await s.order('canary', { ...HOLD, holdMs: 2_000 })
  s.f.control.away = true
  s.clock.advance(5_000)
  t.match(await ask(s.f.port, 'PATCH', PATH), { status: 503 })
  s.clock.advance(10_000)
  t.match(await ask(s.f.port, 'PATCH', PATH), { status: 200, body: 'legacy' })
})

void t.test('a parked request whose client leaves is never forwarded', async t => {
  const legacy = await origin(t, named('legacy'))
  const s = await stand(t, { legacy: legacy.url, service: legacy.url })
  await s.order('canary', HOLD)
  for (const body of ['', 'x'.repeat(5_000)]) {
    const client = await dial(t, s.f.port)
    client.write(
      `PATCH ${PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    )
    await s.report(report => report.held.now === 1)
    client.socket.destroy()
    await s.report(report => report.held.now === 0)
  }
  await s.order('canary')
  await ask(s.f.port, 'GET', '/barrier')
  t.strictSame(
    legacy.seen.map(req => req.url),
    ['/barrier'],
  )
})

void t.test('a parked body is read up to its bound, and arrives whole', async t => {
  const legacy = await origin(t, (req, res) => {
    const hash = createHash('sha256')
    req.on('data', (chunk: Buffer) => hash.update(chunk))
    req.on('end', () => res.end(hash.digest('hex')))
  })
  const s = await stand(t, { legacy: legacy.url, service: legacy.url })
  await s.order('canary', { ...HOLD, maxHeldBodyBytes: 100_000 })
  const body = randomBytes(16 << 20)
  const request = http.request({ port: s.f.port, method: 'PATCH', path: PATH, agent: false })
  const answered = new Promise<string>((resolve, reject) => {
    request.on('error', reject)
    request.on('response', res => {
      let text = ''
      res.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
      res.on('end', () => resolve(text))
    })
  })
  request.end(body)
  await s.report(report => report.held.now === 1)
  const small = ask(s.f.port, 'PATCH', PATH, { body: 'small' })
  await s.report(report => report.held.now === 2)
  for (let turns = 0; turns < 200; turns++) await s.report(() => true)
  t.ok((request.socket?.writableLength ?? 0) > 0, 'TCP makes the client wait')
  await s.order('canary')
  t.equal(await answered, createHash('sha256').update(body).digest('hex'))
  t.match(await small, { body: createHash('sha256').update('small').digest('hex') })
})

void t.test('a parked upload that waits for a 100 goes on waiting', async t => {
  const legacy = await rawOrigin(t)
  const s = await stand(t, { legacy: legacy.url, service: legacy.url })
  await s.order('canary', HOLD)
  const client = await dial(t, s.f.port)
  client.write(
    `PATCH ${PATH} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n`,
  )
  await s.report(report => report.held.now === 1)
  t.equal(client.text, '')
  await s.order('canary')
  const origin = await legacy.connection(0)
  await origin.until('\r\n\r\n')
  origin.write('HTTP/1.1 100 Continue\r\n\r\n')
  await client.until('100 Continue')
  client.write('hello')
  await origin.until('hello')
})

void t.test('what one connection sent arrives in its order, one by one', async t => {
  const legacy = await rawOrigin(t)
  const s = await stand(t, { legacy: legacy.url, service: legacy.url })
  await s.order('canary', HOLD)
  const client = await dial(t, s.f.port)
  const request = (i: number) => `PATCH /api/appointments/n${i} HTTP/1.1\r\nHost: a\r\n\r\n`
  client.write(request(1) + request(2) + request(3))
  await s.report(report => report.held.now === 1)
  await s.order('canary')
  const origin = await legacy.connection(0)
  for (const i of [1, 2, 3]) {
    t.match(await origin.take('\r\n\r\n'), new RegExp(`^PATCH /api/appointments/n${i} `))
    t.equal(origin.text, '')
    origin.write('HTTP/1.1 204 No Content\r\n\r\n')
  }
})

void t.test('parked requests are let go gently: a few, and two for each that ends', async t => {
  const answers: (() => void)[] = []
  const legacy = await origin(t, (req, res) => {
    if (req.method === 'GET') res.end()
    else answers.push(() => res.end())
  })
  const limits = { releaseConcurrency: 2 }
  const s = await stand(t, { legacy: legacy.url, service: legacy.url }, limits)
  await s.order('canary', HOLD)
  const parked = Array.from({ length: 10 }, () => ask(s.f.port, 'PATCH', PATH))
  await s.report(report => report.held.now === 10)
  await s.order('canary')
  // A GET that comes later overtakes what waits: when it is answered, all that was let go has arrived.
  let ended = 0
  for (const arrived of [2, 4, 6, 8, 10]) {
    await legacy.arrived(arrived + ended)
    await ask(s.f.port, 'GET', '/barrier')
    const patches = legacy.seen.filter(req => req.method === 'PATCH')
    t.equal(patches.length, arrived)
    answers.shift()?.()
    ended++
  }
  for (const answer of answers) answer()
  for (const reply of await Promise.all(parked)) t.equal(reply.status, 200)
})

void t.test('a router that stops tells the parked, and forwards none of them', async t => {
  const legacy = await origin(t, named('legacy'))
  const s = await stand(t, { legacy: legacy.url, service: legacy.url })
  await s.order('canary', HOLD)
  const parked = ask(s.f.port, 'PATCH', PATH)
  await s.report(report => report.held.now === 1)
  const stopped = s.f.stop()
  t.match(await parked, { status: 503, headers: { 'x-banyan': 'shutting-down' } })
  await stopped
  t.equal(legacy.seen.length, 0)
})
