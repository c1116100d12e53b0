/** Appointments: what is booked, changed and cancelled. One booking touches four tables in one transaction. */
import type { Database, Queries, Row } from './database.ts'
import { badRequest, notFound } from './errors.ts'
import {
  id,
  json,
  limit,
  money,
  optional,
  orNull,
  required,
  text,
  timestamp,
  uuid,
  word,
} from './input.ts'
import type { JsonObject } from './input.ts'
import { created, noContent, ok } from './routes.ts'
import type { Route } from './routes.ts'
import type { Session } from './sessions.ts'
import { addToSlot } from './slots.ts'

const COLUMNS = `id, op_id, patient_id, practitioner_id, starts_at, status, notes, details, fee,
  version, updated_at`
const NOTES_MAX_LENGTH = 100_000

export function appointmentRoutes(database: Database): readonly Route[] {
  return [
    ['GET', '/api/appointments', async ({ query }) => ok(await listAppointments(database, query))],
    [
      'POST',
      '/api/appointments',
      async request => created(await book(database, await request.body(), request.session)),
    ],
    ['GET', '/api/appointments/:id', async ({ params }) => ok(await getOne(database, params))],
    [
      'PATCH',
      '/api/appointments/:id',
      async request => ok(await change(database, request.params, await request.body())),
    ],
    [
      'DELETE',
      '/api/appointments/:id',
      async ({ params }) => {
        await cancel(database, params)
        return noContent()
      },
    ],
  ]
}

async function getOne(database: Database, params: JsonObject): Promise<Row> {
  const sql = `select ${COLUMNS} from appointments where id = $1`
  return existing(await database.row(sql, [id(params.id, 'id')]))
}

/** Newest first. */
function listAppointments(database: Database, query: URLSearchParams): Promise<Row[]> {
  const rows = limit(query, 50, 500)
  const patient = query.get('patient_id')
  if (patient === null) {
    return database.rows(`select ${COLUMNS} from appointments order by id desc limit $1`, [rows])
  }
  return database.rows(
    `select ${COLUMNS} from appointments where patient_id = $1 order by id desc limit $2`,
    [id(patient, 'patient_id'), rows],
  )
}

function book(database: Database, body: JsonObject, session: Session | null): Promise<Row> {
  const booking = {
    opId: required(body, 'op_id', uuid),
    patientId: required(body, 'patient_id', id),
    practitionerId: required(body, 'practitioner_id', id),
    startsAt: required(body, 'starts_at', timestamp),
    notes: optional(body, 'notes', orNull(text(NOTES_MAX_LENGTH))) ?? null,
    details: optional(body, 'details', json) ?? '{}',
    fee: optional(body, 'fee', money) ?? '0',
  }
  return database.transaction(async tx => {
    const appointment = existing(
      await tx.row(
        `insert into appointments (op_id, patient_id, practitioner_id, starts_at, notes, details, fee)
         values ($1, $2, $3, $4, $5, $6, $7) returning ${COLUMNS}`,
        [
          booking.opId,
          booking.patientId,
          booking.practitionerId,
          booking.startsAt,
          booking.notes,
          booking.details,
          booking.fee,
        ],
      ),
    )
    await addToSlot(tx, booking)
    await tell(tx, appointment)
    await tx.rows('insert into access_audit (actor, action, patient_id) values ($1, $2, $3)', [
      session?.username,
      'book',
      booking.patientId,
    ])
    return appointment
  })
}

/** The patient's confirmation; a later job sends what has no `sent_at`. */
async function tell(tx: Queries, appointment: Row): Promise<void> {
  const { id, op_id, patient_id, starts_at } = appointment as Record<string, string | number>
  await tx.rows('insert into messages (patient_id, body, dedupe) values ($1, $2, $3)', [
    patient_id,
    `Your appointment on ${starts_at} is booked.`,
    `booking:${op_id}:${id}`,
  ])
}

async function change(database: Database, params: JsonObject, body: JsonObject): Promise<Row> {
  const changes = Object.entries({
    status: optional(body, 'status', word),
    notes: optional(body, 'notes', orNull(text(NOTES_MAX_LENGTH))),
    details: optional(body, 'details', json),
  }).filter(([, value]) => value !== undefined)
  if (changes.length === 0) throw badRequest('nothing to change')
  const set = changes.map(([column], index) => `${column} = $${index + 2}`).join(', ')
  const sql = `update appointments set ${set}, version = version + 1 where id = $1 returning ${COLUMNS}`
  return existing(
    await database.row(sql, [id(params.id, 'id'), ...changes.map(([, value]) => value)]),
  )
}

function cancel(database: Database, params: JsonObject): Promise<void> {
  const key = id(params.id, 'id')
  return database.transaction(async tx => {
    const { practitioner_id, starts_at } = existing(
      await tx.row(
        // As text: the slot is found by the exact instant, and the API's times are cut to milliseconds.
        'delete from appointments where id = $1 returning practitioner_id, starts_at::text',
        [key],
      ),
    )
    await tx.rows(
      'update slots set taken = taken - 1 where practitioner_id = $1 and starts_at = $2',
      [practitioner_id, starts_at],
    )
  })
}

function existing(row: Row | undefined): Row {
  if (!row) throw notFound()
  return row
}
