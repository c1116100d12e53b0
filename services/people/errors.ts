/** What this service answers when it can't do what was asked. */

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
export const unavailable = () => new HttpError(503, 'unavailable')
export const internal = () => new HttpError(500, 'internal')

/** What a broken constraint means to a client. */
const CONFLICTS: Readonly<Record<string, string>> = {
  patient_mrn_key: 'mrn is already in use',
}

/** Turns what went wrong into what a client is told. Unknown: `internal`, which the caller logs. */
export function answerTo(error: unknown): HttpError {
  if (error instanceof HttpError) return error
  const { code, constraint, statusCode } = error as Readonly<Record<string, unknown>>
  if (statusCode === 413) return tooLarge()
  if (statusCode === 400) return badRequest('the request is malformed')
  if (typeof code !== 'string') return internal()
  // Class 22: the database couldn't read a value; class 23: a constraint said no (PostgreSQL, appendix A).
  if (/^22...$/.test(code)) return badRequest('a value is malformed or out of range')
  if (/^23...$/.test(code)) {
    return conflict(CONFLICTS[String(constraint)] ?? 'it contradicts what is stored')
  }
  return internal()
}
