/**
 * Counters and transfers: what slots hold must be what was booked, taken and promoted, no more and
 * no less.
 */
import type pg from 'pg'
import type { AppointmentRow } from './appointments.ts'
import { judgeCopies, judgeRange, type Finding } from './finding.ts'
import { grouped } from './grouped.ts'
import { entriesOf, type EntryOf, type History, type SlotBefore } from './history.ts'
import { slotName, type Told } from './record.ts'
import type { Names } from './side.ts'

export interface MoveRow {
  readonly op: string
  readonly kind: string
  readonly practitioner: number
  readonly startsAt: string
}

export interface SlotRow {
  readonly practitioner: number
  readonly startsAt: string
  /** Null where there is no such row. */
  readonly taken: number | null
  readonly waiting: number | null
}

/** The rows of all the journal's takes and promotions. */
export async function moveRows(
  client: pg.Client,
  names: Names,
  history: History,
): Promise<readonly MoveRow[]> {
  const ops = entriesOf(history, 'take', 'promote').map(entry => entry.intent.op)
  const { rows } = await client.query<MoveRow>(
    `SELECT m.op_id::text AS op, m.kind, m.practitioner_id::float8 AS practitioner,
       to_char(m.starts_at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS "startsAt"
     FROM ${names.slotMoves} m JOIN unnest($1::uuid[]) AS moved(op) ON m.op_id = moved.op`,
    [ops],
  )
  return rows
}

/** The slots that the journal wrote to, and those with a waiting list that it noted. */
export async function slotRows(
  client: pg.Client,
  names: Names,
  history: History,
): Promise<ReadonlyMap<string, SlotRow>> {
  const wanted = new Map<string, { practitioner: number; startsAt: string }>()
  const slots = [
    ...history.slotsBefore,
    ...entriesOf(history, 'book', 'take', 'promote').map(entry => entry.intent),
  ]
  for (const slot of slots) wanted.set(slotName(slot), slot)
  const { rows } = await client.query<SlotRow>(
    `SELECT wanted.practitioner::float8 AS practitioner,
       to_char(wanted.starts_at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS "startsAt", s.taken, w.waiting
     FROM unnest($1::bigint[], $2::timestamptz[]) AS wanted(practitioner, starts_at)
     LEFT JOIN ${names.slots} s
       ON s.${names.practitioner} = wanted.practitioner AND s.starts_at = wanted.starts_at
     LEFT JOIN ${names.waitlist} w
       ON w.practitioner_id = wanted.practitioner AND w.starts_at = wanted.starts_at`,
    [
      [...wanted.values()].map(slot => slot.practitioner),
      [...wanted.values()].map(slot => slot.startsAt),
    ],
  )
  return new Map(rows.map(row => [slotName(row), row]))
}

/** Each take and each promotion left exactly one row, of its kind and at its slot. */
export function checkMoves(history: History, rows: readonly MoveRow[]): readonly Finding[] {
  const byOp = grouped(rows, row => row.op)
  return entriesOf(history, 'take', 'promote').flatMap(({ intent, told }): Finding[] => {
    const own = byOp.get(intent.op) ?? []
    const key = `slot_moves ${intent.op}`
    const wrong = judgeCopies({ key, told, copies: own.length })
    if (wrong) return [wrong]
    const expected = `${intent.kind} ${slotName(intent)}`
    const other = own.map(row => `${row.kind} ${slotName(row)}`).find(got => got !== expected)
    return other === undefined ? [] : [{ kind: 'content', key, expected, got: other }]
  })
}

/**
 * The slots that only the load uses: `taken` is what was booked and taken there less what was
 * deleted, by what the client was told; and it is exactly the number of rows that say so, whatever
 * the client was told.
 */
