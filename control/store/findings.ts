/** What the streams noticed: writes that the gates refused, writes that went round them, and who writes what together. */
import { formatLsn } from '../../model/position.ts'
import type { Message } from '../../model/change.ts'
import type { Side } from '../../model/stage.ts'
import type { Census, RogueWrite } from '../../sync/ports.ts'
import type { Store } from './store.ts'

export interface RefusedWrite {
  readonly slice: string
  readonly side: Side
  readonly at: string
  readonly operation: string
  readonly relation: string
  readonly role: string
  readonly application: string
}

/** The gate's own message; listing it twice changes nothing. */
export async function listRefused(store: Store, side: Side, message: Message): Promise<void> {
  const said = JSON.parse(message.content) as Record<
    'slice' | 'operation' | 'table' | 'role' | 'application' | 'at',
    string
  >
  await store.pool.query(
    `INSERT INTO banyan.refused_write (slice, side, position, at, operation, relation, role, application)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING`,
    [
      said.slice,
      side,
      formatLsn(message.position),
      said.at,
      said.operation,
      said.table,
      said.role,
      said.application,
    ],
  )
}

/** Newest first, of the last `hours`. */
export async function readRefused(store: Store, hours: number): Promise<RefusedWrite[]> {
  const { rows } = await store.pool.query<RefusedWrite>(
    `SELECT slice, side, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS at, operation, relation, role, application
     FROM banyan.refused_write WHERE at > clock_timestamp() - $1 * interval '1 hour' ORDER BY refused_write.at DESC LIMIT 100`,
    [hours],
  )
  return rows
}

export interface ListedRogue {
  readonly slice: string
  readonly side: Side
  readonly at: string
  readonly operation: string
  readonly relation: string
  readonly key: string
  /** Stored by a database that was given up, after what its stream had brought: legacy never had it. */
  readonly lost: boolean
}

export async function listRogue(
  store: Store,
  slice: string,
  side: Side,
  writes: readonly RogueWrite[],
): Promise<void> {
  for (const [ordinal, write] of writes.entries()) {
    await store.pool.query(
      `INSERT INTO banyan.rogue_write (slice, side, position, ordinal, at, operation, relation, key)
       VALUES ($1, $2, $3, $4, to_timestamp($5::float8 / 1000), $6, $7, $8) ON CONFLICT DO NOTHING`,
      [
        slice,
        side,
        formatLsn(write.position),
        ordinal,
        write.committedAtMs,
        { c: 'INSERT', u: 'UPDATE', d: 'DELETE', t: 'TRUNCATE' }[write.op],
        write.table,
        write.key,
      ],
    )
  }
}

/** Those that nobody has accepted yet, newest first. */
export async function readRogue(store: Store): Promise<ListedRogue[]> {
  const { rows } = await store.pool.query<ListedRogue>(
    `SELECT slice, side, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS at, operation, relation, key,
       side = 'service' AND EXISTS (SELECT 1 FROM banyan.abandoned a WHERE a.slice = rogue_write.slice
         AND (a.position IS NULL OR rogue_write.position > a.position)
         AND (a.closed_position IS NULL OR rogue_write.position <= a.closed_position)) AS lost
     FROM banyan.rogue_write WHERE resolved_at IS NULL ORDER BY rogue_write.at DESC LIMIT 1000`,
  )
  return rows
}

export async function acceptRogue(store: Store, slice: string, actor: string): Promise<number> {
  const { rowCount } = await store.pool.query(
    `UPDATE banyan.rogue_write SET resolved_by = $2, resolved_at = clock_timestamp() WHERE slice = $1 AND resolved_at IS NULL`,
    [slice, actor],
  )
  return rowCount ?? 0
}

/** Writers of one slice that are told apart; the rest of each role is one more. */
const WRITERS_MAX = 200

export async function addCensus(store: Store, slice: string, census: Census): Promise<void> {
  const relations = [['', census.transactions] as const, ...census.tables]
  await store.pool.query(
    `INSERT INTO banyan.census AS c (slice, relation, transactions)
     SELECT $1, r, n FROM unnest($2::text[], $3::bigint[]) AS t (r, n)
     ON CONFLICT (slice, relation) DO UPDATE SET transactions = c.transactions + excluded.transactions`,
    [slice, relations.map(each => each[0]), relations.map(each => each[1])],
  )
  await store.pool.query(
    `INSERT INTO banyan.writer AS w (slice, role, application, transactions)
     SELECT $1, role, name, sum(n) FROM (
       SELECT role, n, CASE WHEN (SELECT count(*) FROM banyan.writer WHERE slice = $1) < $5
           OR EXISTS (SELECT 1 FROM banyan.writer k WHERE k.slice = $1 AND k.role = t.role AND k.application = t.application)
         THEN application ELSE '(others)' END AS name
       FROM unnest($2::text[], $3::text[], $4::bigint[]) AS t (role, application, n)) named GROUP BY role, name
     ON CONFLICT (slice, role, application) DO UPDATE
     SET transactions = w.transactions + excluded.transactions, last_at = clock_timestamp()`,
    [
      slice,
      census.writers.map(each => each.role),
      census.writers.map(each => each.application),
      census.writers.map(each => each.transactions),
      WRITERS_MAX,
    ],
  )
}

export interface CensusFact {
  /** Transactions on the slice's tables that were seen. */
  readonly transactions: number
  /** `schema.table` → the part (0 to 1) of them that also wrote it. */
  readonly sideWrites: ReadonlyMap<string, number>
  /** Who writes most comes first. */
  readonly writers: readonly {
    role: string
    application: string
    transactions: number
    perDay: number
  }[]
}

export async function readCensus(store: Store, slice: string): Promise<CensusFact> {
  const tables = await store.pool.query<{ relation: string; transactions: number }>(
    'SELECT relation, transactions::float8 FROM banyan.census WHERE slice = $1',
    [slice],
  )
  const writers = await store.pool.query<CensusFact['writers'][number]>(
    `SELECT role, application, transactions::float8,
       ceil(transactions * 86400 / greatest(extract(epoch from last_at - first_at), 86400))::float8 AS "perDay"
     FROM banyan.writer WHERE slice = $1 ORDER BY transactions DESC, role, application`,
    [slice],
  )
  const total = tables.rows.find(row => row.relation === '')?.transactions ?? 0
  const others = tables.rows.filter(row => row.relation !== '')
  return {
    transactions: total,
    sideWrites: new Map(others.map(row => [row.relation, row.transactions / Math.max(1, total)])),
    writers: writers.rows,
  }
}
