/**
 * Every appointment the client was told about, against the owner's table: presence, identity,
 * version and content.
 */
import type pg from 'pg'
import { judgeCopies, judgeRange, type Finding } from './finding.ts'
import { grouped } from './grouped.ts'
import { entriesOf, type EntryOf, type History } from './history.ts'
import type { Told } from './record.ts'
import type { Names } from './side.ts'

export interface AppointmentRow {
  readonly op: string
  readonly id: number
  readonly version: number
  readonly status: string
  /** md5, or null. */
  readonly notes: string | null
  readonly practitioner: number
  readonly startsAt: string
}

/**
 * The rows of all the journal's bookings. No index knows an operation's id, so this reads the table
 * once.
 */
export async function bookedRows(
  client: pg.Client,
  names: Names,
  history: History,
): Promise<readonly AppointmentRow[]> {
  const ops = entriesOf(history, 'book').map(entry => entry.intent.op)
  const { rows } = await client.query<AppointmentRow>(
    `SELECT a.op_id::text AS op, a.id::float8 AS id, a.version, a.status, md5(a.notes) AS notes,
       a.${names.practitioner}::float8 AS practitioner,
       to_char(a.starts_at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS "startsAt"
     FROM ${names.appointments} a JOIN unnest($1::uuid[]) AS booked(op) ON a.op_id = booked.op`,
    [ops],
  )
  return rows
}

/** What was done to one appointment after it was booked. */
interface Life {
  readonly patches: EntryOf<'patch'>[]
  readonly removals: EntryOf<'delete'>[]
}

export function checkAppointments(
  history: History,
  rows: readonly AppointmentRow[],
): readonly Finding[] {
  const byOp = grouped(rows, row => row.op)
  const patches = grouped(entriesOf(history, 'patch'), entry => entry.intent.appointment)
  const removals = grouped(entriesOf(history, 'delete'), entry => entry.intent.appointment)
  return entriesOf(history, 'book').flatMap(entry => {
    const life: Life = {
      patches: (entry.id === undefined ? undefined : patches.get(entry.id)) ?? [],
      removals: (entry.id === undefined ? undefined : removals.get(entry.id)) ?? [],
    }
    return judgeAppointment(entry, byOp.get(entry.intent.op) ?? [], life)
  })
}

function judgeAppointment(
  entry: EntryOf<'book'>,
  rows: readonly AppointmentRow[],
  life: Life,
): Finding[] {
  const key = `appointments ${entry.id ?? entry.intent.op}`
  const removed = life.removals.some(removal => removal.told === 'ok')
  if (removed) {
    if (rows.length === 0) return []
    return [{ kind: 'undead', key, expected: '0', got: String(rows.length) }]
  }
  const maybeRemoved = life.removals.some(removal => removal.told === 'unknown')
  const told: Told = entry.told === 'ok' && maybeRemoved ? 'unknown' : entry.told
  const copies = judgeCopies({ key, told, copies: rows.length })
  const [row] = rows
  if (copies || !row) return copies ? [copies] : []
  return [
    ...judgeIdentity(key, entry, row),
    ...judgeVersion(key, row, life),
    ...judgeContent(key, entry, row, life),
  ]
}

/** The row is the one that the client was told of, at the place it asked for. */
function judgeIdentity(key: string, entry: EntryOf<'book'>, row: AppointmentRow): Finding[] {
  const slot = `${entry.intent.practitioner}/${entry.intent.startsAt}`
  const got = `${row.practitioner}/${row.startsAt}`
  if (entry.id !== undefined && entry.id !== row.id) {
    return [{ kind: 'content', key, expected: `id ${entry.id}`, got: `id ${row.id}` }]
  }
  return slot === got ? [] : [{ kind: 'content', key, expected: slot, got }]
}

function judgeVersion(key: string, row: AppointmentRow, { patches }: Life): Finding[] {
  const min = 1 + patches.filter(patch => patch.told === 'ok').length
  const max = min + patches.filter(patch => patch.told === 'unknown').length
  const wrong = judgeRange({ kind: 'version', key, range: { min, max }, got: row.version })
  return wrong ? [wrong] : []
}

function judgeContent(
  key: string,
  entry: EntryOf<'book'>,
  row: AppointmentRow,
  { patches }: Life,
): Finding[] {
  const status = allowed('booked', patches, patch => patch.intent.status)
  const notes = allowed(entry.intent.notes, patches, patch => patch.intent.notes)
  const wrong: Finding[] = []
  if (!status.has(row.status)) {
    wrong.push({
      kind: 'content',
      key,
      expected: `status ${[...status].join(' or ')}`,
      got: row.status,
    })
  }
  if (!notes.has(row.notes)) {
    const expected = `notes with md5 ${[...notes].map(String).join(' or ')}`
    wrong.push({ kind: 'content', key, expected, got: String(row.notes) })
  }
  return wrong
}

/**
 * The values that a column may have: the one acknowledged last, or any that a write without an
 * answer may have left. The client changes one thing once at a time, so "last" has a meaning.
 */
export function allowed<T, W extends { readonly told: Told }>(
  first: T,
  writes: readonly W[],
  valueOf: (write: W) => T | undefined,
): ReadonlySet<T> {
  let last = first
  const unknown: T[] = []
  for (const write of writes) {
    const value = valueOf(write)
    if (value === undefined) continue
    if (write.told === 'ok') last = value
    else if (write.told === 'unknown') unknown.push(value)
  }
  return new Set([last, ...unknown])
}
