/**
 * What the load writes, as a table: non-idempotent updates, transfers between two tables, inserts
 * that nothing deduplicates.
 */
import { randomUUID } from 'node:crypto'
import type { Intent, Told } from '../ledger/record.ts'
import type { Area } from './failure.ts'
import { numberIn, type Call } from './http-client.ts'
import { md5, notesOf } from './notes.ts'
import { weighted, type Random } from './random.ts'
import {
  phoneOf,
  rememberBooked,
  rememberDeleted,
  rememberPatient,
  rememberTaken,
  type OwnAppointment,
  type OwnPatient,
  type Session,
} from './session.ts'
import type { Slot } from './slots.ts'
import type { World } from './world.ts'

export interface PlannedWrite {
  readonly intent: Intent
  readonly area: Area
  readonly call: Call
  /** Told exactly once how it ended, with the JSON of the answer. */
  readonly settle: (told: Told, body: unknown) => void
}

interface Context {
  readonly world: World
  readonly session: Session
  readonly random: Random
}

interface WriteKind {
  readonly weight: number
  /** Undefined where the session has nothing to write that to; then it books. */
  plan(context: Context): PlannedWrite | undefined
}

// prettier-ignore
export const WRITES: readonly WriteKind[] = [
  { weight: 28, plan: book },
  { weight: 22, plan: patch },
  { weight:  5, plan: remove },
  { weight: 17, plan: take },
  { weight:  6, plan: promote },
  { weight:  6, plan: createPatient },
  { weight:  7, plan: visit },
  { weight:  6, plan: patchPatient },
  { weight:  3, plan: prescribe },
]

const STATUSES = ['booked', 'confirmed', 'arrived'] as const
const DRUGS = ['amoxicillin', 'ibuprofen', 'metformin'] as const

/** The next write: slots are opened first, then the table decides. */
export function planWrite(world: World, random: Random): PlannedWrite {
  const session = random.pick(world.sessions)
  if (!session) throw new Error('a load needs at least one session')
  const context = { world, session, random }
  const toOpen = world.slots.toOpen(random)
  if (toOpen) return bookAt(context, toOpen, open => world.slots.opened(toOpen, open))
  return weighted(WRITES, random).plan(context) ?? book(context)
}

function book(context: Context): PlannedWrite {
  return bookAt(context, context.world.slots.forBooking(context.random))
}

function bookAt(context: Context, slot: Slot, opened?: (open: boolean) => void): PlannedWrite {
  const { world, session, random } = context
  const op = randomUUID()
  const patient = random.pick(session.seededPatients)?.id ?? random.pick(world.patients) ?? 1
  const notes = random.next() < 0.5 ? notesOf(random) : null
  return {
    intent: { kind: 'book', op, patient, ...slot, notes: notes === null ? null : md5(notes) },
    area: 'appointments',
    call: {
      method: 'POST',
      path: '/api/appointments',
      cookie: session.cookie,
      body: {
        op_id: op,
        patient_id: patient,
        practitioner_id: slot.practitioner,
        starts_at: slot.startsAt,
        details: { channel: 'desk', room: random.below(12) + 1 },
        fee: `${40 + random.below(80)}.50`,
        ...(notes === null ? {} : { notes }),
      },
    },
    settle(told, body) {
      opened?.(told === 'ok')
      const id = numberIn(body, 'id')
      // A booking that opened a slot for takes is never touched again: nobody may lower that slot's
      // counter.
      if (opened !== undefined || told !== 'ok' || id === undefined) return
      const version = numberIn(body, 'version') ?? 1
      rememberBooked(session, { op, id, patient, ...slot, version })
    },
  }
}

function patch({ session, random }: Context): PlannedWrite | undefined {
  const own = writable(session, random)
  if (!own) return undefined
  const status = random.pick(STATUSES) ?? 'booked'
  const notes = random.next() < 0.4 ? notesOf(random) : undefined
  own.busy = true
  return {
    intent: {
      kind: 'patch',
      appointment: own.id,
      status,
      ...(notes === undefined ? {} : { notes: md5(notes) }),
    },
    area: 'appointments',
    call: {
      method: 'PATCH',
      path: `/api/appointments/${own.id}`,
      cookie: session.cookie,
      body: { status, ...(notes === undefined ? {} : { notes }) },
    },
    settle(told) {
      own.busy = false
      // Counted, not copied from the answer: an answer from a stale row must not lower what we
      // expect.
      if (told === 'ok') own.version++
      if (told === 'unknown') own.uncertain = true
    },
  }
}

