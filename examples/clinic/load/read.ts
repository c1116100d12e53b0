/**
 * What the load reads, and what it must find there: a read sent after a write was acknowledged may
 * not be older.
 */
import type { StaleRead } from '../ledger/record.ts'
import type { Area } from './failure.ts'
import { jsonOf, numberIn, textIn, type Call, type End } from './http-client.ts'
import { weighted, type Random } from './random.ts'
import {
  phoneOf,
  phoneSerialOf,
  type OwnAppointment,
  type OwnPatient,
  type Session,
} from './session.ts'
import type { World } from './world.ts'

export interface PlannedRead {
  readonly area: Area
  readonly call: Call
  /**
   * Undefined where nothing older than what the session was told, before this read was planned,
   * came back.
   */
  readonly judge: (end: End) => StaleRead | undefined
}

interface Context {
  readonly world: World
  readonly session: Session
  readonly random: Random
}

interface ReadKind {
  readonly weight: number
  plan(context: Context): PlannedRead | undefined
}

// prettier-ignore
export const READS: readonly ReadKind[] = [
  { weight: 30, plan: ownAppointment },
  { weight:  5, plan: goneAppointment },
  { weight: 14, plan: ownList },
  { weight: 12, plan: takenSlot },
  { weight: 12, plan: ownPatient },
  { weight:  6, plan: seededAppointment },
  { weight:  5, plan: slotList },
  { weight:  4, plan: patientSearch },
  { weight:  3, plan: c => unjudged(c, 'practitioners', '/api/practitioners') },
  { weight:  2, plan: c => unjudged(c, 'practitioners', `/api/practitioners/${practitioner(c)}`) },
  { weight:  4, plan: c => unjudged(c, 'other', `/api/patients/${patient(c)}/summary`) },
  { weight:  1, plan: c => unjudged(c, 'other', '/') },
  { weight:  1, plan: c => unjudged(c, 'other', '/appointments') },
  { weight:  1, plan: c => unjudged(c, 'other', `/patients/${patient(c)}`) },
]

const NAMES = ['an', 'el', 'ma', 'Walk'] as const
const LIST_LIMIT = 20
/**
 * Half of the reads of one's own look at what was written last, where a lagging copy would show.
 */
const RECENT = 3

/** Plan right before sending: what is expected is what the session knows now. */
export function planRead(world: World, random: Random): PlannedRead {
  const session = random.pick(world.sessions)
  if (!session) throw new Error('a load needs at least one session')
  const context = { world, session, random }
  return (
    weighted(READS, random).plan(context) ??
    unjudged(context, 'practitioners', '/api/practitioners')
  )
}

function unjudged({ session }: Context, area: Area, path: string): PlannedRead {
  return { area, call: get(session, path), judge: () => undefined }
}

function practitioner({ world, random }: Context): number {
  return random.pick(world.practitioners) ?? 1
}

function patient({ world, random }: Context): number {
  return random.pick(world.patients) ?? 1
}

function slotList(context: Context): PlannedRead {
  return unjudged(context, 'appointments', `/api/slots?practitioner_id=${practitioner(context)}`)
}

function patientSearch(context: Context): PlannedRead {
  const q = context.random.pick(NAMES) ?? 'Walk'
  return unjudged(context, 'patients', `/api/patients?q=${q}&limit=10`)
}

function ownAppointment({ session, random }: Context): PlannedRead | undefined {
  const own = recent(session.appointments, random)
  if (!own) return undefined
  const { version } = own
  const call = get(session, `/api/appointments/${own.id}`)
  return {
    area: 'appointments',
    call,
    judge: end => {
      if (missing(end)) {
        return own.deleteSent ? undefined : stale(call, `version ${version}`, 'not found')
      }
      return olderThan(call, version, bodyOf(end))
    },
  }
}

function goneAppointment({ session, random }: Context): PlannedRead | undefined {
  const own = recent(session.gone, random)
  if (!own) return undefined
  const call = get(session, `/api/appointments/${own.id}`)
  return {
    area: 'appointments',
    call,
    judge: end => (found(end) ? stale(call, 'not found (deleted)', 'a row') : undefined),
  }
}

