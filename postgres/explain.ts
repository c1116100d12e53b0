/** Turns what `pg` and sockets throw into coded errors that name the place and the remedy, and never a credential or a row. */
import pg from 'pg'
import { BanyanError, type ErrorRule } from '../model/errors.ts'
import { POSTGRES_ERRORS as RULES } from '../model/errors-postgres.ts'

/**
 * The coded error for a failure of a connection or of a statement, the original kept as `cause`. What isn't PostgreSQL's
 * or a socket's is returned as it is; so are errors with an SQLSTATE of our own (BNY…), which mean what their raiser says.
 * `where` is the URL of the database, or a text for it; only host and port of a URL are ever printed.
 */
export function explain(error: unknown, where?: string): Error {
  if (error instanceof BanyanError) return error
  if (!(error instanceof Error)) return new Error(String(error))
  // Node's own quotes what it could not read.
  if (error instanceof SyntaxError)
    return new Error('what was read makes no sense', { cause: error })
  const place = where === undefined ? 'an unnamed address' : placeOf(where)
  if (error instanceof pg.DatabaseError) return explainDatabase(error, place)
  const code = (error as NodeJS.ErrnoException).code
  const rule = SOCKET_RULES.find(([pattern]) => pattern.test(code ?? ''))?.[1]
  if (rule) return new BanyanError(rule, [place, code ?? ''], { cause: error })
  // `pg` gives no codes to what it throws by itself.
  const match = CLIENT_RULES.find(([pattern]) => pattern.test(error.message))
  if (match) return new BanyanError(match[1], [place, error.message], { cause: error })
  return error
}

/** SQLSTATE of an error, or of what it was made from; null where there is none. */
export function sqlState(error: unknown): string | null {
  for (let at = error, depth = 0; at instanceof Error && depth < 10; at = at.cause, depth++) {
    if (at instanceof pg.DatabaseError) return at.code ?? null
  }
  return null
}

/** `host:port` of a database URL; a text that is no URL is returned as it is, unless it could hold a credential. */
export function placeOf(where: string): string {
  try {
    const url = new URL(where)
    if (!url.protocol.startsWith('postgres')) return where.includes('@') ? 'the database' : where
    const host = url.searchParams.get('host') ?? url.hostname
    return `${host === '' ? 'localhost' : host}:${url.port === '' ? '5432' : url.port}`
  } catch {
    return /[@/]/.test(where) ? 'the database' : where
  }
}

const SOCKET_RULES: readonly (readonly [RegExp, ErrorRule])[] = [
  [
    /^(ECONNREFUSED|ENOTFOUND|EAI_\w+|ETIMEDOUT|EHOSTUNREACH|EHOSTDOWN|ENETUNREACH)$/,
    RULES.UNREACHABLE,
  ],
  [/^(ECONNRESET|EPIPE|ERR_STREAM_\w+)$/, RULES.CONNECTION_LOST],
  [/^(DEPTH_ZERO_\w+|SELF_SIGNED_\w+|UNABLE_TO_\w+|CERT_\w+)$/, RULES.TLS_UNVERIFIED],
  [/^(ERR_TLS_\w+|ERR_SSL_\w+|EPROTO)$/, RULES.TLS_UNVERIFIED],
]

const CLIENT_RULES: readonly (readonly [RegExp, ErrorRule])[] = [
  [/^SASL|password must be a string/, RULES.AUTH_FAILED],
  [/does not support SSL/, RULES.TLS_REFUSED],
  [/timeout|timed out/i, RULES.UNREACHABLE],
  [
    /connection (was )?(terminated|closed|ended)|not queryable|Client was closed/i,
    RULES.CONNECTION_LOST,
  ],
]

// https://www.postgresql.org/docs/current/errcodes-appendix.html; the first that fits.
const STATE_RULES: readonly (readonly [RegExp, ErrorRule])[] = [
  [/^28/, RULES.AUTH_FAILED],
  [/^3D000|^57P04/, RULES.DATABASE_MISSING],
  [/^57P03/, RULES.DATABASE_STARTING],
  [/^53300/, RULES.CONNECTIONS_EXHAUSTED],
  [/^08|^57P|^25P0[34]/, RULES.CONNECTION_LOST],
  [/^42501/, RULES.PRIVILEGE_MISSING],
  [/^57014|^55P03|^40/, RULES.STATEMENT_CUT],
]

function explainDatabase(error: pg.DatabaseError, place: string): Error {
  const state = error.code ?? ''
  if (state.startsWith('BNY')) return error
  const rule = STATE_RULES.find(([pattern]) => pattern.test(state))?.[1] ?? RULES.STATEMENT_FAILED
  return new BanyanError(rule, [place, summary(error, state)], { cause: error })
}

/** Names, but no values: the server's own text of a data error (classes 22, 23), of a syntax error or of a RAISE may quote some. */
function summary(error: pg.DatabaseError, state: string): string {
  if (!/^(22|23|42601|P0|[^0-9A-E])/.test(state)) return `${error.message} (SQLSTATE ${state})`
  const names = [
    error.table === undefined ? '' : `table ${error.schema ?? ''}.${error.table}`,
    error.column === undefined ? '' : `column ${error.column}`,
    error.constraint === undefined ? '' : `constraint ${error.constraint}`,
  ].filter(name => name !== '')
  return [`SQLSTATE ${state}`, ...names].join(', ')
}
