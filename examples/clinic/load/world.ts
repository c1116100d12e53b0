/**
 * What the load knows of the clinic before it starts: found through the API, as any client would.
 */
import { randomUUID } from 'node:crypto'
import { jsonOf, numberIn, textIn, type Call, type HttpClient } from './http-client.ts'
import { createSession, phoneSerialOf, type Session } from './session.ts'
import { createSlots, type PromoteSlot, type Slots } from './slots.ts'
import type { JournalFile } from './journal-file.ts'

export interface World {
  /** Names this run's patients; no other run has it. */
  readonly run: string
  readonly sessions: readonly Session[]
  readonly practitioners: readonly number[]
  readonly patients: readonly number[]
  /** Appointments that were there before; the load hangs prescriptions on them and reads them. */
  readonly seeded: readonly { readonly id: number; readonly patient: number }[]
  readonly slots: Slots
}

export interface WorldSize {
  readonly sessions: number
  /** At most so many are used of those that the API lists. */
  readonly practitioners: number
  readonly patients: number
}

/** Patients of whom the load looks up earlier appointments. */
const SEEDED_LOOKUPS = 12
const SEEDED_PER_PATIENT = 5
/** A list answers with at most so many patients, whatever `limit` says. */
const LIST_LIMIT_MAX = 100
/**
 * Enough waiting lists for a long run; each is read once, and its practitioner's whole page is
 * kept.
 */
const PROMOTE_SLOTS_MAX = 60

/**
 * Logs the sessions in and looks around. Writes to the journal what it found and will change.
 * Throws when the clinic doesn't answer, or is empty.
 */
export async function exploreWorld(options: {
  client: HttpClient
  journal: JournalFile
  size: WorldSize
}): Promise<World> {
  const { client, journal, size } = options
  const sessions: Session[] = []
  for (let index = 0; index < size.sessions; index++) {
    sessions.push(createSession(await login(client, `reception-${index + 1}`)))
  }
  const cookie = sessions[0]?.cookie
  if (cookie === undefined) throw new Error('a load needs at least one session')
  const list = (path: string): Promise<unknown[]> => listOf(client, { method: 'GET', path, cookie })

  const practitioners = idsOf(await list('/api/practitioners')).slice(0, size.practitioners)
  const found = await list(`/api/patients?limit=${Math.min(size.patients, LIST_LIMIT_MAX)}`)
  const patients = idsOf(found).slice(0, size.patients)
  if (practitioners.length === 0 || patients.length === 0) {
    throw new Error('the clinic lists no practitioner or no patient: seed it first')
  }
  shareOut({ found: found.slice(0, size.patients), sessions, journal })

  const promote: PromoteSlot[] = []
  for (const practitioner of practitioners) {
    if (promote.length >= PROMOTE_SLOTS_MAX) break
    for (const row of await list(`/api/slots?practitioner_id=${practitioner}&limit=200`)) {
      const slot = waitingSlot(row)
      if (!slot) continue
      promote.push(slot)
      journal.note({ t: 'slot', ...slot, taken: numberIn(row, 'taken') ?? 0 })
    }
  }
  const seeded: { id: number; patient: number }[] = []
  for (const patient of patients.slice(0, SEEDED_LOOKUPS)) {
    const path = `/api/appointments?patient_id=${patient}&limit=${SEEDED_PER_PATIENT}`
    for (const id of idsOf(await list(path))) seeded.push({ id, patient })
  }
  await journal.flush()
  const slots = createSlots({ practitioners, promote })
  return { run: randomUUID(), sessions, practitioners, patients, seeded, slots }
}

async function login(client: HttpClient, username: string): Promise<string> {
  const end = await client.call({ method: 'POST', path: '/api/login', body: { username } })
  if (end.kind !== 'answer' || end.status !== 200) throw refused('POST /api/login', end)
  const cookies = (end.headers['set-cookie'] ?? []).map(cookie => cookie.split(';', 1)[0])
  const session = cookies.find(cookie => cookie?.startsWith('clinic_sid='))
  if (session === undefined) throw new Error('POST /api/login set no cookie clinic_sid')
  return session
}

async function listOf(client: HttpClient, call: Call): Promise<unknown[]> {
  const end = await client.call(call)
  const body: unknown = jsonOf(end)
  if (end.kind !== 'answer' || end.status !== 200 || !Array.isArray(body)) {
    throw refused(`${call.method} ${call.path}`, end)
  }
  return body as unknown[]
}

function refused(what: string, end: Awaited<ReturnType<HttpClient['call']>>): Error {
  const how = end.kind === 'answer' ? `${end.status} ${end.text.slice(0, 200)}` : end.code
  return new Error(`${what} was answered: ${how}`)
}

function idsOf(rows: readonly unknown[]): number[] {
  return rows.map(row => numberIn(row, 'id')).filter(id => id !== undefined)
}

/** Each patient is one session's alone, so that what it was told last is what it must read. */
function shareOut(options: {
  found: readonly unknown[]
  sessions: readonly Session[]
  journal: JournalFile
}): void {
  for (const [index, row] of options.found.entries()) {
    const id = numberIn(row, 'id')
    const visits = numberIn(row, 'visits')
    const session = options.sessions[index % options.sessions.length]
    if (id === undefined || visits === undefined || !session) continue
    const phoneSerial = phoneSerialOf(textIn(row, 'phone'))
    session.seededPatients.push({ id, visits, phoneSerial, busy: false, uncertain: false })
    options.journal.note({ t: 'patient', id, visits })
  }
}

function waitingSlot(row: unknown): PromoteSlot | undefined {
  const practitioner = numberIn(row, 'practitioner_id')
  const startsAt = textIn(row, 'starts_at')
  const waiting = numberIn(row, 'waiting') ?? 0
  if (practitioner === undefined || startsAt === undefined || waiting <= 0) return undefined
  return { practitioner, startsAt, waiting }
}
