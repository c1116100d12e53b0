/** Makes, lists and drops replication slots: what keeps a source from forgetting changes that nobody has read yet. */
import { setTimeout as sleep } from 'node:timers/promises'
import type pg from 'pg'
import { BanyanError, must } from '../model/errors.ts'
import { POSTGRES_ERRORS } from '../model/errors-postgres.ts'
import { SYNC_ERRORS } from '../model/errors-sync.ts'
import { type Lsn, parseLsn } from '../model/position.ts'
import { connect } from './connection.ts'
import { placeOf, sqlState } from './explain.ts'
import { sourceError } from './source-error.ts'
import { quote } from './sql.ts'

export interface SlotOptions {
  /** The capture role's. */
  readonly url: string
  /** Lower case letters, digits and underscores, 63 at most. */
  readonly slot: string
  readonly signal: AbortSignal
}

export interface NewSlot {
  readonly slot: string
  /**
   * Where its stream begins: transactions whose commit record starts here or later. Read it with `openStream` from
   * exactly here; whoever stores commit positions "up to and including" begins one before.
   */
  readonly consistentPoint: Lsn
}

export interface SlotWithSnapshot extends NewSlot, AsyncDisposable {
  /** For SET TRANSACTION SNAPSHOT: sees what committed before the consistent point, and nothing else. */
  readonly snapshot: string
  /**
   * Lets the snapshot go; the slot stays. Transactions that have imported it keep it; nobody else can from now on.
   */
  release(): Promise<void>
}

/**
 * Creates a slot and exports the snapshot at its beginning: what the snapshot sees and what the stream carries meet
 * without a gap or an overlap. The connection stays open, and idle, until `release`: any command on it, and its end,
 * would take the snapshot away. Waits for every transaction of the cluster that has written something to end, as long
 * as that takes: `signal` cancels it.
 * Throws SLOT_EXISTS, WAL_LEVEL, SLOTS_EXHAUSTED, PRIVILEGE_MISSING, and what `connect` throws.
 */
export async function createSlotWithSnapshot(options: SlotOptions): Promise<SlotWithSnapshot> {
  const client = await connectReplication(options)
  const created = await create(client, options, 'EXPORT_SNAPSHOT')
  let released: Promise<void> | undefined
  const release = () => (released ??= client.end())
  return {
    slot: options.slot,
    consistentPoint: created.consistentPoint,
    snapshot: must(created.snapshot, 'the exported snapshot'),
    release,
    [Symbol.asyncDispose]: release,
  }
}

/** The same without a snapshot: for a stream whose past isn't wanted. */
export async function createSlot(options: SlotOptions): Promise<NewSlot> {
  const client = await connectReplication(options)
  const { consistentPoint } = await create(client, options, 'NOEXPORT_SNAPSHOT')
  await client.end()
  return { slot: options.slot, consistentPoint }
}

/** How often a slot in use is looked at again, milliseconds. */
const BUSY_POLL_MS = 50

/**
 * Drops a slot that nobody reads; waits until that is so. False where there is none. Throws SLOT_BUSY once `signal`
 * aborts (its reason is the cause), PRIVILEGE_MISSING, and what `connect` throws.
 */
export async function dropSlot({ url, slot, signal }: SlotOptions): Promise<boolean> {
  const client = await connect({ url, applicationName: 'banyan slots', signal })
  try {
    for (;;) {
      const outcome = await tryToDrop(client, slot)
      if (outcome.done) return outcome.existed
      try {
        await sleep(BUSY_POLL_MS, undefined, { signal })
      } catch {
        const details = [slot, outcome.reader]
        throw new BanyanError(SYNC_ERRORS.SLOT_BUSY, details, { cause: signal.reason })
      }
    }
  } catch (error) {
    throw sourceError(error, url)
  } finally {
    await client.end()
  }
}

type Dropped =
  | { readonly done: true; readonly existed: boolean }
  | { readonly done: false; readonly reader: string }

async function tryToDrop(client: pg.ClientBase, slot: string): Promise<Dropped> {
  const { rows } = await client.query<{ pid: number | null }>(
    'SELECT active_pid AS pid FROM pg_catalog.pg_replication_slots WHERE slot_name = $1',
    [slot],
  )
  const found = rows[0]
  if (!found) return { done: true, existed: false }
  if (found.pid !== null) return { done: false, reader: `the connection with pid ${found.pid}` }
  try {
    await client.query('SELECT pg_catalog.pg_drop_replication_slot($1)', [slot])
    return { done: true, existed: true }
  } catch (error) {
    // Between the two statements somebody took it, or dropped it.
    if (sqlState(error) === '55006') return { done: false, reader: 'another connection' }
    if (sqlState(error) === '42704') return { done: true, existed: false }
    throw error
  }
}

