/** Patients: finding, registering, correcting, counting visits, and deleting one with all that belongs to them. */
import type { Database, Row } from './database.ts'
import { badRequest, notFound } from './errors.ts'
import { date, id, limit, optional, orNull, required, text, texts, uuid } from './input.ts'
import type { JsonObject } from './input.ts'
import { created, noContent, ok } from './routes.ts'
import type { Route } from './routes.ts'

const COLUMNS = 'id, mrn, name, birth_date, phone, email, tags, visits, updated_at'

export function patientRoutes(database: Database): readonly Route[] {
  return [
    ['GET', '/api/patients', async ({ query }) => ok(await findPatients(database, query))],
    [
      'POST',
      '/api/patients',
      async request => created(await register(database, await request.body())),
    ],
    ['GET', '/api/patients/:id', async ({ params }) => ok(await getPatient(database, params))],
    [
      'PATCH',
      '/api/patients/:id',
      async request => ok(await correct(database, request.params, await request.body())),
    ],
    [
      'DELETE',
      '/api/patients/:id',
      async ({ params }) => {
        await remove(database, params)
        return noContent()
      },
    ],
    [
      'POST',
      '/api/patients/:id/visits',
      async request => ok(await countVisit(database, request.params, await request.body())),
    ],
  ]
}

export async function getPatient(database: Database, params: JsonObject): Promise<Row> {
  const sql = `select ${COLUMNS} from patients where id = $1`
  return existing(await database.row(sql, [id(params.id, 'id')]))
}

/** By the beginning of a name, or of a medical record number. */
function findPatients(database: Database, query: URLSearchParams): Promise<Row[]> {
  const rows = limit(query, 20, 100)
  const q = text(100)(query.get('q') ?? '', 'q')
  if (q === '') return database.rows(`select ${COLUMNS} from patients order by id limit $1`, [rows])
  // Collation "C" on both sides: what counts as the same letter must not depend on where the database runs.
  return database.rows(
    `select ${COLUMNS} from patients
     where lower(name collate "C") like lower($1 collate "C") || '%' or mrn like $1 || '%'
     order by id limit $2`,
    [q.replaceAll(/[\\%_]/g, '\\$&'), rows],
  )
}

async function register(database: Database, body: JsonObject): Promise<Row> {
  const sql = `insert into patients (op_id, mrn, name, birth_date, phone, email, tags)
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
  const sql = `update patients set ${set}, updated_at = clock_timestamp() where id = $1 returning ${COLUMNS}`
  return existing(
    await database.row(sql, [id(params.id, 'id'), ...changes.map(([, value]) => value)]),
  )
}

/** Appointments, prescriptions, records and messages go with the patient; invoices must be settled before. */
async function remove(database: Database, params: JsonObject): Promise<void> {
  const sql = 'delete from patients where id = $1 returning id'
  existing(await database.row(sql, [id(params.id, 'id')]))
}

async function countVisit(database: Database, params: JsonObject, body: JsonObject): Promise<Row> {
  optional(body, 'op_id', uuid)
  const sql = `update patients set visits = visits + 1, updated_at = clock_timestamp()
    where id = $1 returning id, visits`
  return existing(await database.row(sql, [id(params.id, 'id')]))
}

function existing(row: Row | undefined): Row {
  if (!row) throw notFound()
  return row
}
