/** What the workers last said of each stream. */
import type pg from 'pg'
import type { StreamFact } from '../facts.ts'
import type { Store } from './store.ts'

export interface StreamRow extends StreamFact {
  readonly slice: string | null
  readonly rowsCopied: number
  readonly rowsTotal: number
  readonly position: string | null
  readonly watermark: string | null
  /** When its source last said how far it is; null: never. */
  readonly heardAtMs: number | null
  /** How long ago that was. */
  readonly unheardMs: number | null
}

export async function readStreams(store: Store): Promise<StreamRow[]> {
  const { rows } = await store.pool.query<StreamRow>(
    `SELECT name, slice, state, rows_copied::float8 AS "rowsCopied", rows_total::float8 AS "rowsTotal", position::text,
       watermark::text, lag_ms AS "lagMs", error,
       extract(epoch from clock_timestamp() - beat_at)::float8 * 1000 AS "silentMs",
       extract(epoch from heard_at)::float8 * 1000 AS "heardAtMs",
       extract(epoch from clock_timestamp() - heard_at)::float8 * 1000 AS "unheardMs"
     FROM banyan.stream ORDER BY name`,
  )
  return rows
}

export interface StreamUpdate {
  readonly state?: StreamFact['state'] | undefined
  readonly rowsCopied?: number | undefined
  readonly rowsTotal?: number | undefined
  readonly position?: string | undefined
  readonly watermark?: string | undefined
  readonly lagMs?: number | undefined
  /** null clears it. */
  readonly error?: { code: string; message: string; hint: string } | null | undefined
  readonly worker?: string | undefined
}

/** What no worker gets over by trying again: somebody must mend it. All else may pass. */
export const LASTING: readonly string[] = [
  'DIVERGED',
  'VALUE_MISSING',
  'SLOT_MISSING',
  'SLOT_LOST',
  'SLOT_AHEAD',
  'SOURCE_REWOUND',
  'PUBLICATION_MISSING',
  'COPY_ADDED',
  'PGOUTPUT_MALFORMED',
  'PGOUTPUT_VERSION',
  'STREAM_FAILED',
  'STREAM_UNKNOWN',
  'SERVICE_OWNS',
  'RESYNC_REQUIRED',
]

/**
 * Only the fields that are given change; it always counts as a sign of life. A stream that failed for good and is tried
 * again counts as failed until it has come further: between two attempts it would look healthy.
 */
export async function updateStream(
  store: Store,
  name: string,
  slice: string | null,
  update: StreamUpdate,
): Promise<void> {
  await store.pool.query(
    `WITH told AS (SELECT pg_notify('banyan', 'stream') WHERE $3::text IS NOT NULL OR $9::bool)
     INSERT INTO banyan.stream AS s (name, slice, state, rows_copied, rows_total, position, watermark, lag_ms, error, worker, beat_at, heard_at)
     VALUES ($1, $2, coalesce($3, 'new'), coalesce($4, 0), coalesce($5, 0), $6, $7, $8, $10, $11, clock_timestamp(),
       CASE WHEN $7::pg_lsn IS NOT NULL THEN clock_timestamp() END)
     ON CONFLICT (name) DO UPDATE SET
       state = CASE WHEN ${KEPT} THEN s.state WHEN s.state = 'failed' AND ${FURTHER} THEN 'streaming'
         ELSE coalesce($3, s.state) END, rows_copied = coalesce($4, s.rows_copied),
       rows_total = coalesce($5, s.rows_total), position = coalesce($6, s.position), watermark = coalesce($7, s.watermark),
       heard_at = CASE WHEN $7::pg_lsn IS NULL THEN s.heard_at ELSE clock_timestamp() END,
       lag_ms = coalesce($8, s.lag_ms), error = CASE WHEN ${KEPT} THEN s.error WHEN $9 THEN $10
         WHEN s.state = 'failed' AND ${FURTHER} THEN NULL ELSE s.error END,
       worker = coalesce($11, s.worker), beat_at = clock_timestamp()`,
    [
      name,
      slice,
      update.state ?? null,
      update.rowsCopied ?? null,
      update.rowsTotal ?? null,
      update.position ?? null,
      update.watermark ?? null,
      update.lagMs ?? null,
      update.error !== undefined,
      update.error ? JSON.stringify(update.error) : null,
      update.worker ?? null,
      LASTING,
    ],
  )
}

const STUCK = `s.state = 'failed' AND s.error->>'code' = ANY ($12::text[])`
/** Nor does what passes (its own last reader is still there) take the place of what somebody must mend. */
const KEPT = `${STUCK} AND ($3 = 'streaming' OR $3 = 'failed' AND NOT coalesce($10::jsonb->>'code', '') = ANY ($12::text[]))`
const FURTHER = '($6::pg_lsn > s.position OR $7::pg_lsn > s.watermark)'

export async function forgetStream(store: Store, name: string): Promise<void> {
  await store.pool.query('DELETE FROM banyan.stream WHERE name = $1', [name])
}

/** First key of the advisory locks that make a worker the only one of a stream ("BNYS"). */
export const CLAIM_CLASS = 0x424e5953

/** True if this session now is (or was) the stream's only worker; it stays so until the session ends. */
export async function claimStream(session: pg.ClientBase, name: string): Promise<boolean> {
  const { rows } = await session.query<{ mine: boolean }>(
    `SELECT EXISTS (SELECT 1 FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory' AND classid = $1::int::oid
       AND objid = (hashtext($2)::bigint & 4294967295)::oid) OR pg_try_advisory_lock($1, hashtext($2)) AS mine`,
    [CLAIM_CLASS, name],
  )
  return rows[0]!.mine
}
