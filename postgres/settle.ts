/** Ends an epoch, whatever became of whoever began it: undo, recovery, standby and worker all call this one function. */
import type pg from 'pg'
import { closeOlder, finishAbandon } from './abandon.ts'
import {
  copyDecision,
  decide,
  type GateState,
  mustBeOnRecord,
  prepare,
  type Preparation,
  readDecision,
  readGate,
  setGate,
  type Verdict,
} from './gate.ts'
import { LOCK_CLASS } from './sql.ts'
import type { Side } from '../model/stage.ts'

export interface Settlement {
  readonly slice: string
  /** The apply role's sessions. `service` is undefined while its database is away: legacy is settled without it. */
  readonly legacy: pg.ClientBase
  readonly service: pg.ClientBase | undefined
  /** Needed only where the new owner was promoted and has lost its preparation. */
  readonly preparation: (epoch: number, newOwner: Side) => Promise<Preparation>
}

export interface Settled {
  readonly verdict: Verdict
  /** False: the service's database is away and has its part still to come. */
  readonly complete: boolean
}

/**
 * Safe to repeat, and for any number at once: the decision is one row, and everything after it follows it. Where nothing
 * is decided, ABORTED is. Throws SYSTEM_CHANGED (a person must look) and what the databases throw.
 */
export async function settle(what: Settlement, epoch: number): Promise<Settled> {
  const { slice, legacy, service } = what
  // Invariant: ABORTED is committed before the old owner opens. A PROMOTED found instead is followed.
  const verdict = await decide(legacy, slice, epoch, 'ABORTED')
  if (verdict === 'PROMOTED') return { verdict, complete: await promote(what, epoch) }
  await reopen(legacy, slice, epoch)
  if (!service) return { verdict, complete: false }
  // A service that was given up meanwhile is closed; `reopen` then finds a newer word.
  await closeOlder({ slice, legacy, service })
  await copyDecision(service, slice, epoch, verdict)
  await reopen(service, slice, epoch)
  return { verdict, complete: true }
}

/** After PROMOTED: prepare if that is missing, copy the decision, open the new owner. Forward only. */
export async function promote(what: Settlement, epoch: number): Promise<boolean> {
  const { slice, legacy, service } = what
  const here = await readGate(legacy, slice)
  if (here?.evidence.some(row => row.epoch === epoch && row.kind === 'ABANDONED')) {
    return finishAbandon(what, epoch)
  }
  const newOwner = here?.fences.some(row => row.epoch === epoch) ? 'service' : 'legacy'
  if (newOwner === 'service') {
    if (!service) return false
    await mustBeOnRecord(service, slice)
    await prepareOnce(what, service, epoch, newOwner)
    await copyDecision(service, slice, epoch, 'PROMOTED')
    await setGate(service, slice, epoch)
    return true
  }
  await mustBeOnRecord(legacy, slice)
  await prepareOnce(what, legacy, epoch, newOwner)
  await setGate(legacy, slice, epoch)
  if (service) await copyDecision(service, slice, epoch, 'PROMOTED')
  return service !== undefined
}

/**
 * May somebody who doesn't run the flip abort it? Past its deadline, by legacy's clock; or at once where the word is
 * closed in an epoch that has no fence and nobody holds the lock: that fence died.
 */
export async function overdue(what: Settlement, epoch: number): Promise<boolean> {
  const { slice, legacy, service } = what
  if ((await readDecision(legacy, slice, epoch)) !== undefined) return true
  for (const client of service ? [legacy, service] : [legacy]) {
    const gate = await readGate(client, slice)
    const fence = gate?.fences.find(row => row.epoch === epoch)
    if (fence) return (await clockOf(legacy)) > fence.deadlineMs
  }
  const words = await Promise.all(
    (service ? [legacy, service] : [legacy]).map(client => diedFence(client, slice, epoch)),
  )
  return words.some(Boolean)
}

/** Milliseconds since the epoch, by the database's clock. */
export async function clockOf(client: pg.ClientBase): Promise<number> {
  const { rows } = await client.query<{ now: string }>(
    'SELECT (extract(epoch from clock_timestamp()) * 1000)::float8::text AS now',
  )
  return Number(rows[0]!.now)
}

async function reopen(client: pg.ClientBase, slice: string, epoch: number): Promise<void> {
  const gate = await readGate(client, slice)
  if (gate?.word !== BigInt(2 * epoch)) return
  await mustBeOnRecord(client, slice)
  await setGate(client, slice, epoch)
}

async function prepareOnce(
  what: Settlement,
  client: pg.ClientBase,
  epoch: number,
  newOwner: Side,
): Promise<void> {
  const gate = await readGate(client, what.slice)
  const done = gate?.evidence.some(row => row.epoch === epoch && row.kind === 'PREPARED')
  if (!done) await prepare(client, await what.preparation(epoch, newOwner))
}

async function diedFence(client: pg.ClientBase, slice: string, epoch: number): Promise<boolean> {
  const gate: GateState | undefined = await readGate(client, slice)
  if (gate?.word !== BigInt(2 * epoch) || gate.word === 0n) return false
  const { rows } = await client.query<{ held: string }>(
    `SELECT count(*)::text AS held FROM pg_catalog.pg_locks
     WHERE locktype = 'advisory' AND classid = $1 AND objid = $2 AND mode = 'ExclusiveLock' AND granted`,
    [LOCK_CLASS, gate.number],
  )
  // The lock was free, so whatever moved the word has ended: read the row again, it may just have committed.
  if (rows[0]?.held !== '0') return false
  const again = await readGate(client, slice)
  return again?.word === gate.word && !again.fences.some(row => row.epoch === epoch)
}
