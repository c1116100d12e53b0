/** `banyan approve`: a person has looked at a plan and says yes. What a file proposes is carried out with it. */
import { approvalsOf } from '../control/approval.ts'
import { personOf, type Plan, planOf, SHORT, shortHash } from '../control/plan.ts'
import { readProposal } from '../control/reconcile.ts'
import { type FlipRow, readFlips } from '../control/store/flips.ts'
import {
  type Approval,
  approvePlan,
  findPlans,
  ownerEpoch,
  readApprovals,
  storePlan,
  type StoredPlan,
} from '../control/store/plans.ts'
import { BanyanError, must } from '../model/errors.ts'
import { CONTROL_ERRORS } from '../model/errors-control.ts'
import { timeText } from './amounts.ts'
import { approveLines } from './approve-text.ts'
import type { FlipOptions } from './banyan.ts'
import { type Context, type ExitCode, jsonText } from './context.ts'
import { findSlice, type Opened, withControl } from './control-store.ts'
import { liveLine } from './live.ts'
import {
  asWanted,
  awaitFlip,
  endOf,
  readElsewhere,
  stoppedWaiting,
  type Waiting,
  withController,
} from './move.ts'
import { printable } from './table.ts'

/** A proposal that nobody has carried out for so long after its last approval isn't waited for. */
const SILENT_MS = 10_000
const LOOK_MS = 250

export interface Approved {
  readonly plan: Plan
  readonly fromPercent: number
  readonly file: string
  /** A change of the file that would move the owner, as it is wanted now. */
  readonly proposed: boolean
  /** So many persons must approve it: for a flip by hand, others than who asks for that. */
  readonly needed: number
  readonly approvals: readonly Approval[]
  /** Who approves is who planned it. */
  readonly own: boolean
  readonly goodForMs: number
}

/** Throws PLAN_UNKNOWN, PLAN_EXPIRED, PLAN_OUTDATED, and what `withControl` and `awaitFlip` throw. */
export async function runApprove(
  context: Context,
  text: string,
  options: Pick<FlipOptions, 'reason'>,
): Promise<ExitCode> {
  return withControl<ExitCode>(context, async opened => {
    const { store } = opened
    const prefix = hashIn(text)
    const proposed = await proposalOf(opened, context, prefix)
    const found = proposed ?? (await storedPlan(opened, prefix))
    const { slice, fact } = await findSlice(opened, found.slice)
    const [before] = await readFlips(store, { slice: found.slice, limit: 1 })
    await approvePlan(store, found, { actor: context.actor, reason: options.reason })
    const approvals = await readApprovals(store, found)
    const wanted = approvalsOf(opened.wiring.project, found.slice)
    const approved: Approved = {
      ...{ plan: planPart(found), fromPercent: fact.percent, file: slice.file },
      proposed: proposed !== undefined,
      ...{ needed: proposed ? Math.max(1, wanted) : wanted, approvals },
      own: personOf(found.by) === personOf(context.actor),
      goodForMs: Math.min(...approvals.map(each => each.goodForMs)),
    }
    const enough = approvals.length >= approved.needed
    const flip =
      approved.proposed && enough
        ? await carriedOut(opened, context, found, before?.id ?? 0)
        : undefined
    if (context.json) context.write(jsonText({ ...approved, flip: flip ?? null }))
    else {
      const lines = approveLines(context, printable(approved), flip)
      context.write(`${lines.join('\n')}\n`)
    }
    return flip && flip.outcome !== 'done' ? must(flip.error, 'why it was not done').exit : 0
  })
}

/** Throws PLAN_UNKNOWN for what no hash begins with. */
function hashIn(text: string): string {
  const hash = text.trim().toLowerCase()
  if (/^[0-9a-f]+$/.test(hash) && hash.length >= SHORT && hash.length <= 64) return hash
  throw new BanyanError(CONTROL_ERRORS.PLAN_UNKNOWN, [text])
}

