/** Walks the table of steps: writes each before it acts, undoes what can be undone, goes forward where nothing can. */
import type { BanyanFile } from '../model/banyan-file.ts'
import { BanyanError } from '../model/errors.ts'
import { CONTROL_ERRORS } from '../model/errors-control.ts'
import { POSTGRES_ERRORS } from '../model/errors-postgres.ts'
import type { Slice } from '../model/project.ts'
import type { Side, Stage } from '../model/stage.ts'
import { STAGES } from '../model/stage.ts'
import { formatStream } from '../model/stream.ts'
import { cut, systemOf } from '../postgres/connection.ts'
import { type GateState, type Preparation, readGate, type Verdict } from '../postgres/gate.ts'
import { explain } from '../postgres/explain.ts'
import { settle, type Settlement } from '../postgres/settle.ts'
import { type CutoverRun, leftMs, type OrdersPort, standsAt } from './cutover-run.ts'
import { release } from './cutover-steps.ts'
import { ABANDON_STEPS, REHEARSED_UNTIL, type Step, type StepName, STEPS } from './cutover.ts'
import type { SliceSessions } from './databases.ts'
import { isLeaseLost } from './lease.ts'
import { type SequenceRow, sequenceStarts } from './sequences.ts'
import { beginStep, startFlip } from './store/flips.ts'
import type { Ear, Store } from './store/store.ts'

export interface RunnerOptions {
  readonly flip: number
  readonly slice: Slice
  readonly to: Stage
  readonly percent: number
  readonly sessions: SliceSessions
  readonly applyRoles: CutoverRun['applyRoles']
  readonly limits: BanyanFile['limits']
  /** The highest epoch that the journal knows for this slice. */
  readonly epochBefore: number
  readonly store: Store
  readonly ear: Ear
  readonly orders: OrdersPort
  readonly now: () => number
  readonly sleep: CutoverRun['sleep']
  readonly signal: AbortSignal
  /** Steps 0–5, then ABORTED on purpose. */
  readonly rehearse: boolean
  /** Where legacy takes the tables without the stream: who says so, and why. */
  readonly said?: CutoverRun['said']
}

/** Throws FLIP_UNDONE (its cause says why) when the old owner has the tables again, and nothing is lost. */
export async function runCutover(options: RunnerOptions): Promise<void> {
  const run = await makeRun(options)
  await startFlip(options.store, options.flip, run.epoch)
  for (const step of options.said ? ABANDON_STEPS : STEPS) {
    if (options.rehearse && step.step === REHEARSED_UNTIL) return abort(options, run)
    const done = await beginStep(options.store, options.flip, step.step)
    const started = run.now()
    try {
      const work = step.act(run)
      // Publishing waits for routers, and bounds that itself.
      if (step.step === 'publish') await work
      else await inTime(run, { what: step.step, limitMs: limitOf(run, step), work })
      await done(run.now() - started)
    } catch (error) {
      await done(run.now() - started, { failed: codeOf(error) })
      if (step.undo === 'forward only') {
        if (step.step !== 'publish' || isLeaseLost(error)) throw error
        continue // The new owner is open: a late router meets the gate, and is named in `status`.
      }
      const verdict = step.undo === 'settle' ? await settled(run) : 'ABORTED'
      if (verdict === 'PROMOTED') continue // Decided all the same (an answer that was lost): go forward.
      await options.orders.release(run.slice)
      throw undone(run, step.step, error)
    }
  }
}

/** The end of a rehearsal, and of its pause: until every router has let go, somebody waits. */
async function abort(options: RunnerOptions, run: CutoverRun): Promise<void> {
  const done = await beginStep(options.store, options.flip, 'abort')
  const started = run.now()
  const verdict = await settled(run)
  // Nobody but this run could have decided, and it never asks for PROMOTED.
  if (verdict !== 'ABORTED') throw new Error(`a rehearsal was ${verdict}`)
  // A late router keeps its own requests waiting until its hold expires; that is no reason to undo what moved nothing.
  const late = await release(run).then(
    () => undefined,
    (error: unknown) => ({ failed: codeOf(error) }),
  )
  await done(run.now() - started, late)
}

async function settled(run: CutoverRun): Promise<Verdict> {
  const work = settle(run.settlement, run.epoch)
  return (await inTime(run, { what: 'settling', limitMs: SILENT_MS, work })).verdict
}

