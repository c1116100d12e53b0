/**
 * Writes that stay with the monolith: prescriptions, through a route that never moves, and what
 * went round the façade.
 */
import type pg from 'pg'
import { allowed } from './appointments.ts'
import { judgeCopies, type Finding } from './finding.ts'
import { grouped } from './grouped.ts'
import { entriesOf, type History } from './history.ts'
import type { Names } from './side.ts'

/** In the monolith's database. */
export async function checkPrescriptions(
  client: pg.Client,
  history: History,
): Promise<readonly Finding[]> {
  const entries = entriesOf(history, 'prescribe')
  const { rows } = await client.query<{ dose: string; copies: number }>(
    `SELECT p.dose, count(*)::int AS copies
     FROM prescriptions p JOIN unnest($1::text[]) AS written(dose) ON p.dose = written.dose
     GROUP BY p.dose`,
    [entries.map(entry => entry.intent.dose)],
  )
  const copies = new Map(rows.map(row => [row.dose, row.copies]))
  return entries.flatMap(({ intent, told }) => {
    const key = `prescriptions ${intent.op}`
    return judgeCopies({ key, told, copies: copies.get(intent.dose) ?? 0 }) ?? []
  })
}

/**
 * In the owner's database: what a direct writer was told ok while the monolith owned must have come
 * along.
 */
export async function checkDirectWrites(
  client: pg.Client,
  names: Names,
  history: History,
): Promise<readonly Finding[]> {
  const byId = grouped(entriesOf(history, 'direct'), entry => entry.intent.appointment)
  const { rows } = await client.query<{ id: number; status: string }>(
    `SELECT id::float8 AS id, status FROM ${names.appointments} WHERE id = ANY($1::bigint[])`,
    [[...byId.keys()]],
  )
  const status = new Map(rows.map(row => [row.id, row.status]))
  return [...byId].flatMap(([id, writes]): Finding[] => {
    if (!writes.some(write => write.told === 'ok')) return []
    const values = allowed<string | undefined, (typeof writes)[number]>(
      undefined,
      writes,
      write => write.intent.status,
    )
    const got = status.get(id)
    if (values.has(got)) return []
    const expected = `status ${[...values].join(' or ')}`
    return [
      { kind: 'content', key: `appointments ${id} direct`, expected, got: got ?? 'no such row' },
    ]
  })
}
