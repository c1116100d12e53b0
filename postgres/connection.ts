/** The only way that Banyan connects: every setting that could change what a statement means or how long it lasts is pinned. */
import pg from 'pg'
import { BanyanError, must } from '../model/errors.ts'
import { POSTGRES_ERRORS } from '../model/errors-postgres.ts'
import type { System } from '../model/position.ts'
import { OLDEST_MAJOR } from './binaries.ts'
import { explain, placeOf } from './explain.ts'
import { pinStatement, type Timeouts } from './session.ts'

export interface ConnectionWanted {
  readonly url: string
  /** Seen in pg_stat_activity and in the server's log; cut by PostgreSQL at 63 bytes. */
  readonly applicationName: string
  /** Every value as PostgreSQL prints it: no Date, no Number. For all that carries rows. */
  readonly rawText?: boolean
  /** A walsender that takes replication commands and simple statements (no parameters). */
  readonly replication?: boolean
  /** Send statements without waiting for the answers of those before. */
  readonly pipeline?: boolean
  /** Default: none, whatever role, database or server say. */
  readonly timeouts?: Timeouts
  /** Until the connection can be used. Default 10 s. */
  readonly connectTimeoutMs?: number
  /** A statement that isn't answered by then fails here, whatever the server does: it may be gone without a word. Default: never. */
  readonly answerMs?: number
  /** Told once when an idle connection ends from the other side; a statement under way learns of it by itself. */
  readonly onLost?: (error: Error) => void
}

const CONNECT_TIMEOUT_MS = 10_000

/**
 * Connects and pins the session. `signal` stops the attempt; it doesn't touch the connection afterwards. The caller ends
 * the client. Losing the connection never crashes the process.
 * Throws DATABASE_URL_INVALID, UNREACHABLE, AUTH_FAILED, DATABASE_MISSING, DATABASE_STARTING, CONNECTIONS_EXHAUSTED,
 * TLS_UNVERIFIED, TLS_REFUSED, TOO_OLD.
 */
export async function connect(
  wanted: ConnectionWanted & { readonly signal?: AbortSignal | undefined },
): Promise<pg.Client> {
  wanted.signal?.throwIfAborted()
  const client = new pg.Client(clientConfig(wanted))
  watch(client, wanted)
  const timeoutMs = wanted.connectTimeoutMs ?? CONNECT_TIMEOUT_MS
  const late = AbortSignal.timeout(timeoutMs)
  const stop = AbortSignal.any([late, ...(wanted.signal ? [wanted.signal] : [])])
  const abort = (): void => cut(client)
  stop.addEventListener('abort', abort, { once: true })
  try {
    await client.connect()
    await pin(client, wanted)
    stop.throwIfAborted()
    return client
  } catch (error) {
    cut(client)
    wanted.signal?.throwIfAborted()
    if (!late.aborted) throw explain(error, wanted.url)
    const details = [placeOf(wanted.url), `no answer within ${timeoutMs} ms`]
    throw new BanyanError(POSTGRES_ERRORS.UNREACHABLE, details, { cause: error })
  } finally {
    stop.removeEventListener('abort', abort)
  }
}

export interface PoolWanted extends ConnectionWanted {
  /** Connections at most. Default 4. */
  readonly max?: number
  /** An unused connection is closed after this long. Default 10 s. */
  readonly idleMs?: number
}

/**
 * A pool whose every connection is pinned. It connects when first used, and what it throws then is `pg`'s: pass it
 * through `explain(error, url)`. The caller ends it. Throws DATABASE_URL_INVALID.
 */
export function pool(wanted: PoolWanted): pg.Pool {
  const pinned = async (client: pg.ClientBase): Promise<void> => pin(client, wanted)
  const made = new pg.Pool({
    ...clientConfig(wanted),
    max: wanted.max ?? 4,
    idleTimeoutMillis: wanted.idleMs ?? 10_000,
    connectionTimeoutMillis: wanted.connectTimeoutMs ?? CONNECT_TIMEOUT_MS,
    // eslint-disable-next-line @typescript-eslint/no-misused-promises -- awaited, though the types say otherwise
    onConnect: pinned,
  })
  made.on('error', error => wanted.onLost?.(explain(error, wanted.url)))
  // The pool listens only while a client is idle: without this, one that dies in somebody's hands would end the process.
  made.on('connect', client => client.on('error', () => undefined))
  return made
}

/** Drops the connection at once, without a goodbye: the server rolls back what was open. Safe to repeat. */
export function cut(client: pg.ClientBase): void {
  const { stream } = (client as unknown as { connection: { stream: { destroy(): void } } })
    .connection
  stream.destroy()
}

/** Which history this server writes now. Throws STANDBY (`where` names it). */
export async function systemOf(client: pg.ClientBase, where = 'this server'): Promise<System> {
  // The name of the file that is being written begins with the timeline; the control file would say it late.
  const { rows } = await client.query<{ identifier: string; timeline: string | null }>(
    `SELECT system_identifier::text AS identifier,
            CASE WHEN NOT pg_catalog.pg_is_in_recovery()
                 THEN pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8) END AS timeline
       FROM pg_catalog.pg_control_system()`,
  )
  const { identifier, timeline } = must(rows[0], 'the control file')
  if (timeline === null) throw new BanyanError(POSTGRES_ERRORS.STANDBY, [placeOf(where)])
  return { identifier, timeline: Number.parseInt(timeline, 16) }
}

const RAW_TEXT = { getTypeParser: () => (value: string) => value }

function clientConfig(wanted: ConnectionWanted): pg.ClientConfig {
  return {
    connectionString: checkedUrl(wanted.url),
    application_name: wanted.applicationName,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    ...(wanted.rawText === true && { types: RAW_TEXT }),
    ...(wanted.pipeline === true && { pipeline: true }),
    ...(wanted.answerMs !== undefined && { query_timeout: wanted.answerMs }),
    ...(wanted.replication === true && { replication: 'database' }),
  }
}

/** What the URL says over our heads is taken out; the rest is the user's. */
function checkedUrl(text: string): string {
  // No cause: the parser's error carries the whole text, password and all.
  const url = URL.canParse(text) ? new URL(text) : null
  if (url === null || !/^postgres(ql)?:$/.test(url.protocol)) {
    throw new BanyanError(POSTGRES_ERRORS.DATABASE_URL_INVALID)
  }
  for (const name of ['application_name', 'fallback_application_name', 'client_encoding']) {
    url.searchParams.delete(name)
  }
  url.searchParams.delete('replication')
  return url.href
}

async function pin(client: pg.ClientBase, wanted: ConnectionWanted): Promise<void> {
  const result = (await client.query(pinStatement(wanted))) as unknown as
    pg.QueryResult<{ version: string }> | pg.QueryResult<{ version: string }>[]
  const last = Array.isArray(result) ? result.at(-1) : result
  const version = Number(last?.rows[0]?.version)
  if (!(version >= OLDEST_MAJOR * 10_000)) {
    const major = String(Math.floor(version / 10_000))
    throw new BanyanError(POSTGRES_ERRORS.TOO_OLD, [placeOf(wanted.url), major])
  }
}

function watch(client: pg.Client, wanted: ConnectionWanted): void {
  let told = false
  client.on('error', error => {
    if (told) return
    told = true
    wanted.onLost?.(explain(error, wanted.url))
  })
}
