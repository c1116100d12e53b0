/** What hangs on patients and appointments: summaries, prescriptions, invoices, and messages from other programs. */
import { timingSafeEqual } from 'node:crypto'
import type { Database } from './database.ts'
import { unauthenticated } from './errors.ts'
import { id, money, required, text } from './input.ts'
import { getPatient } from './patients.ts'
import { created, ok } from './routes.ts'
import type { ClinicRequest, Handler, Route } from './routes.ts'

export interface RecordOptions {
  readonly database: Database
  /** What programs must send as `x-internal-key`; undefined: the network alone keeps strangers out. */
  readonly internalKey: string | undefined
}

export function recordRoutes({ database, internalKey }: RecordOptions): readonly Route[] {
  return [
    ['GET', '/api/patients/:id/summary', summary(database)],
    ['POST', '/api/prescriptions', prescribe(database)],
    ['POST', '/api/invoices', invoice(database)],
    ['POST', '/internal/messages', receiveMessage(database, internalKey)],
  ]
}

/** Whoever reads a patient's record leaves a trace: a read that writes. */
export async function auditRead(database: Database, request: ClinicRequest, patientId: unknown) {
  await database.rows('insert into access_audit (actor, action, patient_id) values ($1, $2, $3)', [
    request.session?.username,
    'read',
    patientId,
  ])
}

function summary(database: Database): Handler {
  return async request => {
    const patient = await getPatient(database, request.params)
    const counts = await database.row(
      `select
         (select count(*) from appointments where patient_id = $1) as appointments,
         (select count(*) from prescriptions where patient_id = $1) as prescriptions,
         (select count(*) from medical_records where patient_id = $1) as medical_records,
         (select count(*) from invoices where patient_id = $1) as invoices,
         (select count(*) from messages where patient_id = $1) as messages`,
      [patient.id],
    )
    await auditRead(database, request, patient.id)
    return ok({ ...patient, counts })
  }
}

function prescribe(database: Database): Handler {
  return async request => {
    const body = await request.body()
    return created(
      await database.row(
        `insert into prescriptions (id, appointment_id, patient_id, drug, dose, written_at)
         values (gen_random_uuid(), $1, $2, $3, $4, now())
         returning id, appointment_id, patient_id, drug, dose, written_at`,
        [
          required(body, 'appointment_id', id),
          required(body, 'patient_id', id),
          required(body, 'drug', text(200)),
          required(body, 'dose', text(200)),
        ],
      ),
    )
  }
}

function invoice(database: Database): Handler {
  return async request => {
    const body = await request.body()
    return created(
      await database.row(
        `insert into invoices (appointment_id, patient_id, amount, status, issued_at)
         values ($1, $2, $3, 'open', now())
         returning id, appointment_id, patient_id, amount, status, issued_at`,
        [
          required(body, 'appointment_id', id),
          required(body, 'patient_id', id),
          required(body, 'amount', money),
        ],
      ),
    )
  }
}

/** Safe to repeat: a `dedupe` key that was seen before stores nothing. */
function receiveMessage(database: Database, internalKey: string | undefined): Handler {
  return async request => {
    if (!mayEnter(request.headers['x-internal-key'], internalKey)) throw unauthenticated()
    const body = await request.body()
    const stored = await database.row(
      `insert into messages (patient_id, body, dedupe) values ($1, $2, $3)
       on conflict (dedupe) do nothing returning id`,
      [
        required(body, 'patient_id', id),
        required(body, 'body', text(2000)),
        required(body, 'dedupe', text(200)),
      ],
    )
    return stored ? created({ stored: true }) : ok({ stored: false })
  }
}

function mayEnter(sent: string | string[] | undefined, key: string | undefined): boolean {
  if (key === undefined) return true
  const [a, b] = [Buffer.from(String(sent)), Buffer.from(key)]
  return a.length === b.length && timingSafeEqual(a, b)
}