export function checkTaken(
  history: History,
  rows: {
    readonly slots: ReadonlyMap<string, SlotRow>
    readonly appointments: readonly AppointmentRow[]
    readonly moves: readonly MoveRow[]
  },
): readonly Finding[] {
  const ranges = takenRanges(history)
  const waitlisted = new Set(history.slotsBefore.map(slotName))
  const here = countBy([...rows.appointments, ...rows.moves.filter(row => row.kind === 'take')])
  return [...ranges].flatMap(([name, range]): Finding[] => {
    // A slot that somebody else may have filled before has no exact number here; it is checked as a
    // transfer.
    if (waitlisted.has(name)) return []
    const got = rows.slots.get(name)?.taken ?? 0
    const key = `slots ${name}`
    const told = judgeRange({ kind: 'counter', key, range, got })
    if (told) return [told]
    const there = here.get(name) ?? 0
    if (there === got) return []
    return [
      { kind: 'transfer', key, expected: `taken ${there}, as many as rows`, got: String(got) },
    ]
  })
}

function takenRanges(history: History): ReadonlyMap<string, { min: number; max: number }> {
  const ranges = new Map<string, { min: number; max: number }>()
  const add = (name: string, told: Told, step: 1 | -1): void => {
    const range = ranges.get(name) ?? { min: 0, max: 0 }
    ranges.set(name, range)
    if (told === 'ok' || (told === 'unknown' && step === -1)) range.min += step
    if (told === 'ok' || (told === 'unknown' && step === 1)) range.max += step
  }
  const slotOfId = new Map<number, string>()
  for (const entry of entriesOf(history, 'book', 'take')) {
    add(slotName(entry.intent), entry.told, 1)
    if (entry.intent.kind === 'book' && entry.id !== undefined)
      slotOfId.set(entry.id, slotName(entry.intent))
  }
  for (const { intent, told } of entriesOf(history, 'delete')) {
    const name = slotOfId.get(intent.appointment)
    if (name !== undefined) add(name, told, -1)
  }
  return ranges
}

function countBy(rows: readonly { practitioner: number; startsAt: string }[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const row of rows) counts.set(slotName(row), (counts.get(slotName(row)) ?? 0) + 1)
  return counts
}

/**
 * Both halves of every promotion: one fewer waits, one more is taken, and as many as the client was
 * told.
 */
export function checkTransfers(
  history: History,
  rows: { readonly slots: ReadonlyMap<string, SlotRow>; readonly moves: readonly MoveRow[] },
): readonly Finding[] {
  const promotions = grouped(entriesOf(history, 'promote'), entry => slotName(entry.intent))
  const moved = countBy(rows.moves.filter(row => row.kind === 'promote'))
  return history.slotsBefore.flatMap(before => {
    const name = slotName(before)
    return judgeTransfer({
      before,
      now: rows.slots.get(name),
      promotions: promotions.get(name) ?? [],
      moved: moved.get(name) ?? 0,
    })
  })
}

function judgeTransfer(what: {
  before: SlotBefore
  now: SlotRow | undefined
  promotions: readonly EntryOf<'promote'>[]
  moved: number
}): Finding[] {
  const { before, now, promotions, moved } = what
  const key = `slots ${slotName(before)}`
  const sum = before.waiting + before.taken
  if (now?.taken == null || now.waiting == null) {
    return [{ kind: 'transfer', key, expected: `waiting + taken = ${sum}`, got: 'no such row' }]
  }
  const got = `waiting ${now.waiting}, taken ${now.taken}, ${moved} moves`
  const left = before.waiting - now.waiting
  const arrived = now.taken - before.taken
  if (left !== arrived || left !== moved) {
    return [{ kind: 'transfer', key, expected: `waiting + taken = ${sum}, a move for each`, got }]
  }
  const min = promotions.filter(promotion => promotion.told === 'ok').length
  const max = min + promotions.filter(promotion => promotion.told === 'unknown').length
  const wrong = judgeRange({
    kind: 'counter',
    key: `${key} promoted`,
    range: { min, max },
    got: left,
  })
  return wrong ? [wrong] : []
}
