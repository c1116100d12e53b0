/** What the small clinic answers, truthfully or not: each handler knows the lies that fit it. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type pg from 'pg'

/** One lie per switch: how many times it still happens. */
export interface Lies {
  /** Answers 201 and stores nothing. */
  lostWrite: number
  /** Stores a booking twice. */
  doubledWrite: number
  /** Answers 500 after the commit. */
  ghost: number
  /** Answers 200 to a change and forgets it. */
  lostUpdate: number
  /** Answers 204 to a deletion and keeps the row. */
  undead: number
  /** Counts one more than was taken. */
  wrongCounter: number
  /** Counts no visit. */
  lostVisit: number
  /** Nobody leaves the waiting list. */
  halfTransfer: number
  /** A read answers with the version before. */
  staleRead: number
  /** A deleted or new appointment isn't listed. */
  staleList: number
  /** The telephone number isn't changed. */
  lostPhone: number
}

export type Lie = keyof Lies

interface Exchange {
  readonly pool: pg.Pool
  /** True as often as the switch says. */
  readonly lie: (which: Lie) => boolean
  readonly request: IncomingMessage
  readonly response: ServerResponse
}

type Body = Record<string, string | number | object | null | undefined>
type Handler = (
  exchange: Exchange & {
    readonly params: string[]
    readonly body: Body
    readonly query: URLSearchParams
  },
) => Promise<readonly [status: number, body?: unknown]>

export async function serve(exchange: Exchange): Promise<void> {
  const { request, response } = exchange
  const url = new URL(request.url ?? '/', 'http://clinic')
  const path = decodeURIComponent(url.pathname)
  for (const [method, shape, handler] of ROUTES) {
    const params = shape.exec(path)?.slice(1)
    if (request.method !== method || !params) continue
    const text = (await request.toArray()).join('')
    const body = text === '' ? {} : (JSON.parse(text) as Body)
    const [status, json] = await handler({ ...exchange, params, body, query: url.searchParams })
    return answer(response, status, json)
  }
  answer(response, 404, { error: 'not_found' })
}

export function answer(response: ServerResponse, status: number, json?: unknown): void {
  if (response.headersSent) return
  const cookie = {
    'set-cookie': `clinic_sid=${Math.random().toString(16).slice(2)}; Path=/; HttpOnly`,
  }
  response.writeHead(status, {
    'content-type': 'application/json',
    ...(status === 200 ? cookie : {}),
  })
  response.end(json === undefined ? '' : JSON.stringify(json))
}

async function inTransaction<T>(
  pool: pg.Pool,
  work: (client: pg.PoolClient) => Promise<T>,
): Promise<T> {
  const client = await pool.connect()
  try {
    await client.query('BEGIN')
    const result = await work(client)
    await client.query('COMMIT')
    return result
  } catch (error) {
    await client.query('ROLLBACK')
    throw error
  } finally {
    client.release()
  }
}

const one = (rows: unknown[]): readonly [number, unknown] =>
  rows.length > 0 ? [200, rows[0]] : [404, { error: 'not_found' }]

const book: Handler = async ({ pool, lie, body }) => {
  const values = [
    body.op_id,
    body.patient_id,
    body.practitioner_id,
    body.starts_at,
    body.notes ?? null,
  ]
  const insert = `INSERT INTO appointments (op_id, patient_id, practitioner_id, starts_at, notes)
    VALUES ($1, $2, $3, $4, $5) RETURNING *`
  if (lie('lostWrite')) return [201, { id: 999_999_999, version: 1 }]
  const row: unknown = await inTransaction(pool, async client => {
    const { rows } = await client.query<{ id: number }>(insert, values)
    if (lie('doubledWrite')) await client.query(insert, values)
    await client.query(TAKE, [body.practitioner_id, body.starts_at, 1])
    return rows[0]
  })
  return lie('ghost') ? [500, { error: 'after the commit' }] : [201, row]
}

const TAKE = `INSERT INTO slots VALUES ($1, $2, 1000, $3)
  ON CONFLICT (practitioner_id, starts_at) DO UPDATE SET taken = slots.taken + $3
  RETURNING practitioner_id, starts_at, taken`

const move =
  (kind: 'take' | 'promote'): Handler =>
  ({ pool, lie, params, body }) =>
    inTransaction(pool, async client => {
      if (kind === 'promote' && !lie('halfTransfer')) {
        const { rowCount } = await client.query(
          `UPDATE waitlist SET waiting = waiting - 1
           WHERE practitioner_id = $1 AND starts_at = $2 AND waiting > 0`,
          params,
        )
        if (rowCount === 0) return [409, { error: 'conflict' }] as const
      }
      const step = kind === 'take' && lie('wrongCounter') ? 2 : 1
      const { rows } = await client.query(TAKE, [...params, step])
      await client.query(
        'INSERT INTO slot_moves (op_id, practitioner_id, starts_at, kind) VALUES ($1, $2, $3, $4)',
        [body.op_id, ...params, kind],
      )
      return [200, rows[0]] as const
    })

const patch: Handler = async ({ pool, lie, params, body }) => {
  if (lie('lostUpdate'))
    return one((await pool.query('SELECT * FROM appointments WHERE id = $1', params)).rows)
  const { rows } = await pool.query(
    `UPDATE appointments SET status = coalesce($2, status), notes = coalesce($3, notes),
       version = version + 1
     WHERE id = $1 RETURNING *`,
    [...params, body.status, body.notes],
  )
  return one(rows)
}

