/**
 * What one virtual user was told, and may therefore expect to read: the stale-read check rests on
 * nothing else.
 */
import { slotName } from '../ledger/record.ts'

/** An appointment that this session booked and nobody else writes to. */
export interface OwnAppointment {
  readonly op: string
  readonly id: number
  readonly patient: number
  readonly practitioner: number
  readonly startsAt: string
  /** As last told ok. */
  version: number
  /** A write to it is under way; one at a time, so that the last value told is the value. */
  busy: boolean
  /** A deletion was sent: from then on a 404 is no surprise. */
  deleteSent: boolean
  /** A deletion was told ok: from then on anything but a 404 is stale. */
  deleted: boolean
  /** A write to it ended without an answer; it is left alone. */
  uncertain: boolean
}

/** A patient that only this session writes to. */
export interface OwnPatient {
  readonly id: number
  /** As last told ok. */
  visits: number
  /** Of the phone number last told ok; it grows with every change. 0 before the first. */
  phoneSerial: number
  busy: boolean
  uncertain: boolean
}

export interface Session {
  readonly cookie: string
  readonly appointments: OwnAppointment[]
  readonly gone: OwnAppointment[]
  readonly patients: OwnPatient[]
  /**
   * Patients that were there before the load: the ones booked for, because every database already
   * has them.
   */
  readonly seededPatients: OwnPatient[]
  /** `taken` of a slot as this session was last told; nobody decreases it. */
  readonly taken: Map<string, number>
}

/** How much a session remembers; the oldest is forgotten first (the ledger forgets nothing). */
const APPOINTMENTS_MAX = 40
const GONE_MAX = 10
const PATIENTS_MAX = 20

export function createSession(cookie: string): Session {
  return {
    cookie,
    appointments: [],
    gone: [],
    patients: [],
    seededPatients: [],
    taken: new Map(),
  }
}

export function rememberBooked(
  session: Session,
  booked: Pick<OwnAppointment, 'op' | 'id' | 'patient' | 'practitioner' | 'startsAt' | 'version'>,
): void {
  session.appointments.push({
    ...booked,
    busy: false,
    deleteSent: false,
    deleted: false,
    uncertain: false,
  })
  if (session.appointments.length > APPOINTMENTS_MAX) session.appointments.shift()
}

export function rememberDeleted(session: Session, appointment: OwnAppointment): void {
  appointment.deleted = true
  const index = session.appointments.indexOf(appointment)
  if (index >= 0) session.appointments.splice(index, 1)
  session.gone.push(appointment)
  if (session.gone.length > GONE_MAX) session.gone.shift()
}

export function rememberPatient(session: Session, id: number, visits: number): void {
  session.patients.push({ id, visits, phoneSerial: 0, busy: false, uncertain: false })
  if (session.patients.length > PATIENTS_MAX) session.patients.shift()
}

export function rememberTaken(
  session: Session,
  slot: { practitioner: number; startsAt: string },
  taken: number,
): void {
  const name = slotName(slot)
  session.taken.set(name, Math.max(taken, session.taken.get(name) ?? 0))
}

/** Phone numbers carry a serial, so that an older one is recognised as older. */
export function phoneOf(serial: number): string {
  return `+41 58 ${String(serial).padStart(7, '0')}`
}

/** The serial of a phone number that the load wrote, or 0 for any other. */
export function phoneSerialOf(phone: string | undefined): number {
  const digits = /^\+41 58 (\d{7,})$/.exec(phone ?? '')?.[1]
  return digits === undefined ? 0 : Number(digits)
}
