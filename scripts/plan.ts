/**
 * `banyan plan`: what a flip would do now, and everything that stands in its way. Moves nothing, needs no controller. One
 * that would move the owner is kept under its hash, for whoever approves it.
 */
import { readController } from '../control/lease.ts'
import { readFlips } from '../control/store/flips.ts'
import { planOf, shortHash } from '../control/plan.ts'
import { proposedStep } from '../control/reconcile.ts'
import { ownerEpoch, readApprovals, storePlan } from '../control/store/plans.ts'
import { overridden, readSlices, type SliceFact } from '../control/store/slices.ts'
import { BanyanError } from '../model/errors.ts'
import { CONTROL_ERRORS } from '../model/errors-control.ts'
import type { Slice } from '../model/project.ts'
import { movesOwner, type Stage, STAGES } from '../model/stage.ts'
import { type Asked, checkFlip, named, SharedDatabases } from './checks-now.ts'
import { jsonText, type Context, type ExitCode, type Problem } from './context.ts'
import { findSlice, type Opened, withControl } from './control-store.ts'
import { stageOf } from './flip.ts'
import { asWanted, readElsewhere } from './move.ts'
import { clearing } from './next-step.ts'
import { nextLine, paintOf } from './paint.ts'
import {
  type After,
  afterOf,
  type Change,
  changesOf,
  type PlannedStep,
  stepsOf,
  wayBackOf,
} from './plan-changes.ts'
import { measure, type Measured, type Pause } from './plan-facts.ts'
import { planLines } from './plan-text.ts'
import { printable } from './table.ts'

export interface Plan {
  readonly slice: string
  readonly service: string
  readonly from: { readonly stage: Stage; readonly percent: number }
  readonly to: { readonly stage: Stage; readonly percent: number }
  /** It is there already. */
  readonly same: boolean
  /** One step leads there. */
  readonly possible: boolean
  /** It moves the owner of tables, under a hold and a fence. */
  readonly fenced: boolean
  /** Of a fenced flip. */
  readonly steps: readonly PlannedStep[]
  readonly pause: {
    readonly budgetMs: number
    /** How many fenced flips, and rehearsals of them, the figures are from; at most ten together. */
    readonly flips: number
    readonly rehearsals: number
    readonly p50Ms: number | null
    readonly maxMs: number | null
  } | null
  /** Of any other flip. */
  readonly changes: readonly Change[]
  readonly after: readonly After[]
  /** What the way back costs from there; null where there is none to speak of. */
  readonly wayBack: string | null
  /** What a person approves by its hash: null where no step leads there. */
  readonly plan: {
    readonly hash: string
    /** As it is printed, and typed. */
    readonly short: string
    /** Null where it moves no owner: nobody has to approve it. */
    readonly goodForMs: number | null
    /** How many persons other than who asks must approve it. */
    readonly needed: number
    /** A change of the file that stands as proposed until somebody approves it. */
    readonly proposed: boolean
    readonly approvedBy: readonly string[]
  } | null
  readonly blockers: readonly Problem[]
  readonly measured: Measured
  /** Without `banyan` in front. */
  readonly next: string
}

/** Exit 3 where something stands in the way. Throws what `withControl` throws, SLICE_UNKNOWN, OPTION_INVALID. */
export async function runPlan(
  context: Context,
  name: string,
  stage: string | undefined,
): Promise<ExitCode> {
  return withControl(context, async opened => {
    const { wiring, store } = opened
    await mustBeKnown(opened, name)
    const { slice, fact } = await findSlice(opened, name)
    // Where the way forward isn't built, the way back is what can be planned.
    const usual = STAGES[fact.stage].next.find(each => each !== 'retired')
    const to = stageOf(stage ?? usual, fact, undefined, 'plan')
    await using databases = new SharedDatabases(() => wiring)
    const plan = await wholePlan({ store, wiring, databases }, context, { slice, fact, to })
    const paint = paintOf(context)
    context.write(
      context.json
        ? jsonText(plan)
        : `${[...planLines(printable(plan), paint), nextLine(paint, context, plan.next)].join('\n')}\n`,
    )
    return plan.blockers.length > 0 ? 3 : 0
  })
}

/**
 * A slice that no controller has seen yet is written down by `findSlice`: not behind the back of a controller that is
 * there and reads other files, or it would act on these. Throws FILE_ELSEWHERE.
 */
async function mustBeKnown({ wiring, store }: Opened, name: string): Promise<void> {
  const known = (await readSlices(store.pool)).some(each => each.name === name)
  if (known || !wiring.project.slices.some(each => each.name === name)) return
  const controller = await readController(store)
  if (!controller?.alive) return
  const details = [controller.configPath, controller.host]
  throw new BanyanError(CONTROL_ERRORS.FILE_ELSEWHERE, details)
}

