/** Patients that the client made, the visits it counted, and the telephone numbers it changed. */
import type pg from 'pg'
import { allowed } from './appointments.ts'
import { judgeCopies, judgeRange, type Finding } from './finding.ts'
import { grouped } from './grouped.ts'
import { entriesOf, type EntryOf, type History } from './history.ts'
import type { Names } from './side.ts'

export interface PatientRow {
  readonly op: string | null
  readonly id: number
  readonly mrn: string
  readonly visits: number
  readonly phone: string | null
}

/** The rows that the journal created, and those it changed. */
export async function patientRows(
  client: pg.Client,
  names: Names,
  history: History,
): Promise<readonly PatientRow[]> {
  const ops = entriesOf(history, 'create-patient').map(entry => entry.intent.op)
  const touched = entriesOf(history, 'visit', 'patch-patient').map(entry => entry.intent.patient)
  const { rows } = await client.query<PatientRow>(
    `SELECT p.op_id::text AS op, p.id::float8 AS id, p.mrn, p.visits, p.phone
     FROM ${names.patients} p
     WHERE p.op_id IN (SELECT unnest($1::uuid[])) OR p.id IN (SELECT unnest($2::bigint[]))`,
    [ops, [...new Set(touched)]],
  )
  return rows
}

export function checkPatients(history: History, rows: readonly PatientRow[]): readonly Finding[] {
  const byOp = grouped(rows, row => row.op)
  const created = entriesOf(history, 'create-patient')
  const inserts = created.flatMap(entry => judgeCreated(entry, byOp.get(entry.intent.op) ?? []))
  const byId = new Map(rows.map(row => [row.id, row]))
  const before = new Map(history.visitsBefore)
  for (const entry of created) if (entry.id !== undefined) before.set(entry.id, 0)
  const visits = grouped(entriesOf(history, 'visit'), entry => entry.intent.patient)
  const phones = grouped(entriesOf(history, 'patch-patient'), entry => entry.intent.patient)
  return [
    ...inserts,
    ...[...visits].flatMap(([id, own]) => judgeVisits(byId.get(id), before.get(id), own)),
    ...[...phones].flatMap(([id, own]) => judgePhone(byId.get(id), own)),
  ]
}

function judgeCreated(entry: EntryOf<'create-patient'>, rows: readonly PatientRow[]): Finding[] {
  const key = `patients ${entry.id ?? entry.intent.op}`
  const wrong = judgeCopies({ key, told: entry.told, copies: rows.length })
  if (wrong) return [wrong]
  const [row] = rows
  if (!row || entry.id === undefined || row.id === entry.id) return []
  return [{ kind: 'content', key, expected: `id ${entry.id}`, got: `id ${row.id}` }]
}

function judgeVisits(
  row: PatientRow | undefined,
  before: number | undefined,
  visits: readonly EntryOf<'visit'>[],
): Finding[] {
  // A patient that isn't there was found missing above, or was there before the load: then this is
  // where it shows.
  const key = `patients ${visits[0]?.intent.patient} visits`
  const min = (before ?? 0) + visits.filter(visit => visit.told === 'ok').length
  const max = min + visits.filter(visit => visit.told === 'unknown').length
  if (!row) return [{ kind: 'missing', key, expected: String(min), got: 'no such row' }]
  const wrong = judgeRange({ kind: 'counter', key, range: { min, max }, got: row.visits })
  return wrong ? [wrong] : []
}

function judgePhone(
  row: PatientRow | undefined,
  changes: readonly EntryOf<'patch-patient'>[],
): Finding[] {
  const key = `patients ${changes[0]?.intent.patient} phone`
  // Without an acknowledged change the number is what it was before, which the journal doesn't
  // know.
  if (!row || !changes.some(change => change.told === 'ok')) return []
  const numbers = allowed<string | null, EntryOf<'patch-patient'>>(
    null,
    changes,
    change => change.intent.phone,
  )
  if (numbers.has(row.phone)) return []
  return [{ kind: 'content', key, expected: 'the number acknowledged last', got: 'another' }]
}
