/** Reading one's own writes where several routers stand behind one address: a mark that the client carries. */
import type http from 'node:http'
import t from 'tap'
import { ask, facade, origin } from '../support/facade.ts'
import type { Teardown } from '../support/facade.ts'
import { ordersOf, sliceOrder } from '../support/router-control.ts'
import type { SliceOrder } from '../../model/orders.ts'
import type { Stage } from '../../model/stage.ts'

const PATH = '/api/appointments/1'
const SESSION = 'clinic_sid=ann'

const named =
  (name: string): http.RequestListener =>
  (req, res) => {
    req.resume()
    req.on('end', () => res.setHeader('Set-Cookie', 'theme=dark').end(name))
  }

async function two(t: Teardown, stage: Stage = 'canary', changes: Partial<SliceOrder> = {}) {
  const legacy = await origin(t, named('legacy'))
  const service = await origin(t, named('service'))
  const orders = (version: number, more: Partial<SliceOrder> = {}) =>
    ordersOf(legacy.url, service.url, [sliceOrder(stage, { percent: 100, ...changes, ...more })], {
      version,
    })
  const [a, b] = [await facade(t, orders(1)), await facade(t, orders(1))]
  const at = (watermark: bigint, position: bigint) => {
    for (const { freshness } of [a, b]) {
      freshness.watermarks.set('appointments', watermark)
      freshness.position = position
    }
  }
  at(10n, 10n)
  return { a, b, at, orders, legacy, service }
}

/** The mark in an answer's cookies, as the client sends it back; null: none. */
function markIn({ headers }: { headers: http.IncomingHttpHeaders }): string | null {
  const line = headers['set-cookie']?.find(each => each.startsWith('banyan-wrote='))
  return line?.split(';')[0] ?? null
}

const withCookies = (...cookies: (string | null)[]) => ({
  headers: { cookie: cookies.filter(each => each !== null).join('; ') },
})

void t.test('a client reads its own writes through another router too', async t => {
  const { a, b, at } = await two(t)
  const read = async (...cookies: (string | null)[]) =>
    (await ask(b.port, 'GET', PATH, withCookies(...cookies))).body
  t.equal(await read(SESSION), 'service')
  at(10n, 20n)
  const wrote = await ask(a.port, 'PATCH', PATH, withCookies(SESSION))
  const mark = markIn(wrote)
  t.match(mark, /^banyan-wrote=[0-9a-f]{16}$/)
  t.equal(wrote.headers['set-cookie']?.[0], 'theme=dark', 'beside what legacy sets')
  t.equal(await read(SESSION), 'service', 'without the mark the other router knows nothing')
  t.equal(await read(SESSION, mark), 'legacy', 'with it the owner answers')
  t.equal(await read(SESSION, mark), 'legacy', 'while the copy is behind')
  at(20n, 30n)
  t.equal(await read(SESSION, mark), 'service', 'the copy has caught up; later writes are others’')
  const { asked } = b.freshness
  t.equal(await read(SESSION, mark), 'service')
  t.equal(b.freshness.asked, asked, 'a mark is asked about once')

  const later = markIn(await ask(a.port, 'DELETE', PATH, withCookies(SESSION, mark)))
  t.not(later, mark, 'each write has one of its own')
  t.equal(await read(SESSION, later), 'legacy')
})

void t.test('a mark whose position can not be had leaves the read with the owner', async t => {
  const { b } = await two(t)
  b.freshness.position = undefined
  const mark = `banyan-wrote=${'0'.repeat(16)}`
  const read = async () => (await ask(b.port, 'GET', PATH, withCookies(SESSION, mark))).body
  t.equal(await read(), 'legacy')
  t.equal(await read(), 'legacy')
  b.freshness.position = 10n
  t.equal(await read(), 'legacy', 'this read asks again')
  t.equal(await read(), 'service')
})

void t.test('so does one without a key that an include rule lets in', async t => {
  const { a, b, at } = await two(t)
  const beta = (mark?: string | null) => ({
    headers: { 'x-beta': '1', ...(mark && { cookie: mark }) },
  })
  at(10n, 20n)
  const mark = markIn(await ask(a.port, 'PATCH', PATH, beta()))
  t.ok(mark)
  for (const { port } of [a, b])
    t.match(await ask(port, 'GET', PATH, beta(mark)), { body: 'legacy' })
  at(20n, 20n)
  for (const { port } of [a, b])
    t.match(await ask(port, 'GET', PATH, beta(mark)), { body: 'service' })
})

void t.test('only who may be sent to the copy is given one, and only for a write', async t => {
  const none = async (
    what: string,
    stage: Stage,
    changes: Partial<SliceOrder>,
    method = 'PATCH',
    cookies = SESSION,
  ) => {
    const { a } = await two(t, stage, changes)
    t.equal(markIn(await ask(a.port, method, PATH, withCookies(cookies))), null, what)
  }
  await none('a read', 'canary', {}, 'GET')
  await none('a key outside the percentage', 'canary', { percent: 0 })
  await none('no key', 'canary', {}, 'PATCH', 'other=1')
  await none('no tables, so no copy', 'canary', { ownsTables: false })
  for (const stage of ['legacy', 'sync', 'shadow', 'moved'] as const) await none(stage, stage, {})
})

void t.test('no upstream sees it, and the other cookies pass as they were', async t => {
  const { a, legacy, service } = await two(t)
  const mark = `banyan-wrote=${'a'.repeat(16)}`
  const sent = async (cookie: string) => {
    await ask(a.port, 'POST', '/elsewhere', { headers: { cookie } })
    return legacy.seen.at(-1)!.headers.cookie
  }
  t.equal(await sent(`a=1; ${mark}; b="x; y"`), 'a=1; b="x; y"')
  t.equal(await sent(`${mark}; a=1`), 'a=1')
  t.equal(await sent(`a=1;${mark}`), 'a=1')
  t.equal(await sent(mark), undefined)
  t.equal(await sent('a=1;b=2;  c=xbanyan-wrote=1'), 'a=1;b=2;  c=xbanyan-wrote=1')
  await ask(a.port, 'GET', PATH, withCookies(SESSION, mark))
  await ask(a.port, 'GET', PATH, withCookies(SESSION, mark))
  t.equal(service.seen.at(-1)!.headers.cookie, SESSION)
})

void t.test('what is no mark of ours is nobody’s write', async t => {
  const { b } = await two(t)
  const { asked } = b.freshness
  for (const value of ['', '0', 'z'.repeat(16), 'a'.repeat(17)]) {
    const cookies = withCookies(SESSION, `banyan-wrote=${value}`)
    t.match(await ask(b.port, 'GET', PATH, cookies), { body: 'service' }, value)
  }
  t.equal(b.freshness.asked, asked)
})

void t.test('whoever comes into the canary may have written before, unmarked', async t => {
  const { a, b, at, orders } = await two(t, 'canary', { percent: 0 })
  at(10n, 20n)
  t.equal(markIn(await ask(a.port, 'PATCH', PATH, withCookies(SESSION))), null)
  const read = async () => (await ask(b.port, 'GET', PATH, withCookies(SESSION))).body
  await b.order(orders(2, { percent: 100 }))
  t.equal(await read(), 'legacy', 'all that was written until now counts')
  at(20n, 30n)
  t.equal(await read(), 'service')
  const { asked } = b.freshness
  await b.order(orders(3, { percent: 100, hold: null }))
  t.equal(b.freshness.asked, asked, 'a table that lets nobody in asks nothing')
})