async function wholePlan(
  asked: Asked,
  context: Context,
  { slice, fact, to }: { slice: Slice; fact: SliceFact; to: Stage },
): Promise<Plan> {
  const { wiring } = asked
  const percent = to === 'canary' ? slice.canary.percent : 0
  const same = to === fact.stage && percent === fact.percent
  const possible =
    !same && (to === fact.stage || STAGES[fact.stage].next.includes(to)) && to !== 'retired'
  const owns = Object.keys(slice.tables).length > 0
  const fenced = owns && movesOwner(fact.stage, to)
  const measured = await measure(asked, slice, fact, to)
  const planned = {
    slice,
    from: fact.stage,
    to,
    percent: { from: fact.percent, to: percent },
    measured,
    sequenceHeadroom: wiring.project.banyan.limits.sequenceHeadroom,
  }
  const hashed = possible ? await hashOf(asked, context, { slice, fact, to, percent }) : null
  const blockers = same
    ? []
    : once([
        ...(await asksRefused(asked, context, slice, fact, to)),
        ...(possible ? measured.away.map(each => named(each, slice.name)) : []),
        ...(await checksRefused(
          { ...asked, asker: { actor: context.actor, kind: 'flip', percent } },
          slice,
          to,
        )),
      ])
  const unapproved = blockers.some(each => each.code === 'APPROVAL')
  const approve = hashed && (unapproved || hashed.proposed) ? `approve ${hashed.short}` : null
  return {
    slice: slice.name,
    service: slice.service,
    from: { stage: fact.stage, percent: fact.percent },
    to: { stage: to, percent },
    same,
    possible,
    fenced,
    steps: fenced && possible ? stepsOf(planned) : [],
    pause: fenced ? pauseFigures(measured.pauses, slice.cutover.holdMs) : null,
    changes: !fenced && possible ? changesOf(planned) : [],
    after: fenced && possible ? afterOf(planned) : [],
    wayBack: possible ? wayBackOf(planned) : null,
    plan: hashed,
    blockers,
    measured,
    next: same
      ? `status ${slice.name}`
      : blockers.length === 0
        ? (approve ?? `flip ${slice.name} ${to}`)
        : clearing(slice.name, blockers, approve ?? `plan ${slice.name} ${to}`),
  }
}

/** Its hash; a plan that moves the owner is stored, so that it can be approved. */
async function hashOf(
  { store, wiring }: Asked,
  context: Context,
  step: { slice: Slice; fact: SliceFact; to: Stage; percent: number },
): Promise<NonNullable<Plan['plan']>> {
  const { fact, to, percent } = step
  const { name, cutover } = step.slice
  const { project } = wiring
  const epoch = await ownerEpoch(store, name)
  const plan = planOf(project, { slice: name, from: fact.stage, to, percent, epoch })
  const moves = movesOwner(fact.stage, to)
  const goodForMs = project.banyan.limits.planMaxAgeMs
  if (moves) await storePlan(store.pool, plan, { by: context.actor, goodForMs })
  const elsewhere = (await readElsewhere({ store }, context)) !== undefined
  const wants = proposedStep(asWanted(fact, step.slice, elsewhere))
  return {
    ...{ hash: plan.hash, short: shortHash(plan), goodForMs: moves ? goodForMs : null },
    needed: moves ? cutover.approvals : 0,
    proposed: wants?.to === to && wants.percent === percent,
    approvedBy: (await readApprovals(store, plan)).map(each => each.actor),
  }
}

/** What `flip` would refuse before any check is asked. */
async function asksRefused(
  { store }: Asked,
  context: Context,
  slice: Slice,
  fact: SliceFact,
  to: Stage,
): Promise<Problem[]> {
  const refused: BanyanError[] = []
  const open = (await readFlips(store, { slice: slice.name, open: true, limit: 1 }))[0]
  if (open) {
    const details = [slice.name, open.to, open.actor]
    refused.push(new BanyanError(CONTROL_ERRORS.FLIP_IN_PROGRESS, details))
  }
  const { override } = fact
  if (override) refused.push(overridden(slice.name, override))
  const elsewhere = await readElsewhere({ store }, context)
  const proposed = fact.wantedStage === to && movesOwner(fact.stage, to)
  if (elsewhere && !proposed) {
    const details = [elsewhere.path, elsewhere.host]
    refused.push(new BanyanError(CONTROL_ERRORS.FILE_ELSEWHERE, details))
  }
  return refused.map(({ code, message, hint }) => ({ code, message, hint }))
}

async function checksRefused(asked: Asked, slice: Slice, to: Stage): Promise<Problem[]> {
  const { blockers, missing } = await checkFlip(asked, slice, to)
  return missing ? [...blockers, missing] : [...blockers]
}

/** One database that is away is one problem, however many ask for it. */
function once(problems: readonly Problem[]): Problem[] {
  return [...new Map(problems.map(each => [`${each.code} ${each.message}`, each])).values()]
}

function pauseFigures(pauses: readonly Pause[], budgetMs: number): Plan['pause'] {
  const sorted = pauses.map(each => each.ms).sort((a, b) => a - b)
  const p50Ms = sorted[Math.floor((sorted.length - 1) / 2)] ?? null
  const rehearsals = pauses.filter(each => each.rehearsal).length
  const flips = pauses.length - rehearsals
  return { budgetMs, flips, rehearsals, p50Ms, maxMs: sorted.at(-1) ?? null }
}
