/** How much is shadowed: `shadow.sample` of a slice's file, as the orders say it. */
import t from 'tap'
import { ask, facade, origin } from '../support/facade.ts'
import { ordersOf, sliceOrder } from '../support/router-control.ts'

void t.test('the part that the orders name is shadowed, of each route by itself', async t => {
  const answer = (_: unknown, res: { end(text: string): unknown }) => void res.end('{}')
  const legacy = await origin(t, answer)
  const service = await origin(t, answer)
  let version = 0
  const orders = (sample: number) =>
    ordersOf(legacy.url, service.url, [sliceOrder('shadow', { sample })], { version: ++version })
  const f = await facade(t, orders(50))
  f.freshness.watermarks.set('appointments', 100n)
  const shadowed = async (compared: number) => {
    await f.control.reported('appointments', report => report.shadow.compared >= compared)
    return service.seen.splice(0).map(req => req.url)
  }
  const [one, list] = ['/api/appointments/1', '/api/appointments']
  // In turn: half of all would be all of one route and nothing of the other.
  for (let n = 0; n < 4; n += 1) for (const path of [one, list]) await ask(f.port, 'GET', path)
  t.strictSame((await shadowed(4)).sort(), [list, list, one, one])

  await f.order(orders(0))
  for (let n = 0; n < 4; n += 1) await ask(f.port, 'GET', one)
  await f.order(orders(100))
  for (let n = 0; n < 3; n += 1) await ask(f.port, 'GET', list)
  t.strictSame(await shadowed(7), [list, list, list], 'nothing at 0, everything at 100')

  await f.order(orders(12.5))
  await ask(f.port, 'GET', '/api/slots/1')
  t.strictSame(await shadowed(8), ['/api/slots/1'], 'the first of a route, however small the part')
  for (let n = 0; n < 15; n += 1) await ask(f.port, 'GET', '/api/slots/1')
  t.equal((await shadowed(9)).length, 1, 'two of sixteen')
})
