/** What a slot still has that its stream hasn't brought: counted and named by peeking, which moves nothing. */
import type pg from 'pg'
import type { Change } from '../model/change.ts'
import { BanyanError } from '../model/errors.ts'
import { SYNC_ERRORS } from '../model/errors-sync.ts'
import { pause } from '../model/pause.ts'
import { formatLsn, type Lsn, parseLsn } from '../model/position.ts'
import { publicationOf, slotOf, type StreamName } from '../model/stream.ts'
import { quote } from '../postgres/sql.ts'
import { sqlState } from '../postgres/explain.ts'
import { createDecoder } from '../postgres/pgoutput.ts'
import { describeKey } from './apply/statements.ts'
import { markOf } from './apply/judge.ts'

export interface PendingWrite {
  /** `schema.table` in the source. */
  readonly table: string
  readonly op: Change['op']
  /** `id=42` */
  readonly key: string
  readonly committedAtMs: number
}

export interface Pending {
  /** Row changes. */
  readonly count: number
  /** There are more: the slot was read no further. */
  readonly more: boolean
  /** The first of them. */
  readonly writes: readonly PendingWrite[]
}

/** Changes that are decoded at the most, of all tables of the publication: bounds time and memory. */
const CHANGES_MAX = 10_000
/** Writes that are named. */
const NAMED_MAX = 1_000
/** A worker that fails at once and tries again has the slot in its hands for moments only. */
const BUSY_MS = 2_000
const LOOK_MS = 50

/**
 * `client`: the capture role, in the stream's source, not rawText. `after`: the last position that is durable in the
 * target. `tables`: the stream's, `schema.table`.
 * Throws SLOT_MISSING, SLOT_LOST, SLOT_AHEAD (the number can't be known), SLOT_BUSY, PUBLICATION_MISSING.
 */
export async function pendingWrites(
  client: pg.ClientBase,
  {
    stream,
    after,
    tables,
  }: { readonly stream: StreamName; readonly after: Lsn; readonly tables: readonly string[] },
): Promise<Pending> {
  const slot = slotOf(stream)
  await mustHaveAll(client, slot, after)
  const messages = await peek(client, slot, publicationOf(stream))
  const decoder = createDecoder()
  const writes: PendingWrite[] = []
  let count = 0
  let committedAtMs = 0
  let counts = false
  let first = false
  for (const event of messages.flatMap(message => decoder.decode(message))) {
    if (event.kind === 'begin') {
      committedAtMs = event.committedAtMs
      counts = event.commitLsn > after
      first = true
    } else if (event.kind === 'change') {
      const mark = first ? markOf(event) : undefined
      first = false
      // What the twin stream brought goes nowhere.
      if (mark?.to === stream.from && mark.from === stream.to) counts = false
      const table = `${event.schema}.${event.table}`
      if (!counts || !tables.includes(table)) continue
      count += 1
      if (writes.length >= NAMED_MAX) continue
      writes.push({ table, op: event.op, key: describeKey(event, event.key), committedAtMs })
    }
  }
  return { count, more: messages.length >= CHANGES_MAX, writes }
}

async function mustHaveAll(client: pg.ClientBase, slot: string, after: Lsn): Promise<void> {
  const { rows } = await client.query<{ confirmed: string | null; status: string | null }>(
    `SELECT confirmed_flush_lsn::text AS confirmed, wal_status AS status FROM pg_catalog.pg_replication_slots
     WHERE slot_name = $1 AND database = pg_catalog.current_database()`,
    [slot],
  )
  const found = rows[0]
  if (!found) throw new BanyanError(SYNC_ERRORS.SLOT_MISSING, [slot])
  if (found.status === 'lost') throw new BanyanError(SYNC_ERRORS.SLOT_LOST, [slot])
  if (found.confirmed !== null && parseLsn(found.confirmed) > after + 1n) {
    throw new BanyanError(SYNC_ERRORS.SLOT_AHEAD, [slot, found.confirmed, formatLsn(after)])
  }
}

async function peek(client: pg.ClientBase, slot: string, publication: string): Promise<Buffer[]> {
  const until = performance.now() + BUSY_MS
  for (;;) {
    try {
      const { rows } = await client.query<{ data: Buffer }>(
        `SELECT data FROM pg_catalog.pg_logical_slot_peek_binary_changes($1, NULL, $2,
           'proto_version', '1', 'publication_names', $3) LIMIT $2`,
        [slot, CHANGES_MAX, quote(publication)],
      )
      return rows.map(row => row.data)
    } catch (error) {
      const state = sqlState(error)
      if (state === '55006' && performance.now() < until) {
        await pause(LOOK_MS)
        continue
      }
      throw refusalOf(state, slot, publication, error)
    }
  }
}

function refusalOf(state: string | null, slot: string, publication: string, cause: unknown) {
  if (state === '55006') {
    return new BanyanError(SYNC_ERRORS.SLOT_BUSY, [slot, 'its worker'], { cause })
  }
  if (state === '55000' || state === '58P01') {
    return new BanyanError(SYNC_ERRORS.SLOT_LOST, [slot], { cause })
  }
  if (state === '42704') {
    return new BanyanError(SYNC_ERRORS.PUBLICATION_MISSING, [publication], { cause })
  }
  return cause
}
