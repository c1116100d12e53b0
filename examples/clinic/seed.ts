/** Fills an empty clinic: the same numbers and the same seed give the same rows, each table in one statement. */
import { openDatabase } from './database.ts'
import type { Queries } from './database.ts'
import { tableStatements } from './seed-tables.ts'
import { GENERATORS, REFERENCE } from './seed-values.ts'

export interface SeedSize {
  readonly patients: number
  readonly appointments: number
  readonly seed: number
}

/** Rows made, per table. */
export type Seeded = Readonly<Record<string, number>>

/** Throws when a size isn't a whole number, or when there are patients already: it never mixes with real rows. */
export async function seed(databaseUrl: string, size: SeedSize): Promise<Seeded> {
  for (const [name, value] of Object.entries(size)) {
    if (!Number.isSafeInteger(value) || value < 0)
      throw new Error(`--${name} must be a whole number`)
  }
  if (size.patients === 0 && size.appointments > 0) throw new Error('appointments need --patients')
  const database = openDatabase(databaseUrl, 'clinic-seed')
  try {
    return await database.transaction(tx => fill(tx, size))
  } finally {
    await database.close()
  }
}

async function fill(tx: Queries, size: SeedSize): Promise<Seeded> {
  if (await tx.row('select 1 from patients limit 1'))
    throw new Error('the clinic has patients already')
  await tx.rows("set local timezone = 'UTC'")
  for (const sql of [...REFERENCE, ...GENERATORS])
    await tx.rows(sql.replaceAll('$seed', String(size.seed)))
  const seeded: Record<string, number> = {}
  for (const [table, sql] of Object.entries(tableStatements(size))) {
    const row = await tx.row(`with made as (${sql} returning 1) select count(*) as made from made`)
    seeded[table] = Number(row?.made)
  }
  for (const table of [
    'practitioners',
    'patients',
    'appointments',
    'invoices',
    'messages',
    'access_audit',
  ]) {
    await tx.rows(
      `select setval(pg_get_serial_sequence('${table}', 'id'), greatest(max(id), 1), max(id) is not null)
       from ${table}`,
    )
  }
  for (const table of Object.keys(seeded)) await tx.rows(`analyze ${table}`)
  return seeded
}
