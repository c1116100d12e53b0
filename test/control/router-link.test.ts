/** A router's line to a control database that is lost and made anew. */
import pg from 'pg'
import t from 'tap'
import { RouterLink } from '../../control/router-link.ts'
import { readOrders, storeOrders } from '../../control/store/orders.ts'
import { ackedBy } from '../../control/store/routers.ts'
import { Ear } from '../../control/store/store.ts'
import type { Orders } from '../../model/orders.ts'
import { query, testCluster } from '../support/cluster.ts'
import { controlDatabase } from '../support/three-roles.ts'

const ORDERS = { legacy: 'http://legacy', services: {}, slices: [], identity: null }

void t.test('orders of a new control database are new, whatever their number', async t => {
  const url = await controlDatabase(await testCluster(t))
  const store = { url, pool: new pg.Pool({ connectionString: url }) }
  t.teardown(() => store.pool.end())
  await using ear = new Ear(url)
  const give = (legacy: string) => {
    const orders = { ...ORDERS, legacy: { url: legacy } } as unknown as Omit<Orders, 'version'>
    return storeOrders(store.pool as unknown as pg.ClientBase, orders)
  }
  await using link = new RouterLink({ store, ear, address: () => 'router' })
  const stop = new AbortController()
  const taken: unknown[] = []
  const seen = link.orders(stop.signal)[Symbol.asyncIterator]()
  const next = async () => taken.push((await seen.next()).value)
  const ack = (version: number) => link.ack({ version, drained: [], waiting: [] })

  t.equal(await give('http://first'), 1)
  await next()
  await ack(1)
  t.same(await ackedBy(store, 1), [])

  await query(url, 'TRUNCATE banyan.orders, banyan.router RESTART IDENTITY')
  t.equal(await give('http://second'), 1)
  await ack(1)
  t.same(await ackedBy(store, 1), ['router'], 'what the old one said is no table of this one')
  await next()
  t.match(taken[1], { version: 1, legacy: { url: 'http://second' } })
  await ack(1)
  t.same(await ackedBy(store, 1), [])
  t.match(await readOrders(store), { version: 1 })
  stop.abort()
})
