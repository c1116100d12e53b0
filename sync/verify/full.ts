/**
 * Compares every row of both sides, each read in one snapshot of the same position: hashes summed by bucket in the
 * databases, then the keys of the buckets that differ. Order, bloat and key type don't matter, and rows that only the
 * target has are found too.
 */
import type pg from 'pg'
import { type ComparedTable, type SideSql, sqlOf } from './table.ts'

const BUCKETS = 1024
/** Keys that are named in a report. */
export const KEYS_NAMED = 5

export interface TableResult {
  /** By its name in the source. */
  readonly table: string
  readonly rows: number
  /** In the source only, in the target only, in both with different values. */
  readonly missing: number
  readonly extra: number
  readonly different: number
  /** The first few, as PostgreSQL prints a key: `(42)`. Keys only. */
  readonly keys: readonly string[]
}

/** Both sessions stand in a REPEATABLE READ transaction of the same position. Values as text (`rawText`). */
export async function compareTable(
  source: pg.ClientBase,
  target: pg.ClientBase,
  table: ComparedTable,
): Promise<TableResult> {
  const [here, there] = [sqlOf(table, 'source'), sqlOf(table, 'target')]
  const [left, right] = await Promise.all([buckets(source, here), buckets(target, there)])
  let rows = 0
  const suspect: string[] = []
  for (const bucket of new Set([...left.keys(), ...right.keys()])) {
    rows += left.get(bucket)?.rows ?? 0
    if (left.get(bucket)?.sums !== right.get(bucket)?.sums) suspect.push(bucket)
  }
  const result = {
    table: table.source,
    rows,
    missing: 0,
    extra: 0,
    different: 0,
    keys: [] as string[],
  }
  if (suspect.length === 0) return result
  const [mine, other] = await Promise.all([
    hashes(source, here, suspect),
    hashes(target, there, suspect),
  ])
  return { ...result, ...difference(mine, other) }
}

/** Two key → hash maps as counts and the first keys. */
export function difference(
  source: ReadonlyMap<string, string>,
  target: ReadonlyMap<string, string>,
): Pick<TableResult, 'missing' | 'extra' | 'different' | 'keys'> {
  const found = { missing: 0, extra: 0, different: 0, keys: [] as string[] }
  const note = (kind: 'missing' | 'extra' | 'different', key: string): void => {
    found[kind] += 1
    if (found.keys.length < KEYS_NAMED) found.keys.push(`${kind} ${key}`)
  }
  for (const [key, hash] of source) {
    const twin = target.get(key)
    if (twin === undefined) note('missing', key)
    else if (twin !== hash) note('different', key)
  }
  for (const key of target.keys()) if (!source.has(key)) note('extra', key)
  return found
}

async function buckets(
  client: pg.ClientBase,
  sql: SideSql,
): Promise<Map<string, { rows: number; sums: string }>> {
  // Two independent 64-bit sums and a count: what differs and cancels out in all three doesn't happen by accident.
  const { rows } = await client.query<{ bucket: string; rows: string; sums: string }>(
    `SELECT (hashtextextended(${sql.key}, 0) & ${BUCKETS - 1})::text AS bucket, count(*)::text AS rows,
       count(*) || ' ' || sum(hashtextextended(${sql.row}, 1)::numeric) || ' ' || sum(hashtextextended(${sql.row}, 2)::numeric) AS sums
     FROM ${sql.relation} GROUP BY 1`,
  )
  return new Map(rows.map(row => [row.bucket, { rows: Number(row.rows), sums: row.sums }]))
}

async function hashes(
  client: pg.ClientBase,
  sql: SideSql,
  suspect: readonly string[],
): Promise<Map<string, string>> {
  const { rows } = await client.query<{ key: string; hash: string }>(
    `SELECT ${sql.key} AS key, hashtextextended(${sql.row}, 1) || ' ' || hashtextextended(${sql.row}, 2) AS hash
     FROM ${sql.relation} WHERE hashtextextended(${sql.key}, 0) & ${BUCKETS - 1} = ANY ($1::bigint[])`,
    [suspect],
  )
  return new Map(rows.map(row => [row.key, row.hash]))
}
