/** The routers' tables, newest last; old ones are kept for a while for whoever asks what was in force. */
import type pg from 'pg'
import type { Orders } from '../../model/orders.ts'
import type { Store } from './store.ts'

const KEPT = 200

/** Returns the version. Tell the topic `orders` in the same transaction. */
export async function storeOrders(
  client: pg.ClientBase,
  orders: Omit<Orders, 'version'>,
): Promise<number> {
  const { rows } = await client.query<{ version: number }>(
    'INSERT INTO banyan.orders (orders) VALUES ($1) RETURNING version::int',
    [JSON.stringify(orders)],
  )
  const version = rows[0]!.version
  await client.query('DELETE FROM banyan.orders WHERE version <= $1', [version - KEPT])
  return version
}

/** `at`: when they were stored, as the server writes it. A control database that was made anew counts from 1 again. */
export interface StoredOrders extends Orders {
  readonly at: string
}

/** Undefined before the first controller has run. */
export async function readOrders(store: Store): Promise<StoredOrders | undefined> {
  const { rows } = await store.pool.query<{
    version: number
    at: string
    orders: Omit<Orders, 'version'>
  }>('SELECT version::int, at::text, orders FROM banyan.orders ORDER BY version DESC LIMIT 1')
  return rows[0] && { ...rows[0].orders, version: rows[0].version, at: rows[0].at }
}
