/** The steps of the cutover: each does one thing, within the budget, and throws a coded error where it can't. */
import type pg from 'pg'
import { BanyanError, must } from '../model/errors.ts'
import { CONTROL_ERRORS } from '../model/errors-control.ts'
import * as gate from '../postgres/gate.ts'
import { clockOf, promote } from '../postgres/settle.ts'
import { decideAbandon } from './decide-abandon.ts'
import { type CutoverRun, leftMs, newOwner, oldOwner, standsAt } from './cutover-run.ts'
import { ackedBy, drainedBy } from './store/routers.ts'

/** A fence that queues longer makes everybody behind it queue too. */
const FENCE_LOCK_TIMEOUT_MS = 50
/** Writers must get through between two attempts. */
const FENCE_PAUSE_MS = 200
/** A transaction that has been open for so long is no request under way. */
const OLD_WRITER_MS = 100
/** How often the tables are looked at while they come to rest. */
const QUIET_LOOK_MS = 5
/** Evidence is pushed; this only bounds the wait should a notification be lost. */
const EVIDENCE_LOOK_MS = 50
/** Of acks, the same. */
const ACK_LOOK_MS = 50
/** After the decision nothing is undone, but nobody waits for a dead router for ever. */
const PUBLISH_MS = 5_000

/** Nobody is held for a transaction that doesn't end: first it is waited for, as long as requests would be. */
export async function hold(run: CutoverRun): Promise<void> {
  const until = run.now() + run.budget.drainMs
  for (;;) {
    const old = await openWriters(run, OLD_WRITER_MS)
    if (old.length === 0) break
    if (run.now() >= until || run.signal.aborted) {
      const details = [run.slice, run.budget.drainMs, old.join('; ')]
      throw new BanyanError(CONTROL_ERRORS.NOT_QUIET, details)
    }
    await run.sleep(FENCE_PAUSE_MS, run.signal)
  }
  run.startedAt = run.now()
  run.version = await run.orders.hold(run.slice, run.epoch, run.budget.holdMs)
}

export async function drain(run: CutoverRun): Promise<void> {
  const { drainMs, quietMs } = run.budget
  const until = run.now() + drainMs
  let waiting: string[] = []
  do {
    const heard = ackHeard(run, until)
    waiting = await drainedBy(run.store, run.version, run.slice, run.epoch)
    if (waiting.length === 0) break
    await heard
  } while (run.now() < until && !run.signal.aborted)
  if (waiting.length > 0) {
    throw new BanyanError(CONTROL_ERRORS.NOT_DRAINED, [run.slice, drainMs, waiting.join('; ')])
  }
  await rest(run, until, quietMs)
}

/** An answer isn't the end of the work: wait until nobody has written to the tables for a while. */
async function rest(run: CutoverRun, until: number, quietMs: number): Promise<void> {
  let quietSince = run.now()
  let writers: string[] = []
  while (run.now() - quietSince < quietMs || writers.length > 0) {
    if (run.now() >= until || run.signal.aborted) {
      const details = [run.slice, run.budget.drainMs, writers.join('; ') || 'writes kept coming']
      throw new BanyanError(CONTROL_ERRORS.NOT_QUIET, details)
    }
    await run.sleep(QUIET_LOOK_MS, run.signal)
    writers = await openWriters(run)
    if (writers.length > 0) quietSince = run.now()
  }
}

export async function fence(run: CutoverRun): Promise<void> {
  const client = oldOwner(run)
  let refused: BanyanError | undefined
  while (leftMs(run) > FENCE_LOCK_TIMEOUT_MS && !run.signal.aborted) {
    // Look before queueing: behind a queued exclusive lock all writers of the slice would wait as well.
    const writers = await openWriters(run)
    if (writers.length === 0) {
      const deadlineMs = (await clockOf(run.legacy)) + leftMs(run)
      await client.query(`SET lock_timeout = '${FENCE_LOCK_TIMEOUT_MS}ms'`)
      try {
        const { slice, epoch, systems } = run
        await gate.takeFence(client, { slice, epoch, deadlineMs, ...systems })
        return
      } catch (error) {
        if (!(error instanceof BanyanError && error.rule.retry)) throw error
        refused = error
      } finally {
        await client.query('SET lock_timeout = 0').catch(() => undefined)
      }
    } else {
      refused = new BanyanError(CONTROL_ERRORS.NOT_QUIET, [
        run.slice,
        run.budget.holdMs,
        writers.join('; '),
      ])
    }
    await run.sleep(FENCE_PAUSE_MS, run.signal)
  }
  throw refused ?? new BanyanError(CONTROL_ERRORS.NOT_REACHED, [run.slice, run.budget.holdMs])
}

