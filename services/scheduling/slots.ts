/** Slots and their waiting lists. Clinics overbook on purpose: capacity is shown, never enforced. */
import type { RouteOptions } from 'fastify'
import type { Database, Queries, Row } from './database.ts'
import { conflict, notFound } from './errors.ts'
import { bodyOf, id, limit, optional, required, timestamp, uuid } from './input.ts'
import type { JsonObject } from './input.ts'

export interface SlotKey {
  readonly practitionerId: number
  readonly startsAt: string
}

const SELECT = `select s.doctor_id as practitioner_id, s.starts_at, s.capacity, s.taken,
    coalesce(w.waiting, 0) as waiting
  from slot s left join waitlist w
    on w.practitioner_id = s.doctor_id and w.starts_at = s.starts_at`
const DEFAULT_CAPACITY = 1000

export function slotRoutes(database: Database): readonly RouteOptions[] {
  const one = '/api/slots/:practitionerId/:startsAt'
  return [
    {
      method: 'GET',
      url: '/api/slots',
      handler: async request => listSlots(database, request.query as JsonObject),
    },
    {
      method: 'GET',
      url: one,
      handler: async request => getSlot(database, request.params as JsonObject),
    },
    {
      method: 'POST',
      url: `${one}/take`,
      handler: async request => take(database, request.params as JsonObject, bodyOf(request)),
    },
    {
      method: 'POST',
      url: `${one}/promote`,
      handler: async request => promote(database, request.params as JsonObject, bodyOf(request)),
    },
  ]
}

async function listSlots(database: Database, query: JsonObject): Promise<Row[]> {
  const rows = limit(query, 50, 500)
  const practitioner = optional(query, 'practitioner_id', id)
  const order = 'order by s.doctor_id, s.starts_at limit $1'
  if (practitioner === undefined) return database.rows(`${SELECT} ${order}`, [rows])
  return database.rows(`${SELECT} where s.doctor_id = $2 ${order}`, [rows, practitioner])
}

async function getSlot(database: Database, params: JsonObject): Promise<Row> {
  const { practitionerId, startsAt } = slotKey(params)
  const sql = `${SELECT} where s.doctor_id = $1 and s.starts_at = $2`
  const found = await database.row(sql, [practitionerId, startsAt])
  if (!found) throw notFound()
  return found
}

async function take(database: Database, params: JsonObject, body: JsonObject): Promise<Row> {
  const key = slotKey(params)
  const opId = required(body, 'op_id', uuid)
  return database.transaction(async tx => {
    const slot = await addToSlot(tx, key)
    await recordMove(tx, { ...key, opId, kind: 'take' })
    return slot
  })
}

/** One from the waiting list into the slot. */
async function promote(database: Database, params: JsonObject, body: JsonObject): Promise<Row> {
  const key = slotKey(params)
  const opId = required(body, 'op_id', uuid)
  return database.transaction(async tx => {
    const waiting = await tx.row(
      `update waitlist set waiting = waiting - 1
       where practitioner_id = $1 and starts_at = $2 and waiting > 0 returning waiting`,
      [key.practitionerId, key.startsAt],
    )
    if (!waiting) throw conflict('nobody is waiting')
    const slot = await addToSlot(tx, key)
    await recordMove(tx, { ...key, opId, kind: 'promote' })
    return slot
  })
}

/** One more taken; the slot is opened if it isn't there. */
export async function addToSlot(tx: Queries, key: SlotKey): Promise<Row> {
  const slot = await tx.row(
    `insert into slot (doctor_id, starts_at, capacity, taken) values ($1, $2, $3, 1)
     on conflict (doctor_id, starts_at) do update set taken = slot.taken + 1
     returning doctor_id as practitioner_id, starts_at, taken`,
    [key.practitionerId, key.startsAt, DEFAULT_CAPACITY],
  )
  if (!slot) throw notFound()
  return slot
}

interface SlotMove extends SlotKey {
  readonly opId: string
  readonly kind: 'take' | 'promote'
}

async function recordMove(tx: Queries, move: SlotMove): Promise<void> {
  await tx.rows(
    'insert into slot_move (op_id, practitioner_id, starts_at, kind) values ($1, $2, $3, $4)',
    [move.opId, move.practitionerId, move.startsAt, move.kind],
  )
}

function slotKey(params: JsonObject): SlotKey {
  return {
    practitionerId: id(params.practitionerId, 'practitioner_id'),
    startsAt: timestamp(params.startsAt, 'starts_at'),
  }
}