/** A step ends by itself within the hold; what takes longer than this on top waits for a machine that says nothing. */
const SILENT_MS = 3_000

function limitOf(run: CutoverRun, { undo }: Step): number {
  return SILENT_MS + (undo === 'forward only' ? 0 : Math.max(leftMs(run), run.budget.drainMs))
}

/**
 * A database that is gone without a word would keep the flip, and everybody who waits for it, for as long as TCP does.
 * Both sessions are cut then: settling opens new ones. Throws UNREACHABLE.
 */
async function inTime<T>(
  run: CutoverRun,
  { what, limitMs, work }: { what: string; limitMs: number; work: Promise<T> },
): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      for (const client of [run.legacy, run.service]) cut(client)
      const details = ['one of the two databases', `no answer to ${what} within ${limitMs} ms`]
      reject(new BanyanError(POSTGRES_ERRORS.UNREACHABLE, details))
    }, limitMs)
  })
  work.catch(() => undefined)
  return Promise.race([work, late]).finally(() => clearTimeout(timer))
}

function undone(run: CutoverRun, step: StepName, cause: unknown): BanyanError {
  // A step that is told to stop fails of whatever it was waiting for: that isn't why.
  const stopped = run.signal.aborted ? `its controller was told to stop at ${step}` : undefined
  const why = stopped ?? explain(cause).message
  return new BanyanError(CONTROL_ERRORS.FLIP_UNDONE, [run.slice, standsAt(run), why], { cause })
}

async function makeRun(options: RunnerOptions): Promise<CutoverRun> {
  const { slice, sessions, to } = options
  const { legacy, service } = sessions
  const from: Side = STAGES[to].owner === 'legacy' ? 'service' : 'legacy'
  const [here, there] = [await readGate(legacy, slice.name), await readGate(service, slice.name)]
  const systems = {
    legacy: await systemOf(legacy, 'legacy'),
    service: await systemOf(service, slice.service),
  }
  return {
    slice: slice.name,
    epoch: nextEpoch(options.epochBefore, here, there),
    from,
    to,
    percent: options.percent,
    budget: slice.cutover,
    legacy,
    service,
    applyRoles: options.applyRoles,
    stream: streamTo(slice, from === 'legacy' ? 'service' : 'legacy'),
    systems,
    settlement: settlementOf(slice, sessions, options.limits.sequenceHeadroom),
    store: options.store,
    ear: options.ear,
    orders: options.orders,
    now: options.now,
    sleep: options.sleep,
    signal: options.signal,
    said: options.said,
    startedAt: 0,
    version: 0,
  }
}

/** Higher than any that a word, a row or the journal has seen: whatever acts with an older one is refused. */
export function nextEpoch(journal: number, ...gates: readonly (GateState | undefined)[]): number {
  return 1 + Math.max(journal, ...gates.map(gate => gate?.highestEpoch ?? 0))
}

/** The stream whose target is `side`. */
export function streamTo(slice: Slice, side: Side): string {
  const service = slice.service
  return side === 'service'
    ? formatStream({ from: 'legacy', to: service, what: slice.name })
    : formatStream({ from: service, to: 'legacy', what: slice.name })
}

export function settlementOf(
  slice: Slice,
  sessions: Pick<Settlement, 'legacy' | 'service'>,
  headroom: number,
): Settlement {
  return {
    slice: slice.name,
    legacy: sessions.legacy,
    service: sessions.service,
    preparation: (epoch, newOwner) => preparation(slice, sessions, headroom, epoch, newOwner),
  }
}

async function preparation(
  slice: Slice,
  sessions: Pick<Settlement, 'legacy' | 'service'>,
  headroom: number,
  epoch: number,
  newOwner: Side,
): Promise<Preparation> {
  const ask = async (client: Settlement['service']): Promise<SequenceRow[]> => {
    const answer = await client?.query<SequenceRow>(
      `SELECT relation, attribute, sequence, last_value::text AS last, type_max::text AS top FROM banyan.sequences_of($1)`,
      [slice.name],
    )
    return answer?.rows ?? []
  }
  const rows = { legacy: await ask(sessions.legacy), service: await ask(sessions.service) }
  const sequences = sequenceStarts(slice, rows, newOwner)
  return { slice: slice.name, epoch, stream: streamTo(slice, newOwner), sequences, headroom }
}

function codeOf(error: unknown): string {
  if (error instanceof BanyanError) return error.code
  return (error as { code?: string }).code ?? 'UNEXPECTED'
}
