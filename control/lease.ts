/** One controller at a time: a session's advisory lock, which the database gives back at once when its holder dies. */
import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import type pg from 'pg'
import { pause } from '../model/pause.ts'
import { connect } from '../postgres/connection.ts'
import type { Store } from './store/store.ts'

/** "BNYC" */
const LEASE_KEY = 0x424e5943
const LOOK_MS = 200

export interface Lease extends AsyncDisposable {
  readonly holder: string
  /** Aborts when the session that holds the lease is lost. */
  readonly lost: AbortSignal
}

/** Waits until the lease is free, or returns undefined when `signal` aborts (or at once, with `wait: false`). */
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
  while (!options.signal.aborted) {
    if (await tried(session)) return held(session, lost, options.configPath)
    if (!options.wait) break
    await pause(LOOK_MS, options.signal)
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

async function held(session: pg.Client, lost: AbortController, configPath: string): Promise<Lease> {
  const holder = randomUUID()
  await session.query(
    `INSERT INTO banyan.controller (id, holder, host, config_path) VALUES (1, $1, $2, $3)
     ON CONFLICT (id) DO UPDATE SET holder = $1, host = $2, config_path = $3, since = clock_timestamp(),
       beat_at = clock_timestamp(), problems = '[]'`,
    [holder, hostname(), configPath],
  )
  return {
    holder,
    lost: lost.signal,
    async [Symbol.asyncDispose]() {
      await session.end().catch(() => undefined)
    },
  }
}

export interface ControllerFact {
  readonly alive: boolean
  readonly host: string
  readonly configPath: string
  /** What is wrong with its files, as printed by lint; empty: nothing. */
  readonly problems: readonly string[]
}

/** Undefined where no controller ever ran. */
export async function readController(store: Store): Promise<ControllerFact | undefined> {
  const { rows } = await store.pool.query<ControllerFact>(
    `SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND classid = 0 AND objid = $1::bigint::oid AND granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) AS alive,
       host, config_path AS "configPath", problems FROM banyan.controller`,
    [LEASE_KEY],
  )
  return rows[0]
}

export async function beat(store: Store, problems: readonly string[]): Promise<void> {
  await store.pool.query(
    'UPDATE banyan.controller SET beat_at = clock_timestamp(), problems = $1 WHERE id = 1',
    [JSON.stringify(problems)],
  )
}
