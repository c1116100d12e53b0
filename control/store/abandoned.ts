/** Databases of services that were given up: by whom and why, and what became of each. */
import type pg from 'pg'
import { formatLsn, type Lsn } from '../../model/position.ts'
import type { Closed } from '../../postgres/abandon.ts'
import { append } from './journal.ts'
import { type Store, transact } from './store.ts'

export interface AbandonedFact {
  readonly slice: string
  readonly epoch: number
  readonly atMs: number
  /** Null where a database came back that nobody gave up: it is from a backup. */
  readonly actor: string | null
  readonly proof: string | null
  /** How far the reverse stream had come; null where that isn't known. */
  readonly position: string | null
  readonly heardAtMs: number | null
  /** When it was closed, at the first contact; null: it hasn't been seen since. */
  readonly returnedAtMs: number | null
  /** It took writes until then, as legacy did. */
  readonly wasOpen: boolean | null
  readonly accepted: boolean
  /** The service was copied anew since. */
  readonly copied: boolean
}

const ms = (column: string, name: string): string =>
  `extract(epoch from ${column})::float8 * 1000 AS "${name}"`

/** The newest of each slice, until the service was copied anew; one that nobody has accepted stays where both were open. */
export async function readAbandoned(store: Store): Promise<AbandonedFact[]> {
  const { rows } = await store.pool.query<AbandonedFact>(
    `SELECT DISTINCT ON (slice) slice, epoch::int, ${ms('at', 'atMs')}, actor, proof, position::text, ${ms('heard_at', 'heardAtMs')},
       ${ms('returned_at', 'returnedAtMs')}, was_open AS "wasOpen", accepted_at IS NOT NULL AS accepted,
       copied_at IS NOT NULL AS copied
     FROM banyan.abandoned ORDER BY slice, epoch DESC`,
  )
  return rows.filter(row => !row.copied || (row.wasOpen === true && !row.accepted))
}

export async function recordAbandoned(
  client: pg.ClientBase,
  what: {
    readonly slice: string
    readonly epoch: number
    readonly actor: string
    readonly proof: string | null
    readonly position: Lsn | null
    readonly heardAtMs: number | null
  },
): Promise<void> {
  await client.query(
    `INSERT INTO banyan.abandoned (slice, epoch, actor, proof, position, heard_at)
     VALUES ($1, $2, $3, $4, $5, to_timestamp($6::float8 / 1000))
     ON CONFLICT (slice, epoch) DO UPDATE SET actor = $3, proof = $4, position = $5, heard_at = excluded.heard_at`,
    [
      what.slice,
      what.epoch,
      what.actor,
      what.proof,
      what.position === null ? null : formatLsn(what.position),
      what.heardAtMs,
    ],
  )
}

/** A second closing of the same epoch is news of its own: nobody has accepted it yet. */
export async function recordReturned(store: Store, slice: string, closed: Closed): Promise<void> {
  const position = formatLsn(closed.position)
  await transact(store, ['slice'], async client => {
    await client.query(
      `INSERT INTO banyan.abandoned AS a (slice, epoch, returned_at, was_open, closed_position)
       VALUES ($1, $2, clock_timestamp(), $3, $4)
       ON CONFLICT (slice, epoch) DO UPDATE SET returned_at = clock_timestamp(), was_open = a.was_open IS TRUE OR $3,
         closed_position = $4, accepted_at = NULL, accepted_by = NULL`,
      [slice, closed.epoch, closed.wasOpen, position],
    )
    await append(client, {
      actor: 'controller',
      slice,
      kind: 'old database closed',
      detail: { epoch: closed.epoch, bothOpen: closed.wasOpen, position },
    })
  })
}

export async function recordCopied(store: Store, slice: string): Promise<void> {
  await store.pool.query(
    'UPDATE banyan.abandoned SET copied_at = clock_timestamp() WHERE slice = $1 AND copied_at IS NULL',
    [slice],
  )
}

/** Returns the epochs that were accepted. */
export async function acceptAbandoned(
  client: pg.ClientBase,
  slice: string,
  actor: string,
): Promise<number[]> {
  const { rows } = await client.query<{ epoch: number }>(
    `UPDATE banyan.abandoned SET accepted_by = $2, accepted_at = clock_timestamp()
     WHERE slice = $1 AND accepted_at IS NULL RETURNING epoch::int`,
    [slice, actor],
  )
  return rows.map(row => row.epoch)
}
