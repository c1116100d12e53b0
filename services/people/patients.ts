/** Patients: finding, registering, correcting, counting visits, and deleting. */
import type { RouteOptions } from 'fastify'
import type { Database, Row } from './database.ts'
import { badRequest, notFound } from './errors.ts'
import { bodyOf, date, id, limit, optional, orNull, required, text, texts, uuid } from './input.ts'
import type { JsonObject } from './input.ts'

const COLUMNS = 'id, mrn, name, birth_date, phone, email, tags, visits, updated_at'

export function patientRoutes(database: Database): readonly RouteOptions[] {
  const [all, one] = ['/api/patients', '/api/patients/:id']
  return [
    {
      method: 'GET',
      url: all,
      handler: async request => findPatients(database, request.query as JsonObject),
    },
    {
      method: 'POST',
      url: all,
      handler: async (request, reply) =>
        reply.status(201).send(await register(database, bodyOf(request))),
    },
    {
      method: 'GET',
      url: one,
      handler: async request => getPatient(database, request.params as JsonObject),
    },
    {
      method: 'PATCH',
      url: one,
      handler: async request => correct(database, request.params as JsonObject, bodyOf(request)),
    },
    {
      method: 'DELETE',
      url: one,
      handler: async (request, reply) => {
        await remove(database, request.params as JsonObject)
        return reply.status(204).send()
      },
    },
    {
      method: 'POST',
      url: `${one}/visits`,
      handler: async request => countVisit(database, request.params as JsonObject, bodyOf(request)),
    },
  ]
}

async function getPatient(database: Database, params: JsonObject): Promise<Row> {
  const sql = `select ${COLUMNS} from patient where id = $1`
  return existing(await database.row(sql, [id(params.id, 'id')]))
}

/** By the beginning of a name, or of a medical record number. */
async function findPatients(database: Database, query: JsonObject): Promise<Row[]> {
  const rows = limit(query, 20, 100)
  const q = optional(query, 'q', text(100)) ?? ''
  if (q === '') return database.rows(`select ${COLUMNS} from patient order by id limit $1`, [rows])
  // Collation "C" on both sides: what counts as the same letter must not depend on where the database runs.
  return database.rows(
    `select ${COLUMNS} from patient
     where lower(name collate "C") like lower($1 collate "C") || '%' or mrn like $1 || '%'
     order by id limit $2`,
    [q.replaceAll(/[\\%_]/g, '\\$&'), rows],
  )
}

async function register(database: Database, body: JsonObject): Promise<Row> {
  const sql = `insert into patient (op_id, mrn, name, birth_date, phone, email, tags)
    values ($1, $2, $3, $4, $5, $6, $7) returning ${COLUMNS}`
  return existing(
    await database.row(sql, [
      optional(body, 'op_id', uuid),
      required(body, 'mrn', text(40)),
      required(body, 'name', text(200)),
      optional(body, 'birth_date', orNull(date)),
      optional(body, 'phone', orNull(text(40))),
      optional(body, 'email', orNull(text(200))),
      optional(body, 'tags', texts) ?? [],
    ]),
  )
}

async function correct(database: Database, params: JsonObject, body: JsonObject): Promise<Row> {
  const changes = Object.entries({
    phone: optional(body, 'phone', orNull(text(40))),
    email: optional(body, 'email', orNull(text(200))),
    name: optional(body, 'name', text(200)),
  }).filter(([, value]) => value !== undefined)
  if (changes.length === 0) throw badRequest('nothing to change')
  const set = changes.map(([column], index) => `${column} = $${index + 2}`).join(', ')
  const sql = `update patient set ${set}, updated_at = clock_timestamp() where id = $1 returning ${COLUMNS}`
  return existing(
    await database.row(sql, [id(params.id, 'id'), ...changes.map(([, value]) => value)]),
  )
}

async function remove(database: Database, params: JsonObject): Promise<void> {
  const sql = 'delete from patient where id = $1 returning id'
  existing(await database.row(sql, [id(params.id, 'id')]))
}

async function countVisit(database: Database, params: JsonObject, body: JsonObject): Promise<Row> {
  optional(body, 'op_id', uuid)
  const sql = `update patient set visits = visits + 1, updated_at = clock_timestamp()
    where id = $1 returning id, visits`
  return existing(await database.row(sql, [id(params.id, 'id')]))
}

function existing(row: Row | undefined): Row {
  if (!row) throw notFound()
  return row
}