function ownList({ session, random }: Context): PlannedRead | undefined {
  const patient = recent(session.appointments, random)?.patient
  if (patient === undefined) return undefined
  const expected = session.appointments
    .filter(own => own.patient === patient && !own.deleteSent)
    .map(own => ({ own, version: own.version }))
  const gone = session.gone.filter(own => own.patient === patient)
  const call = get(session, `/api/appointments?patient_id=${patient}&limit=${LIST_LIMIT}`)
  return {
    area: 'appointments',
    call,
    judge: end => {
      const rows = bodyOf(end)
      return Array.isArray(rows) ? judgeList({ call, rows, expected, gone }) : undefined
    },
  }
}

function judgeList(options: {
  call: Call
  rows: readonly unknown[]
  expected: readonly { own: OwnAppointment; version: number }[]
  gone: readonly OwnAppointment[]
}): StaleRead | undefined {
  const { call, rows, expected, gone } = options
  const byId = new Map(rows.map(row => [numberIn(row, 'id') ?? 0, row]))
  // Newest first: what is older than the last row of a full page may be on the next one.
  const oldest = rows.length < LIST_LIMIT ? 0 : Math.min(...byId.keys())
  for (const { own, version } of expected) {
    const row = byId.get(own.id)
    if (row === undefined && own.id > oldest && !own.deleteSent) {
      return stale(call, `appointment ${own.id}, version ${version}`, 'not listed')
    }
    const older = row === undefined ? undefined : olderThan(call, version, row)
    if (older) return older
  }
  const undead = gone.find(own => byId.has(own.id))
  return undead && stale(call, `appointment ${undead.id} not listed (deleted)`, 'listed')
}

function takenSlot({ session, random }: Context): PlannedRead | undefined {
  const known = random.pick([...session.taken])
  if (!known) return undefined
  const [name, taken] = known
  const call = get(session, `/api/slots/${name}`)
  return {
    area: 'appointments',
    call,
    judge: end => {
      if (missing(end)) return stale(call, `taken >= ${taken}`, 'not found')
      const got = numberIn(bodyOf(end), 'taken')
      if (got === undefined || got >= taken) return undefined
      return stale(call, `taken >= ${taken}`, `taken ${got}`)
    },
  }
}

function ownPatient({ session, random }: Context): PlannedRead | undefined {
  const own = recent([...session.seededPatients, ...session.patients], random)
  if (!own) return undefined
  const call = get(session, `/api/patients/${own.id}`)
  const expected = { visits: own.visits, phoneSerial: own.phoneSerial }
  return { area: 'patients', call, judge: end => judgePatient({ call, own, expected, end }) }
}

function judgePatient(options: {
  call: Call
  own: OwnPatient
  expected: { visits: number; phoneSerial: number }
  end: End
}): StaleRead | undefined {
  const { call, own, expected, end } = options
  if (missing(end)) return stale(call, `a patient with ${expected.visits} visits`, 'not found')
  const body = bodyOf(end)
  const visits = numberIn(body, 'visits')
  if (visits !== undefined && visits < expected.visits) {
    return stale(call, `visits >= ${expected.visits}`, `visits ${visits}`)
  }
  // A change that ended without an answer may land late, on top of a newer one: then the number
  // proves nothing.
  if (expected.phoneSerial === 0 || own.uncertain || visits === undefined) return undefined
  const phone = textIn(body, 'phone')
  if (phoneSerialOf(phone) >= expected.phoneSerial) return undefined
  return stale(call, `phone ${phoneOf(expected.phoneSerial)}`, `phone ${phone ?? 'null'}`)
}

function seededAppointment(context: Context): PlannedRead | undefined {
  const id = context.random.pick(context.world.seeded)?.id
  return id === undefined ? undefined : unjudged(context, 'appointments', `/api/appointments/${id}`)
}

function get(session: Session, path: string): Call {
  return { method: 'GET', path, cookie: session.cookie }
}

function recent<T>(known: readonly T[], random: Random): T | undefined {
  return random.next() < 0.5 ? random.pick(known.slice(-RECENT)) : random.pick(known)
}

function found(end: End): boolean {
  return end.kind === 'answer' && end.status === 200
}

function missing(end: End): boolean {
  return end.kind === 'answer' && end.status === 404
}

function bodyOf(end: End): unknown {
  return found(end) ? jsonOf(end) : undefined
}

function olderThan(call: Call, version: number, row: unknown): StaleRead | undefined {
  const got = numberIn(row, 'version')
  if (got === undefined || got >= version) return undefined
  return stale(call, `version >= ${version}`, `version ${got}`)
}

function stale(call: Call, expected: string, got: string): StaleRead {
  return { route: `${call.method} ${call.path}`, expected, got }
}