const remove: Handler = async ({ pool, lie, params }) => {
  // Of a row that is there: one that an earlier lie has lost can't be left standing.
  const { rowCount } = await pool.query('SELECT 1 FROM appointments WHERE id = $1', params)
  if (rowCount === 1 && lie('undead')) return [204]
  return inTransaction(pool, async client => {
    const { rows } = await client.query<{ practitioner_id: number; starts_at: string }>(
      'DELETE FROM appointments WHERE id = $1 RETURNING practitioner_id, starts_at',
      params,
    )
    const [row] = rows
    if (!row) return [404, { error: 'not_found' }] as const
    await client.query(
      'UPDATE slots SET taken = taken - 1 WHERE practitioner_id = $1 AND starts_at = $2',
      [row.practitioner_id, row.starts_at],
    )
    return [204] as const
  })
}

const getAppointment: Handler = async ({ pool, lie, params }) => {
  const { rows } = await pool.query<{ version: number }>(
    'SELECT * FROM appointments WHERE id = $1',
    params,
  )
  const [row] = rows
  if (row && row.version > 1 && lie('staleRead')) row.version--
  return one(rows)
}

const listAppointments: Handler = async ({ pool, lie, query }) => {
  const { rows } = await pool.query(
    'SELECT * FROM appointments WHERE patient_id = $1 ORDER BY id DESC LIMIT $2',
    [query.get('patient_id'), query.get('limit')],
  )
  return [200, rows.length > 3 && lie('staleList') ? [] : rows]
}

const SLOTS = `SELECT s.*, coalesce(w.waiting, 0) AS waiting FROM slots s
  LEFT JOIN waitlist w USING (practitioner_id, starts_at)`

type Values = (exchange: Parameters<Handler>[0]) => unknown[]
const byPath: Values = ({ params }) => params

/** Answers with the first row, or 404. */
const found =
  (sql: string, values = byPath): Handler =>
  async exchange =>
    one((await exchange.pool.query(sql, values(exchange))).rows)

const listed =
  (sql: string, values: Values): Handler =>
  async exchange => [200, (await exchange.pool.query(sql, values(exchange))).rows]

const created =
  (sql: string, ...fields: readonly string[]): Handler =>
  async ({ pool, body }) => {
    const values = fields.map(field => body[field])
    return [201, (await pool.query<object>(sql, values)).rows[0]]
  }

const PATIENT = 'SELECT * FROM patients WHERE id = $1'
const NEW_PATIENT = 'INSERT INTO patients (op_id, mrn, name) VALUES ($1, $2, $3) RETURNING *'
const PHONE = 'UPDATE patients SET phone = coalesce($2, phone) WHERE id = $1 RETURNING *'
const VISIT = 'UPDATE patients SET visits = visits + $2 WHERE id = $1 RETURNING id, visits'
const PRESCRIBE = `INSERT INTO prescriptions (appointment_id, patient_id, drug, dose)
  VALUES ($1, $2, $3, $4) RETURNING *`

const telephone = found(PHONE, ({ params, body, lie }) => [
  ...params,
  lie('lostPhone') ? null : body.phone,
])
const visit = found(VISIT, ({ params, lie }) => [...params, lie('lostVisit') ? 0 : 1])
const page: Handler = async () => [200, 'a page']

const ROUTES: readonly (readonly [string, RegExp, Handler])[] = [
  ['POST', /^\/api\/login$/, async () => [200, {}]],
  ['GET', /^\/api\/practitioners$/, listed('SELECT * FROM practitioners', byPath)],
  ['GET', /^\/api\/practitioners\/(\d+)$/, found('SELECT * FROM practitioners WHERE id = $1')],
  [
    'GET',
    /^\/api\/patients$/,
    listed('SELECT * FROM patients ORDER BY id LIMIT $1', ({ query }) => [query.get('limit')]),
  ],
  ['POST', /^\/api\/patients$/, created(NEW_PATIENT, 'op_id', 'mrn', 'name')],
  ['GET', /^\/api\/patients\/(\d+)(?:\/summary)?$/, found(PATIENT)],
  ['PATCH', /^\/api\/patients\/(\d+)$/, telephone],
  ['POST', /^\/api\/patients\/(\d+)\/visits$/, visit],
  ['GET', /^\/api\/appointments$/, listAppointments],
  ['POST', /^\/api\/appointments$/, book],
  ['GET', /^\/api\/appointments\/(\d+)$/, getAppointment],
  ['PATCH', /^\/api\/appointments\/(\d+)$/, patch],
  ['DELETE', /^\/api\/appointments\/(\d+)$/, remove],
  [
    'GET',
    /^\/api\/slots$/,
    listed(`${SLOTS} WHERE practitioner_id = $1`, ({ query }) => [query.get('practitioner_id')]),
  ],
  [
    'GET',
    /^\/api\/slots\/(\d+)\/([^/]+)$/,
    found(`${SLOTS} WHERE practitioner_id = $1 AND starts_at = $2`),
  ],
  ['POST', /^\/api\/slots\/(\d+)\/([^/]+)\/take$/, move('take')],
  ['POST', /^\/api\/slots\/(\d+)\/([^/]+)\/promote$/, move('promote')],
  [
    'POST',
    /^\/api\/prescriptions$/,
    created(PRESCRIBE, 'appointment_id', 'patient_id', 'drug', 'dose'),
  ],
  ['GET', /^\/(?:appointments|patients\/\d+)?$/, page],
]
