/**
 * Makes the facts follow what is wanted, one step at a time: the file, where that needs nobody's word, or has it (where the
 * owner would move, a plan that was approved), or a brake, which is a person's word and only goes back.
 */
import { movesOwner, type Stage, STAGES, STAGE_NAMES } from '../model/stage.ts'
import type { Project } from '../model/project.ts'
import { approvalsOf } from './approval.ts'
import { type Plan, planOf } from './plan.ts'
import { type FlipRow, requestFlip, readFlips } from './store/flips.ts'
import { type Approval, lastUndoneMs, ownerEpoch, readApprovals } from './store/plans.ts'
import { readSlices, type SliceFact } from './store/slices.ts'
import type { Store } from './store/store.ts'

/** A refused step isn't tried again before this: its reasons need time, or a person. */
const AGAIN_MS = 5_000

/** Asks for the flips that are wanted and may happen by themselves. Returns how many. */
export async function reconcile(store: Store, project: Project): Promise<number> {
  let asked = 0
  const open = await readFlips(store, { open: true, limit: 1000 })
  for (const fact of await readSlices(store.pool)) {
    if (open.some(flip => flip.slice === fact.name)) continue
    const proposal = await readProposal(store, project, fact)
    const step = nextStep(fact) ?? (proposal && approvedStep(proposal))
    if (!step) continue
    const last = (await readFlips(store, { slice: fact.name, limit: 10 })).find(
      each => each.kind !== 'rehearsal',
    )
    const refused = last?.outcome === 'refused' || last?.outcome === 'undone'
    if (refused && last.to === step.to && Date.now() - (last.endedAtMs ?? 0) < AGAIN_MS) continue
    const request = requestFlip(store, {
      slice: fact.name,
      from: fact.stage,
      to: step.to,
      percent: step.percent,
      actor: fact.override?.by ?? proposal?.approvals.at(-1)?.actor ?? 'file',
      reason: fact.override?.reason,
      kind: step.kind,
    })
    // Where somebody asked at the same moment, theirs goes first.
    await request.then(
      () => (asked += 1),
      () => undefined,
    )
  }
  return asked
}

export interface WantedStep {
  readonly to: Stage
  readonly percent: number
  readonly kind: Extract<FlipRow['kind'], 'file' | 'back'>
}

/** A step that the file wants and that would move the owner: it stands as proposed until somebody has approved it. */
export interface Proposal {
  readonly plan: Plan
  /** So many persons must approve it. */
  readonly needed: number
  readonly approvals: readonly Approval[]
}

/** Undefined where the file proposes nothing, or is gone. */
export async function readProposal(
  store: Store,
  project: Project,
  fact: Pick<SliceFact, 'name'> & Omit<Wanted, 'percent'>,
): Promise<Proposal | undefined> {
  const step = proposedStep(fact)
  if (!step || !project.slices.some(each => each.name === fact.name)) return undefined
  const epoch = await ownerEpoch(store, fact.name)
  const plan = planOf(project, { slice: fact.name, from: fact.stage, epoch, ...step })
  const needed = Math.max(1, approvalsOf(project, fact.name))
  // One word, one attempt that clients feel: after a flip that was undone it must be given once more.
  const undone = await lastUndoneMs(store, fact.name)
  const approvals = (await readApprovals(store, plan)).filter(each => each.atMs > undone)
  return { plan, needed, approvals }
}

function approvedStep({ plan, needed, approvals }: Proposal): WantedStep | undefined {
  if (approvals.length < needed) return undefined
  return { to: plan.to, percent: plan.percent, kind: 'file' }
}

type Wanted = Pick<SliceFact, 'stage' | 'percent' | 'wantedStage' | 'wantedPercent' | 'override'>

/** The step that the file wants, where it would move the owner and nothing holds the slice. */
export function proposedStep(
  fact: Omit<Wanted, 'percent'>,
): Pick<WantedStep, 'to' | 'percent'> | undefined {
  if (fact.wantedStage === null || fact.override) return undefined
  const to = stepTowards(fact.stage, fact.wantedStage)
  if (to === undefined || to === 'retired' || !movesOwner(fact.stage, to)) return undefined
  return { to, percent: to === 'canary' ? (fact.wantedPercent ?? 0) : 0 }
}

/**
 * The next step that may be taken without asking anybody: undefined where nothing is to do, or where the file wants a
 * step that would move the owner (`proposedStep`).
 */
export function nextStep(fact: Wanted): WantedStep | undefined {
  const kind = fact.override ? 'back' : 'file'
  const wanted = fact.override?.stage ?? fact.wantedStage
  if (wanted === null) return undefined
  const to = stepTowards(fact.stage, wanted)
  if (to === undefined) return undefined
  const back = STAGE_NAMES.indexOf(to) < STAGE_NAMES.indexOf(fact.stage)
  if (kind === 'back' ? !back : movesOwner(fact.stage, to)) return undefined
  const percent = to === 'canary' ? (fact.wantedPercent ?? 0) : 0
  if (to === fact.stage && (to !== 'canary' || percent === fact.percent)) return undefined
  return { to, percent, kind }
}

/** All the steps that would be taken by themselves, one after the other. */
export function stepsAhead(fact: Wanted): WantedStep[] {
  const steps: WantedStep[] = []
  for (
    let step = nextStep(fact);
    step;
    step = nextStep({ ...fact, stage: step.to, percent: step.percent })
  ) {
    steps.push(step)
  }
  return steps
}

/** Slices in motion whose file is gone: without it nobody knows their tables and routes, so the last files count. */
export function lostSlices(project: Project, facts: readonly SliceFact[]): SliceFact[] {
  return facts.filter(
    fact => fact.stage !== 'legacy' && !project.slices.some(slice => slice.name === fact.name),
  )
}

/** What the files want, as the control database keeps it. */
export function wantedOf(project: Project) {
  return project.slices.map(({ name, service, stage, canary }) => ({
    name,
    service,
    stage,
    percent: canary.percent,
  }))
}

/** One step forward, or straight back. Undefined where no path leads there. */
export function stepTowards(from: Stage, to: Stage): Stage | undefined {
  if (from === to) return to
  const forward = STAGE_NAMES.indexOf(to) > STAGE_NAMES.indexOf(from)
  if (forward) return STAGES[from].next[0]
  return STAGES[from].next.includes(to) ? to : STAGES[from].next[1]
}
