/** The journal, read back: every write the client meant, and what it was told. */
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import type { Intent, IntentKind, JournalRecord, StaleRead, Told, Totals } from './record.ts'

/** A write. Without an outcome in the journal (the load died) it is `unknown`. */
export interface Entry {
  readonly n: number
  readonly intent: Intent
  readonly told: Told
  /** The id that an insert was told. */
  readonly id: number | undefined
}

export type EntryOf<K extends IntentKind> = Entry & {
  readonly intent: Extract<Intent, { kind: K }>
}

/** What the client counted between two marks. */
export interface Phase {
  readonly name: string
  readonly writes: number
  readonly told: Readonly<Record<Told, number>>
  readonly stale: number
}

export interface SlotBefore {
  readonly practitioner: number
  readonly startsAt: string
  readonly taken: number
  readonly waiting: number
}

export interface History {
  readonly entries: readonly Entry[]
  /** Visits of the patients that were there before. */
  readonly visitsBefore: ReadonlyMap<number, number>
  readonly slotsBefore: readonly SlotBefore[]
  readonly stale: readonly StaleRead[]
  readonly phases: readonly Phase[]
  /** As last written down; absent when the load was never paused and didn't finish. */
  readonly totals: Totals | undefined
}

interface Reading {
  readonly entries: Map<
    number,
    { n: number; intent: Intent; told: Told; id: number | undefined; phase: number }
  >
  readonly visitsBefore: Map<number, number>
  readonly slotsBefore: SlotBefore[]
  readonly stale: StaleRead[]
  readonly phases: { name: string; stale: number }[]
  totals: Totals | undefined
}

/**
 * Throws where a line that was finished can't be read: a ledger must not judge by half a journal.
 */
export async function readHistory(path: string): Promise<History> {
  const reading: Reading = {
    entries: new Map(),
    visitsBefore: new Map(),
    slotsBefore: [],
    stale: [],
    phases: [{ name: 'start', stale: 0 }],
    totals: undefined,
  }
  let held: { line: string; number: number } | undefined
  let number = 0
  const take = (): void => {
    if (held) note(reading, parsed(held, path))
  }
  for await (const line of createInterface({
    input: createReadStream(path),
    crlfDelay: Infinity,
  })) {
    take()
    held = { line, number: ++number }
  }
  // The last line may be torn: the load was killed while it wrote. Its request was never sent.
  if (held && whole(held.line)) take()
  return finished(reading)
}

function parsed(held: { line: string; number: number }, path: string): JournalRecord {
  try {
    return JSON.parse(held.line) as JournalRecord
  } catch (cause) {
    throw new Error(`${path}:${held.number} can't be read`, { cause })
  }
}

function whole(line: string): boolean {
  try {
    JSON.parse(line)
    return true
  } catch {
    return false
  }
}

function note(reading: Reading, record: JournalRecord): void {
  const phase = reading.phases.length - 1
  switch (record.t) {
    case 'start':
      return
    case 'patient':
      reading.visitsBefore.set(record.id, record.visits)
      return
    case 'slot':
      reading.slotsBefore.push(record)
      return
    case 'intent': {
      const { n, intent } = record
      reading.entries.set(n, { n, intent, told: 'unknown', id: undefined, phase })
      return
    }
    case 'outcome': {
      const entry = reading.entries.get(record.n)
      if (!entry) throw new Error(`outcome ${record.n} has no intent: the journal isn't whole`)
      Object.assign(entry, { told: record.told, id: record.id })
      return
    }
    case 'mark':
      reading.phases.push({ name: record.name, stale: 0 })
      return
    case 'stale':
      reading.stale.push(record)
      if (reading.phases[phase]) reading.phases[phase].stale++
      return
    case 'totals':
      reading.totals = record.totals
  }
}

function finished(reading: Reading): History {
  const entries = [...reading.entries.values()]
  const phases = reading.phases.map(({ name, stale }, index): Phase => {
    const told: Record<Told, number> = { ok: 0, no: 0, unknown: 0, unsent: 0 }
    const own = entries.filter(entry => entry.phase === index)
    for (const entry of own) told[entry.told]++
    return { name, stale, writes: own.length, told }
  })
  return { ...reading, entries, phases }
}

/** The entries of the given kinds, with the type that says so. */
export function entriesOf<K extends IntentKind>(history: History, ...kinds: K[]): EntryOf<K>[] {
  const wanted: readonly string[] = kinds
  return history.entries.filter((entry): entry is EntryOf<K> => wanted.includes(entry.intent.kind))
}