function remove({ session, random }: Context): PlannedWrite | undefined {
  const own = writable(session, random)
  if (!own) return undefined
  own.busy = true
  own.deleteSent = true
  return {
    intent: { kind: 'delete', appointment: own.id },
    area: 'appointments',
    call: { method: 'DELETE', path: `/api/appointments/${own.id}`, cookie: session.cookie },
    settle(told) {
      own.busy = false
      if (told === 'ok') rememberDeleted(session, own)
      else if (told === 'unknown') own.uncertain = true
      else own.deleteSent = false
    },
  }
}

function take(context: Context): PlannedWrite | undefined {
  const slot = context.world.slots.forTaking(context.random)
  if (!slot) return undefined
  return slotWrite(context, 'take', slot, told => {
    if (told.ok && told.taken !== undefined) rememberTaken(context.session, slot, told.taken)
  })
}

function promote(context: Context): PlannedWrite | undefined {
  const slot = context.world.slots.forPromoting(context.random)
  if (!slot) return undefined
  slot.waiting--
  return slotWrite(context, 'promote', slot, told => {
    if (!told.ok) slot.waiting++
  })
}

function slotWrite(
  { session }: Context,
  kind: 'take' | 'promote',
  slot: Slot,
  learn: (told: { ok: boolean; taken: number | undefined }) => void,
): PlannedWrite {
  const { practitioner, startsAt } = slot
  const op = randomUUID()
  return {
    intent: { kind, op, practitioner, startsAt },
    area: 'appointments',
    call: {
      method: 'POST',
      path: `/api/slots/${practitioner}/${startsAt}/${kind}`,
      cookie: session.cookie,
      body: { op_id: op },
    },
    settle: (told, body) => learn({ ok: told === 'ok', taken: numberIn(body, 'taken') }),
  }
}

function createPatient({ world, session, random }: Context): PlannedWrite {
  const op = randomUUID()
  const mrn = `L-${op.slice(0, 13)}-${world.run.slice(0, 4)}`
  return {
    intent: { kind: 'create-patient', op, mrn },
    area: 'patients',
    call: {
      method: 'POST',
      path: '/api/patients',
      cookie: session.cookie,
      body: {
        op_id: op,
        mrn,
        name: `Walk-in ${random.below(10_000)}`,
        birth_date: `${1940 + random.below(70)}-0${1 + random.below(9)}-1${random.below(9)}`,
        tags: ['walk-in'],
      },
    },
    settle(told, body) {
      const id = numberIn(body, 'id')
      if (told === 'ok' && id !== undefined) rememberPatient(session, id, 0)
    },
  }
}

function visit({ session, random }: Context): PlannedWrite | undefined {
  const own = writablePatient(session, random)
  if (!own) return undefined
  own.busy = true
  return {
    intent: { kind: 'visit', patient: own.id },
    area: 'patients',
    call: {
      method: 'POST',
      path: `/api/patients/${own.id}/visits`,
      cookie: session.cookie,
      body: { op_id: randomUUID() },
    },
    settle(told) {
      own.busy = false
      if (told === 'ok') own.visits++
      if (told === 'unknown') own.uncertain = true
    },
  }
}

function patchPatient({ session, random }: Context): PlannedWrite | undefined {
  const own = writablePatient(session, random)
  if (!own) return undefined
  const serial = own.phoneSerial + 1
  const phone = phoneOf(serial)
  own.busy = true
  return {
    intent: { kind: 'patch-patient', patient: own.id, phone },
    area: 'patients',
    call: {
      method: 'PATCH',
      path: `/api/patients/${own.id}`,
      cookie: session.cookie,
      body: { phone },
    },
    settle(told) {
      own.busy = false
      if (told === 'ok') own.phoneSerial = serial
      if (told === 'unknown') own.uncertain = true
    },
  }
}

function prescribe({ world, session, random }: Context): PlannedWrite | undefined {
  const appointment = random.pick(world.seeded)
  if (!appointment) return undefined
  const op = randomUUID()
  const dose = `1 daily (${op})`
  return {
    intent: { kind: 'prescribe', op, dose },
    area: 'other',
    call: {
      method: 'POST',
      path: '/api/prescriptions',
      cookie: session.cookie,
      body: {
        appointment_id: appointment.id,
        patient_id: appointment.patient,
        drug: random.pick(DRUGS),
        dose,
      },
    },
    settle() {},
  }
}

function writable(session: Session, random: Random): OwnAppointment | undefined {
  return random.pick(
    session.appointments.filter(own => !own.busy && !own.deleteSent && !own.uncertain),
  )
}

function writablePatient(session: Session, random: Random): OwnPatient | undefined {
  const all = [...session.patients, ...session.seededPatients]
  return random.pick(all.filter(own => !own.busy && !own.uncertain))
}
