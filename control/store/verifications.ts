/** Verifications: asked for here, done by the worker that has the slice's stream. */
import type pg from 'pg'
import type { Store } from './store.ts'
import { transact } from './store.ts'
import { append } from './journal.ts'

export interface VerifiedTable {
  readonly table: string
  readonly rows: number
  readonly missing: number
  readonly extra: number
  readonly different: number
  /** Keys of the first few; never values. */
  readonly keys: readonly string[]
}

export interface VerificationRow {
  readonly id: number
  readonly slice: string
  readonly actor: string
  readonly endedAtMs: number | null
  readonly ageMs: number | null
  readonly rows: number | null
  readonly differences: number | null
  readonly tables: readonly VerifiedTable[] | null
  readonly ms: number | null
  readonly error: { code: string; message: string; hint: string } | null
}

const COLUMNS = `id::int, slice, actor, extract(epoch from ended_at)::float8 * 1000 AS "endedAtMs",
  extract(epoch from clock_timestamp() - ended_at)::float8 * 1000 AS "ageMs", rows::float8, differences::float8, tables, ms, error`

export async function requestVerification(
  store: Store,
  slice: string,
  actor: string,
): Promise<number> {
  return transact(store, ['verification'], async client => {
    const { rows } = await client.query<{ id: number }>(
      'INSERT INTO banyan.verification (slice, actor) VALUES ($1, $2) RETURNING id::int',
      [slice, actor],
    )
    return rows[0]!.id
  })
}

export async function readVerification(
  store: Store,
  id: number,
): Promise<VerificationRow | undefined> {
  const { rows } = await store.pool.query<VerificationRow>(
    `SELECT ${COLUMNS} FROM banyan.verification WHERE id = $1`,
    [id],
  )
  return rows[0]
}

/** The newest that ended without an error. */
export async function lastVerification(
  store: Store,
  slice: string,
): Promise<VerificationRow | undefined> {
  const { rows } = await store.pool.query<VerificationRow>(
    `SELECT ${COLUMNS} FROM banyan.verification WHERE slice = $1 AND ended_at IS NOT NULL AND error IS NULL
     ORDER BY id DESC LIMIT 1`,
    [slice],
  )
  return rows[0]
}

/** Why the newest that ended doesn't count; undefined where it does, or where there is none. */
export async function whyOutdated(store: Store, slice: string): Promise<string | undefined> {
  const { rows } = await store.pool.query<{ why: string | null }>(
    `SELECT error->>'message' AS why FROM banyan.verification WHERE slice = $1 AND ended_at IS NOT NULL
     ORDER BY id DESC LIMIT 1`,
    [slice],
  )
  return rows[0]?.why ?? undefined
}

/** Asked for and not ended, oldest first. */
export async function openVerifications(store: Store, slice: string): Promise<number[]> {
  const { rows } = await store.pool.query<{ id: number }>(
    'SELECT id::int FROM banyan.verification WHERE slice = $1 AND ended_at IS NULL ORDER BY id',
    [slice],
  )
  return rows.map(row => row.id)
}

export async function endVerification(
  store: Store,
  id: number,
  result:
    | { readonly tables: readonly VerifiedTable[]; readonly ms: number }
    | { readonly error: { code: string; message: string; hint: string } },
): Promise<void> {
  await transact(store, ['verification', 'slice'], async client => {
    const tables = 'tables' in result ? result.tables : null
    const total = (pick: (table: VerifiedTable) => number): number | null =>
      tables?.reduce((sum, table) => sum + pick(table), 0) ?? null
    const { rows } = await client.query<{ slice: string; actor: string }>(
      `UPDATE banyan.verification SET ended_at = clock_timestamp(), rows = $2, differences = $3, tables = $4, ms = $5, error = $6
       WHERE id = $1 RETURNING slice, actor`,
      [
        id,
        total(table => table.rows),
        total(table => table.missing + table.extra + table.different),
        tables ? JSON.stringify(tables) : null,
        'ms' in result ? result.ms : null,
        'error' in result ? JSON.stringify(result.error) : null,
      ],
    )
    await append(client, {
      actor: rows[0]!.actor,
      slice: rows[0]!.slice,
      kind: 'verified',
      detail: {
        rows: total(table => table.rows),
        differences: total(table => table.missing + table.extra + table.different),
        ...('error' in result && { code: result.error.code }),
      },
    })
  })
}

/**
 * Takes their word from all that have ended: whoever has accepted a write or a change since must compare again before the
 * owner moves.
 */
export async function outdateVerifications(
  client: pg.ClientBase | pg.Pool,
  slice: string,
  why: { code: string; message: string; hint: string },
): Promise<void> {
  await client.query(
    'UPDATE banyan.verification SET error = $2 WHERE slice = $1 AND ended_at IS NOT NULL AND error IS NULL',
    [slice, JSON.stringify(why)],
  )
}
