/** Appointments: a booking, its place in the slot and the message about it are one transaction. */
import type { RouteOptions } from 'fastify'
import type { Database, Row } from './database.ts'
import { badRequest, notFound } from './errors.ts'
import {
  bodyOf,
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
import { queueMessage } from './outbox.ts'
import { addToSlot } from './slots.ts'

export interface AppointmentOptions {
  readonly database: Database
  readonly onBooked: () => void
}

const COLUMNS = `id, op_id, patient_id, doctor_id as practitioner_id, starts_at, status, notes,
  details, fee, version, updated_at`
const NOTES_MAX_LENGTH = 100_000

export function appointmentRoutes(options: AppointmentOptions): readonly RouteOptions[] {
  const { database, onBooked } = options
  const [all, one] = ['/api/appointments', '/api/appointments/:id']
  return [
    {
      method: 'GET',
      url: all,
      handler: async request => listAppointments(database, request.query as JsonObject),
    },
    {
      method: 'POST',
      url: all,
      handler: async (request, reply) => {
        const appointment = await book(database, bodyOf(request))
        onBooked()
        return reply.status(201).send(appointment)
      },
    },
    {
      method: 'GET',
      url: one,
      handler: async request => getAppointment(database, request.params as JsonObject),
    },
    {
      method: 'PATCH',
      url: one,
      handler: async request => change(database, request.params as JsonObject, bodyOf(request)),
    },
    {
      method: 'DELETE',
      url: one,
      handler: async (request, reply) => {
        await cancel(database, request.params as JsonObject)
        return reply.status(204).send()
      },
    },
  ]
}

async function getAppointment(database: Database, params: JsonObject): Promise<Row> {
  const sql = `select ${COLUMNS} from appointment where id = $1`
  return existing(await database.row(sql, [id(params.id, 'id')]))
}

/** Newest first. */
async function listAppointments(database: Database, query: JsonObject): Promise<Row[]> {
  const rows = limit(query, 50, 500)
  const patient = optional(query, 'patient_id', id)
  if (patient === undefined) {
    return database.rows(`select ${COLUMNS} from appointment order by id desc limit $1`, [rows])
  }
  return database.rows(
    `select ${COLUMNS} from appointment where patient_id = $1 order by id desc limit $2`,
    [patient, rows],
  )
}

async function book(database: Database, body: JsonObject): Promise<Row> {
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
        `insert into appointment (op_id, patient_id, doctor_id, starts_at, notes, details, fee)
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
    const { id, op_id, patient_id, starts_at } = appointment as Record<string, string | number>
    await queueMessage(tx, {
      dedupe: `booking:${op_id}:${id}`,
      patientId: Number(patient_id),
      body: `Your appointment on ${starts_at} is booked.`,
    })
    return appointment
  })
}

async function change(database: Database, params: JsonObject, body: JsonObject): Promise<Row> {
  const changes = Object.entries({
    status: optional(body, 'status', word),
    notes: optional(body, 'notes', orNull(text(NOTES_MAX_LENGTH))),
    details: optional(body, 'details', json),
  }).filter(([, value]) => value !== undefined)
  if (changes.length === 0) throw badRequest('nothing to change')
  const set = changes.map(([column], index) => `${column} = $${index + 2}`).join(', ')
  const sql = `update appointment
    set ${set}, version = version + 1, updated_at = clock_timestamp()
    where id = $1 returning ${COLUMNS}`
  return existing(
    await database.row(sql, [id(params.id, 'id'), ...changes.map(([, value]) => value)]),
  )
}

async function cancel(database: Database, params: JsonObject): Promise<void> {
  const key = id(params.id, 'id')
  await database.transaction(async tx => {
    const { doctor_id, starts_at } = existing(
      await tx.row(
        // As text: the slot is found by the exact instant, and the API's times are cut to milliseconds.
        'delete from appointment where id = $1 returning doctor_id, starts_at::text',
        [key],
      ),
    )
    await tx.rows('update slot set taken = taken - 1 where doctor_id = $1 and starts_at = $2', [
      doctor_id,
      starts_at,
    ])
  })
}

function existing(row: Row | undefined): Row {
  if (!row) throw notFound()
  return row
}
