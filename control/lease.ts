/** One controller at a time: a session's advisory lock, which the database gives back at once when its holder dies. */
import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import type pg from 'pg'
import { BanyanError } from '../model/errors.ts'
import { CONTROL_ERRORS } from '../model/errors-control.ts'
import { pause } from '../model/pause.ts'
import type { ProjectTexts } from '../model/project.ts'
import { connect } from '../postgres/connection.ts'
import { endSilent, SILENT, speak } from './silent.ts'
import { append } from './store/journal.ts'
import type { Store } from './store/store.ts'

/** "BNYC" */
const LEASE_KEY = 0x424e5943
const LOOK_MS = 200

export interface Lease extends AsyncDisposable {
  readonly holder: string
  /** Aborts when the session that holds the lease is lost. */
  readonly lost: AbortSignal
}

/**
 * Waits until the lease is free, or returns undefined when `signal` aborts (or at once, with `wait: false`). A holder
 * that stands still is ended. Throws what `connect` throws, and the loss of the connection while it waits.
 */
export async function takeLease(
  store: Store,
  options: { configPath: string; wait: boolean; signal: AbortSignal },
): Promise<Lease | undefined> {
  const lost = new AbortController()
  const session = await connect({
    url: store.url,
    applicationName: 'banyan control lease',
    onLost: error => lost.abort(error),
  })
  try {
    while (!options.signal.aborted) {
      if (await tried(session)) return await held(session, lost, options.configPath)
      const ended = await endedSilent(session)
      if (!options.wait && !ended) break
      await pause(LOOK_MS, options.signal)
    }
  } catch (error) {
    await session.end().catch(() => undefined)
    throw error
  }
  await session.end()
  return undefined
}

async function tried(session: pg.Client): Promise<boolean> {
  const { rows } = await session.query<{ got: boolean }>('SELECT pg_try_advisory_lock($1) AS got', [
    LEASE_KEY,
  ])
  return rows[0]!.got
}

async function endedSilent(session: pg.Client): Promise<boolean> {
  if (!(await endSilent(session, { classId: 0, objId: LEASE_KEY }))) return false
  await append(session, { actor: 'controller', slice: null, kind: 'silent controller ended' })
  return true
}

async function held(session: pg.Client, lost: AbortController, configPath: string): Promise<Lease> {
  const holder = randomUUID()
  await session.query(
    `INSERT INTO banyan.controller (id, holder, host, config_path) VALUES (1, $1, $2, $3)
     ON CONFLICT (id) DO UPDATE SET holder = $1, host = $2, config_path = $3, since = clock_timestamp(),
       beat_at = clock_timestamp(), problems = '[]'`,
    [holder, hostname(), configPath],
  )
  const speaking = speak(session, error => lost.abort(error))
  return {
    holder,
    lost: lost.signal,
    async [Symbol.asyncDispose]() {
      speaking[Symbol.dispose]()
      await session.end().catch(() => undefined)
    },
  }
}

/**
 * Until the transaction ends, nobody else takes the lease's place. Throws LEASE_LOST where somebody has: what a controller
 * decided before it stood still is no order any more.
 */
export async function mustLead(client: pg.ClientBase, { holder }: Pick<Lease, 'holder'>) {
  const { rows } = await client.query(
    'SELECT 1 FROM banyan.controller WHERE holder = $1 FOR SHARE',
    [holder],
  )
  if (rows.length === 0) throw new BanyanError(CONTROL_ERRORS.LEASE_LOST)
}

export function isLeaseLost(error: unknown): boolean {
  return error instanceof BanyanError && error.code === CONTROL_ERRORS.LEASE_LOST.code
}

export interface ControllerFact {
  /** Somebody holds the lease, and isn't silent. */
  readonly alive: boolean
  readonly host: string
  readonly configPath: string
  /** What is wrong with its files, as printed by lint; empty: nothing. */
  readonly problems: readonly string[]
}

/** Undefined where no controller ever ran. */
export async function readController(store: Store): Promise<ControllerFact | undefined> {
  const { rows } = await store.pool.query<ControllerFact>(
    `SELECT EXISTS (SELECT 1 FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid WHERE l.locktype = 'advisory'
        AND l.classid = 0 AND l.objid = $1::bigint::oid AND l.granted AND NOT ${SILENT}
        AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())) AS alive,
       host, config_path AS "configPath", problems FROM banyan.controller`,
    [LEASE_KEY],
  )
  return rows[0]
}

/** `files`: those that it goes by. */
export async function beat(
  store: Store,
  { files, problems }: { readonly files: ProjectTexts; readonly problems: readonly string[] },
): Promise<void> {
  await store.pool.query(
    `UPDATE banyan.controller SET beat_at = clock_timestamp(), problems = $1,
       files = CASE WHEN files IS DISTINCT FROM $2::jsonb THEN $2 ELSE files END WHERE id = 1`,
    [JSON.stringify(problems), JSON.stringify(files)],
  )
}

/** The files that a controller went by last; undefined where none ever ran. */
export async function readFiles(client: pg.ClientBase): Promise<ProjectTexts | undefined> {
  const { rows } = await client.query<{ files: ProjectTexts | null }>(
    'SELECT files FROM banyan.controller',
  )
  return rows[0]?.files ?? undefined
}
