/** Routers with a live lease: which table each decides by, and what it has drained. */
import type { RouterAck, SliceReport } from '../../model/orders.ts'
import type { RouterFact } from '../facts.ts'
import type { Store } from './store.ts'

/** A router that was silent this long isn't waited for; the gates refuse what it sends. */
export const ROUTER_LEASE_MS = 3_000

/**
 * Renews the lease and stores what the router has done; told to whoever waits for it. `at`: of the orders that it acks. Some
 * that this database never gave count as none: it was made anew, and the router goes by what the old one said.
 */
export async function ackRouter(
  store: Store,
  router: { id: string; address: string },
  ack: RouterAck & { readonly at?: string | undefined },
): Promise<void> {
  await store.pool.query(
    `WITH told AS (SELECT pg_notify('banyan', 'router'))
     INSERT INTO banyan.router (id, address, version, drained, waiting, lease_until)
     SELECT $1, $2, coalesce((SELECT version FROM banyan.orders WHERE version = $3 AND at = $7), 0), $4, $5,
       clock_timestamp() + $6 * interval '1 ms' FROM told
     ON CONFLICT (id) DO UPDATE SET version = excluded.version, drained = $4, waiting = $5,
       lease_until = excluded.lease_until`,
    [
      router.id,
      router.address,
      ack.version,
      JSON.stringify(ack.drained),
      JSON.stringify(ack.waiting),
      ROUTER_LEASE_MS,
      ack.at ?? null,
    ],
  )
}

export async function reportRouter(
  store: Store,
  id: string,
  report: readonly SliceReport[],
): Promise<void> {
  await store.pool.query(
    `UPDATE banyan.router SET report = $2, lease_until = clock_timestamp() + $3 * interval '1 ms' WHERE id = $1`,
    [id, JSON.stringify(report), ROUTER_LEASE_MS],
  )
}

/** A router that ends says so: nobody waits for it. */
export async function removeRouter(store: Store, id: string): Promise<void> {
  await store.pool.query(
    `WITH told AS (SELECT pg_notify('banyan', 'router')) DELETE FROM banyan.router USING told WHERE id = $1`,
    [id],
  )
}

export interface LiveRouter extends RouterFact {
  readonly report: readonly SliceReport[]
}

export async function readRouters(store: Store): Promise<LiveRouter[]> {
  const { rows } = await store.pool.query<LiveRouter>(
    `SELECT address, version::int, report FROM banyan.router WHERE lease_until > clock_timestamp() ORDER BY address`,
  )
  return rows
}

/** The live routers that don't decide by `version` yet. */
export async function ackedBy(store: Store, version: number): Promise<string[]> {
  const { rows } = await store.pool.query<{ address: string }>(
    'SELECT address FROM banyan.router WHERE lease_until > clock_timestamp() AND version < $1',
    [version],
  )
  return rows.map(row => row.address)
}

/** The live routers that haven't drained the slice in this epoch, each with its oldest request; empty: all have. */
export async function drainedBy(
  store: Store,
  version: number,
  slice: string,
  epoch: number,
): Promise<string[]> {
  const { rows } = await store.pool.query<{ about: string }>(
    `SELECT address || coalesce((SELECT ': ' || (w->>'count') || ' under way, the oldest ' || (w->>'oldest')
       FROM jsonb_array_elements(waiting) w WHERE w->>'slice' = $2), '') AS about
     FROM banyan.router WHERE lease_until > clock_timestamp()
       AND (version < $1 OR NOT drained @> jsonb_build_array(jsonb_build_object('slice', $2::text, 'epoch', $3::int)))`,
    [version, slice, epoch],
  )
  return rows.map(row => row.about)
}