export async function reach(run: CutoverRun): Promise<void> {
  if (!(await evidence(run, 'REACHED'))) {
    throw new BanyanError(CONTROL_ERRORS.NOT_REACHED, [run.slice, run.budget.holdMs])
  }
}

export async function compare(run: CutoverRun): Promise<void> {
  const row = await evidence(run, 'COMPARED')
  if (!row) throw new BanyanError(CONTROL_ERRORS.NOT_REACHED, [run.slice, run.budget.holdMs])
  if (row.differences > 0) {
    throw new BanyanError(CONTROL_ERRORS.NOT_EQUAL, [row.differences, run.slice])
  }
  // On the way home what is known must do: a brake isn't kept waiting for a verification.
  if (row.forgotten > 0 && run.from === 'legacy') {
    throw new BanyanError(CONTROL_ERRORS.NOT_COVERED, [run.slice, row.forgotten])
  }
}

export async function prepare(run: CutoverRun): Promise<void> {
  const side = run.from === 'legacy' ? 'service' : 'legacy'
  await gate.prepare(newOwner(run), await run.settlement.preparation(run.epoch, side))
}

export async function decide(run: CutoverRun): Promise<void> {
  const verdict = await gate.decide(run.legacy, run.slice, run.epoch, 'PROMOTED')
  if (verdict === 'ABORTED') {
    const details = [run.slice, standsAt(run), 'its epoch was aborted by somebody else']
    throw new BanyanError(CONTROL_ERRORS.FLIP_UNDONE, details)
  }
}

/** In the place of reach, compare, prepare and decide: legacy decides without the stream. */
export async function giveUp(run: CutoverRun): Promise<void> {
  const { settlement, epoch, said } = run
  await decideAbandon({ settlement, epoch, said: must(said, 'who gives it up') })
}

export async function open(run: CutoverRun): Promise<void> {
  await promote(run.settlement, run.epoch)
}

export async function publish(run: CutoverRun): Promise<void> {
  run.version = await run.orders.move(run.slice, run.to, run.percent, run.epoch)
  await acknowledged(run, PUBLISH_MS)
}

/** The end of a hold after which nothing has moved: what was parked goes to the owner that it would have gone to. */
export async function release(run: CutoverRun): Promise<void> {
  run.version = await run.orders.release(run.slice)
  await acknowledged(run, PUBLISH_MS)
}

/** Waits until every router with a live lease decides by the table that was published last. */
export async function acknowledged(
  run: Pick<CutoverRun, 'store' | 'ear' | 'signal' | 'version' | 'now'>,
  timeoutMs: number,
): Promise<void> {
  const until = run.now() + timeoutMs
  for (;;) {
    const heard = ackHeard(run, until)
    const late = await ackedBy(run.store, run.version)
    if (late.length === 0) return
    if (run.now() >= until || run.signal.aborted) {
      throw new BanyanError(CONTROL_ERRORS.ROUTERS_LATE, [timeoutMs, late.join(', ')])
    }
    await heard
  }
}

/** To be asked for before the acks are read: one that comes while they are read is news, too. */
function ackHeard(run: Pick<CutoverRun, 'ear' | 'now' | 'signal'>, until: number): Promise<void> {
  const lookMs = Math.max(1, Math.min(ACK_LOOK_MS, until - run.now()))
  return run.ear.heard(['router'], lookMs, run.signal)
}

function openWriters(run: CutoverRun, openForMs = 0): Promise<string[]> {
  return gate.writersOf(oldOwner(run), run.slice, run.applyRoles[run.from], openForMs)
}

interface EvidenceRow {
  readonly differences: number
  /** Changed keys that aren't known any more, and so weren't compared. */
  readonly forgotten: number
}

async function evidence(
  run: CutoverRun,
  kind: gate.EvidenceKind,
): Promise<EvidenceRow | undefined> {
  const client = newOwner(run)
  for (;;) {
    const told = notified(client, EVIDENCE_LOOK_MS)
    const { rows } = await client.query<EvidenceRow>(
      `SELECT coalesce(detail->>'differences', '0')::float8 AS differences,
         coalesce(detail->>'forgotten', '0')::float8 AS forgotten FROM banyan.evidence
       WHERE slice = $1 AND epoch = $2 AND kind = $3`,
      [run.slice, run.epoch, kind],
    )
    if (rows[0]) return rows[0]
    if (leftMs(run) <= 0 || run.signal.aborted) return undefined
    await told
  }
}

/** The session listens on `banyan` (control/cutover-runner.ts). */
function notified(client: pg.Client, timeoutMs: number): Promise<void> {
  return new Promise(resolve => {
    const timer = setTimeout(done, timeoutMs)
    client.once('notification', done)
    function done() {
      clearTimeout(timer)
      client.removeListener('notification', done)
      resolve()
    }
  })
}