export interface SlotFacts {
  readonly slot: string
  /** Null for a physical slot. */
  readonly database: string | null
  readonly activePid: number | null
  /** The oldest WAL that it keeps. */
  readonly restart: Lsn | null
  /** Commits before this position are forgotten. */
  readonly confirmed: Lsn | null
  /** `lost`: the source has thrown away what it should have kept. */
  readonly walStatus: 'reserved' | 'extended' | 'unreserved' | 'lost' | null
  /** How much more WAL may be written before it is lost; null: without limit, or lost. */
  readonly safeWalBytes: number | null
  /** WAL on the source's disk because of it, at the most. */
  readonly heldBytes: number | null
}

/** Every slot of the cluster, or those whose name begins with `prefix`, by name. */
export async function listSlots(client: pg.ClientBase, prefix = ''): Promise<SlotFacts[]> {
  const { rows } = await client.query<SlotRow>(SLOTS, [prefix])
  return rows.map(row => ({
    slot: row.slot,
    database: row.database,
    activePid: row.active_pid === null ? null : Number(row.active_pid),
    restart: row.restart === null ? null : parseLsn(row.restart),
    confirmed: row.confirmed === null ? null : parseLsn(row.confirmed),
    walStatus: row.wal_status,
    safeWalBytes: row.safe_bytes === null ? null : Number(row.safe_bytes),
    heldBytes: row.held_bytes === null ? null : Number(row.held_bytes),
  }))
}

interface SlotRow {
  slot: string
  database: string | null
  active_pid: string | null
  restart: string | null
  confirmed: string | null
  wal_status: SlotFacts['walStatus']
  safe_bytes: string | null
  held_bytes: string | null
}

const SLOTS = `SELECT slot_name::text AS slot, database::text, active_pid::text,
    restart_lsn::text AS restart, confirmed_flush_lsn::text AS confirmed, wal_status,
    safe_wal_size::text AS safe_bytes,
    pg_catalog.pg_wal_lsn_diff(CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
      ELSE pg_catalog.pg_current_wal_lsn() END, restart_lsn)::bigint::text AS held_bytes
  FROM pg_catalog.pg_replication_slots
  WHERE pg_catalog.starts_with(slot_name::text, $1) ORDER BY slot_name`

function connectReplication({ url, slot, signal }: SlotOptions): Promise<pg.Client> {
  return connect({ url, applicationName: `banyan ${slot}`, replication: true, signal })
}

interface Created {
  readonly consistentPoint: Lsn
  readonly snapshot: string | null
}

async function create(
  client: pg.Client,
  options: SlotOptions,
  snapshot: 'EXPORT_SNAPSHOT' | 'NOEXPORT_SNAPSHOT',
): Promise<Created> {
  const { slot, signal } = options
  try {
    const { rows: pids } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
    using _ = cancelOnAbort(options, must(pids[0], 'pid').pid)
    // The form without parentheses: every version reads it.
    const { rows } = await client.query<{ consistent_point: string; snapshot_name: string | null }>(
      `CREATE_REPLICATION_SLOT ${quote(slot)} LOGICAL pgoutput ${snapshot}`,
    )
    const row = must(rows[0], 'the new slot')
    return { consistentPoint: parseLsn(row.consistent_point), snapshot: row.snapshot_name }
  } catch (error) {
    const explained = await explainRefusal(client, options, error)
    await client.end()
    signal.throwIfAborted()
    throw explained
  }
}

/** A walsender that waits for other transactions doesn't notice that its client has gone: it must be told by another. */
function cancelOnAbort({ url, signal }: SlotOptions, pid: number): Disposable {
  const cancel = async () => {
    const other = await connect({ url, applicationName: 'banyan cancel' })
    await other.query('SELECT pg_catalog.pg_cancel_backend($1)', [pid])
    await other.end()
  }
  // A server that can't be reached has ended the creation by itself, or will report it.
  const listener = () => void cancel().catch(() => undefined)
  signal.addEventListener('abort', listener, { once: true })
  return { [Symbol.dispose]: () => signal.removeEventListener('abort', listener) }
}

async function explainRefusal(
  client: pg.Client,
  { url, slot }: SlotOptions,
  error: unknown,
): Promise<Error> {
  const state = sqlState(error)
  if (state !== '53400' && state !== '55000') {
    return sourceError(error, url, { '42710': [SYNC_ERRORS.SLOT_EXISTS, [slot]] })
  }
  const { rows } = await client.query<{ level: string; used: string; max: string }>(
    `SELECT current_setting('wal_level') AS level, current_setting('max_replication_slots') AS max,
      (SELECT count(*) FROM pg_replication_slots)::text AS used`,
  )
  const { level, used, max } = must(rows[0], 'settings')
  if (state === '55000' && level !== 'logical') {
    return new BanyanError(POSTGRES_ERRORS.WAL_LEVEL, [placeOf(url), level], { cause: error })
  }
  if (state === '55000') return sourceError(error, url)
  const details = [placeOf(url), used, max, 1, Number(used) + 1]
  return new BanyanError(POSTGRES_ERRORS.SLOTS_EXHAUSTED, details, { cause: error })
}
