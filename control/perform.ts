/** Performs one flip that was asked for: gathers facts, asks the checks, then does what that step is made of. */
import { BanyanError } from '../model/errors.ts'
import { ABANDON_ERRORS } from '../model/errors-abandon.ts'
import { CONTROL_ERRORS } from '../model/errors-control.ts'
import { ownsTables, type Slice } from '../model/project.ts'
import { must } from '../model/errors.ts'
import { movesOwner, type Stage, STAGES } from '../model/stage.ts'
import type { Wiring } from '../model/wiring.ts'
import { ownerOfRecord } from '../postgres/abandon.ts'
import { explain } from '../postgres/explain.ts'
import { abandonAlone, closeReturned, mayAbandon, recordAbandonment, saidOf } from './abandon.ts'
import { runCutover } from './cutover-runner.ts'
import { type CutoverRun, Unsettled } from './cutover-run.ts'
import { acknowledged } from './cutover-steps.ts'
import { type Databases, setupSession } from './databases.ts'
import { decideFlip } from './flip.ts'
import { gatherFacts } from './gather.ts'
import { isLeaseLost } from './lease.ts'
import { installSlice } from './install.ts'
import { loosen, restoreKeys } from './loosen.ts'
import type { Plan } from './plan.ts'
import type { Publisher } from './publisher.ts'
import { endFlip, type FlipError, type FlipRow, startFlip } from './store/flips.ts'
import { readOrders } from './store/orders.ts'
import { storePlan } from './store/plans.ts'
import { readSlices } from './store/slices.ts'
import type { Ear, Store } from './store/store.ts'

export interface PerformContext {
  readonly store: Store
  readonly ear: Ear
  readonly wiring: Wiring
  readonly databases: Databases
  readonly publisher: Publisher
  readonly now: () => number
  readonly sleep: CutoverRun['sleep']
  readonly signal: AbortSignal
}

/** A flip that moves only reads waits this long for the routers to say that they have it. */
const ROUTERS_MS = 5_000

/** Throws only what leaves the flip open: an epoch that isn't settled. */
export async function performFlip(
  context: PerformContext,
  flip: FlipRow,
): Promise<NonNullable<FlipRow['outcome']>> {
  const slice = context.wiring.project.slices.find(each => each.name === flip.slice)
  if (!slice) return refused(context, flip, unknownSlice(context, flip.slice))
  try {
    const away = movesHome(slice, flip) ? await serviceAway(context, slice) : undefined
    if (flip.kind === 'abandon') return await performAbandon(context, slice, flip, away)
    if (away) return await refused(context, flip, asFlipError(away))
    if (Object.keys(slice.tables).length > 0) await closeFirst(context, slice)
    // A table that was published a moment ago isn't a reason to refuse: the check says who still hasn't got it.
    const version = (await readOrders(context.store))?.version ?? 0
    await acknowledged({ ...context, version }, ROUTERS_MS).catch(() => undefined)
    const facts = await gatherFacts({ ...context, asker: flip }, slice, flip.to)
    const verdict = decideFlip(facts, flip.to)
    if (!verdict.go) {
      if (facts.approval) await storeAsked(context, facts.approval.plan, flip)
      return await refused(context, flip, blockedError(flip, verdict.blockers))
    }
    // Without a fence there is nothing to rehearse, and what is done is done.
    if (flip.kind === 'rehearsal' && !verdict.fenced) {
      return await refused(context, flip, asFlipError(nothingToRehearse(slice, facts.stage)))
    }
    const late = verdict.fenced
      ? await moveOwner(context, slice, flip)
      : await moveReads(context, slice, flip)
    await endFlip(context.store, flip.id, 'done', late ? asFlipError(late) : null)
    return 'done'
  } catch (error) {
    if (error instanceof Unsettled) throw error.cause
    // Its successor ends it.
    if (isLeaseLost(error)) throw error
    if (isCode(error, 'OVERRIDDEN')) return await refused(context, flip, asFlipError(error))
    await endFlip(context.store, flip.id, 'undone', asFlipError(error))
    return 'undone'
  }
}

/** Returns ROUTERS_LATE where it was done, and a router hasn't taken it up: the stage has moved, and nothing undoes that. */
async function moveReads(
  context: PerformContext,
  slice: Slice,
  flip: FlipRow,
): Promise<BanyanError | undefined> {
  await startFlip(context.store, flip.id, null)
  if (flip.from === 'legacy' && STAGES[flip.to].stream !== 'off') {
    await installSlice(context, slice)
  }
  const version = await context.publisher.move(slice.name, flip.to, flip.percent, null)
  return routersLate(context, version)
}

async function routersLate(
  context: PerformContext,
  version: number,
): Promise<BanyanError | undefined> {
  return acknowledged({ ...context, version }, ROUTERS_MS).then(
    () => undefined,
    (error: unknown) => {
      if (isCode(error, 'ROUTERS_LATE')) return error
      throw error
    },
  )
}