/** What a file proposes now needs nobody who planned it; from here on it is good for as long as any other. */
async function proposalOf(
  { wiring, store }: Opened,
  context: Context,
  prefix: string,
): Promise<(Plan & { by: string }) | undefined> {
  const { project } = wiring
  const elsewhere = (await readElsewhere({ store }, context)) !== undefined
  for (const { name } of project.slices) {
    const { slice, fact } = await findSlice({ wiring, store }, name)
    const proposal = await readProposal(store, project, asWanted(fact, slice, elsewhere))
    if (!proposal?.plan.hash.startsWith(prefix)) continue
    const goodForMs = project.banyan.limits.planMaxAgeMs
    await storePlan(store.pool, proposal.plan, { by: 'file', goodForMs })
    return { ...proposal.plan, by: 'file' }
  }
  return undefined
}

/** Throws PLAN_UNKNOWN, PLAN_OUTDATED, PLAN_EXPIRED. */
async function storedPlan(opened: Opened, prefix: string): Promise<StoredPlan> {
  const plans = await findPlans(opened.store, prefix)
  const [newest] = plans
  if (!newest) throw new BanyanError(CONTROL_ERRORS.PLAN_UNKNOWN, [prefix])
  for (const plan of plans) {
    if (plan.goodForMs > 0 && (await whyOutdated(opened, plan)) === undefined) return plan
  }
  const details = [shortHash(newest), newest.slice]
  const why = await whyOutdated(opened, newest)
  if (why !== undefined) throw new BanyanError(CONTROL_ERRORS.PLAN_OUTDATED, [...details, why])
  const good = timeText(opened.wiring.project.banyan.limits.planMaxAgeMs)
  const rest = [timeText(newest.ageMs), good, newest.to]
  throw new BanyanError(CONTROL_ERRORS.PLAN_EXPIRED, [...details, ...rest])
}

/** Undefined where all that it rests on is so now, by the files here. */
async function whyOutdated(
  { wiring, store }: Opened,
  plan: StoredPlan,
): Promise<string | undefined> {
  const slice = wiring.project.slices.find(each => each.name === plan.slice)
  if (!slice) return `its file is gone`
  const { fact } = await findSlice({ wiring, store }, plan.slice)
  if (fact.stage !== plan.from)
    return `it was made at ${plan.from}, and the slice is at ${fact.stage}`
  const epoch = await ownerEpoch(store, plan.slice)
  if (epoch !== plan.epoch) return 'its owner has moved since, and came back'
  if (planOf(wiring.project, planPart(plan)).hash === plan.hash) return undefined
  return `${slice.file} or its service in banyan.yaml has changed since, or isn't the same here`
}

function planPart({ hash, slice, from, to, percent, epoch }: Plan): Plan {
  return { hash, slice, from, to, percent, epoch }
}

/** Waits until the controller has carried out what was proposed. Throws CONTROLLER_SILENT, and what `awaitFlip` throws. */
async function carriedOut(
  opened: Opened,
  context: Context,
  { slice }: Plan,
  seen: number,
): Promise<FlipRow> {
  let id: number | undefined
  const waited = withController(opened, context, async waiting => {
    id = await taken(opened, waiting, slice, seen)
    return awaitFlip(opened, waiting, id, liveLine(context))
  })
  await waited.catch(() => undefined)
  if (id === undefined) return waited
  const { ended, error } = await endOf(opened, id, waited)
  if (error) throw error
  return must(ended, 'its end')
}

async function taken(
  { store, ear }: Opened,
  context: Waiting,
  slice: string,
  seen: number,
): Promise<number> {
  const began = performance.now()
  for (;;) {
    const heard = ear.heard(['flip', 'slice'], LOOK_MS, context.signal)
    const flips = await readFlips(store, { slice, limit: 20 })
    const next = flips.findLast(each => each.id > seen && each.kind === 'file')
    if (next) return next.id
    if (context.signal.aborted) {
      throw stoppedWaiting(
        context,
        slice,
        'your approval stands, and the controller carries it out',
      )
    }
    if (performance.now() - began > SILENT_MS) {
      throw new BanyanError(CONTROL_ERRORS.CONTROLLER_SILENT, [slice, SILENT_MS])
    }
    await heard
  }
}
