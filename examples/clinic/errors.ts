/** What the clinic answers when it can't do what was asked. */

export interface ErrorBody {
  readonly error: string
  readonly detail?: string
}

/** An answer that isn't a success; thrown from anywhere below a request. */
export class HttpError extends Error {
  readonly status: number
  readonly body: ErrorBody

  constructor(status: number, error: string, detail?: string) {
    super(detail ?? error)
    this.name = 'HttpError'
    this.status = status
    this.body = detail === undefined ? { error } : { error, detail }
  }
}

export const unauthenticated = () => new HttpError(401, 'unauthenticated')
export const notFound = () => new HttpError(404, 'not_found')
export const badRequest = (detail: string) => new HttpError(400, 'bad_request', detail)
export const conflict = (detail: string) => new HttpError(409, 'conflict', detail)
export const tooLarge = () => new HttpError(413, 'too_large')
export const internal = () => new HttpError(500, 'internal')

/** What a broken constraint means to a client. */
const CONFLICTS: Readonly<Record<string, string>> = {
  patients_mrn_key: 'mrn is already in use',
  appointments_patient_id_fkey: 'patient does not exist',
  appointments_practitioner_id_fkey: 'practitioner does not exist',
  slots_practitioner_id_fkey: 'practitioner does not exist',
  prescriptions_appointment_id_fkey: 'appointment has prescriptions, or does not exist',
  prescriptions_patient_id_fkey: 'patient does not exist',
  invoices_appointment_id_fkey: 'appointment has invoices, or does not exist',
  invoices_patient_id_fkey: 'patient has invoices, or does not exist',
  messages_patient_id_fkey: 'patient does not exist',
}

/** Turns what went wrong into what a client is told. Unknown: `internal`, which the caller logs. */
export function answerTo(error: unknown): HttpError {
  if (error instanceof HttpError) return error
  const { code, constraint } = error as { code?: unknown; constraint?: unknown }
  if (typeof code !== 'string') return internal()
  // Class 22: the database couldn't read a value; class 23: a constraint said no (PostgreSQL, appendix A).
  if (/^22...$/.test(code)) return badRequest('a value is malformed or out of range')
  if (/^23...$/.test(code)) {
    return conflict(CONFLICTS[String(constraint)] ?? 'it contradicts what is stored')
  }
  return internal()
}