/** Only here, because somebody asked for it: no check, guard or brake leads to it. */
async function performAbandon(
  context: PerformContext,
  slice: Slice,
  flip: FlipRow,
  away: BanyanError | undefined,
): Promise<NonNullable<FlipRow['outcome']>> {
  const { store, wiring, databases, publisher } = context
  const why = await mayAbandon(context, slice, flip, away)
  if (why) return refused(context, flip, asFlipError(why))
  if (away) await abandonAlone(context, slice, flip)
  else await moveOwner(context, slice, flip)
  try {
    const owner = await ownerOfRecord(await databases.legacy(slice.name), slice.name)
    await recordAbandonment(store, slice, flip, must(owner, 'the decision'))
    const version = await publisher.refresh()
    await using setup = await setupSession(wiring.legacy.setup)
    await restoreKeys(store, setup.client, wiring.project)
    const late = await routersLate(context, version)
    await endFlip(store, flip.id, 'done', late ? asFlipError(late) : null)
    return 'done'
  } catch (cause) {
    // It is decided: whoever recovers it goes on from there.
    throw new Unsettled('the epoch is not settled', { cause })
  }
}

/** True where legacy is to own the tables again: the service's database has a part in it. */
function movesHome(slice: Slice, { from, to }: FlipRow): boolean {
  return (
    movesOwner(from, to) && STAGES[to].owner === 'legacy' && Object.keys(slice.tables).length > 0
  )
}

/** Nothing is written to a service before what was left behind there is closed. */
async function closeFirst(
  { store, wiring, databases }: PerformContext,
  slice: Slice,
): Promise<void> {
  const sessions = await databases.both(slice).catch(() => undefined)
  const headroom = wiring.project.banyan.limits.sequenceHeadroom
  if (sessions) await closeReturned({ store, headroom }, slice, sessions)
}

async function serviceAway(
  { databases }: Pick<PerformContext, 'databases'>,
  slice: Slice,
): Promise<BanyanError | undefined> {
  try {
    await databases.service(slice)
    return undefined
  } catch (cause) {
    const details = [slice.name, slice.service, explain(cause).message]
    return new BanyanError(ABANDON_ERRORS.SERVICE_AWAY, details, { cause })
  }
}

async function moveOwner(context: PerformContext, slice: Slice, flip: FlipRow): Promise<undefined> {
  const { store, wiring, databases, publisher } = context
  const sessions = await databases.both(slice)
  const facts = await readSlices(store.pool)
  const fact = must(
    facts.find(each => each.name === slice.name),
    'the slice of a flip',
  )
  const rehearse = flip.kind === 'rehearsal'
  // A rehearsal moves nothing, so no key is in its way: it neither drops any nor brings any back.
  await using setup = rehearse ? null : await setupSession(wiring.legacy.setup)
  if (setup && STAGES[flip.to].owner === 'service') await loosen(store, setup.client, slice)
  const run = runCutover({
    flip: flip.id,
    slice,
    to: flip.to,
    percent: flip.percent,
    sessions,
    applyRoles: databases.applyRoles(slice),
    limits: wiring.project.banyan.limits,
    epochBefore: fact.epoch,
    store,
    ear: context.ear,
    orders: publisher,
    now: context.now,
    sleep: context.sleep,
    signal: context.signal,
    rehearse,
    said: flip.kind === 'abandon' ? await saidOf(store, slice, flip) : undefined,
  })
  const undone = await run.then(
    () => undefined,
    (error: unknown) => {
      // Held before its first step, or undone: either way the old owner has the tables.
      if (isCode(error, 'FLIP_UNDONE') || isCode(error, 'OVERRIDDEN')) return error
      throw new Unsettled('the epoch is not settled', { cause: error })
    },
  )
  // Whatever became of it: keys that nobody needs loose any more come back.
  if (setup) await restoreKeys(store, setup.client, wiring.project)
  if (undone) throw undone
}

function isCode(error: unknown, code: keyof typeof CONTROL_ERRORS): error is BanyanError {
  return error instanceof BanyanError && error.code === code
}

/** Whoever is to approve it must find it by its hash. */
async function storeAsked(context: PerformContext, plan: Plan, { actor }: FlipRow): Promise<void> {
  const goodForMs = context.wiring.project.banyan.limits.planMaxAgeMs
  await storePlan(context.store.pool, plan, { by: actor, goodForMs })
}

/** `stage`: where the slice stands. */
export function nothingToRehearse(slice: Slice, stage: Stage): BanyanError {
  const why = !ownsTables(slice)
    ? 'it has no tables, so nobody waits when it moves'
    : 'no step from there moves the owner; the one from canary does'
  return new BanyanError(CONTROL_ERRORS.NOTHING_TO_REHEARSE, [slice.name, stage, why])
}

async function refused(
  context: PerformContext,
  flip: FlipRow,
  error: FlipError,
): Promise<'refused'> {
  await endFlip(context.store, flip.id, 'refused', error)
  return 'refused'
}

function blockedError(flip: FlipRow, blockers: NonNullable<FlipError['blockers']>): FlipError {
  const codes = [...new Set(blockers.map(each => each.code))].join(', ')
  const error = new BanyanError(CONTROL_ERRORS.FLIP_REFUSED, [flip.slice, flip.to, codes])
  return { ...asFlipError(error), blockers }
}

function unknownSlice(context: PerformContext, name: string): FlipError {
  const known = context.wiring.project.slices.map(each => each.name).join(', ')
  return asFlipError(new BanyanError(CONTROL_ERRORS.SLICE_UNKNOWN, [name, known]))
}

/** What a person reads of an error, and a client by `--json`. */
export function asFlipError(error: unknown): FlipError {
  const known = explain(error)
  if (known instanceof BanyanError) {
    const { code, message, hint, rule } = known
    return { code, message, hint, exit: rule.exit }
  }
  return {
    code: 'UNEXPECTED',
    message: known.message,
    hint: 'see the log of the controller, then `banyan status`',
    exit: 4,
  }
}
