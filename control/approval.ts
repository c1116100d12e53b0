/** Who must say yes before somebody moves the owner of a slice, and who has. */
import type { Project } from '../model/project.ts'
import { must } from '../model/errors.ts'
import { movesOwner } from '../model/stage.ts'
import { type OwnerStep, type Plan, personOf, planOf } from './plan.ts'
import type { FlipRow } from './store/flips.ts'
import { ownerEpoch, readApprovals } from './store/plans.ts'
import type { Store } from './store/store.ts'

export interface Asker {
  readonly actor: string
  readonly kind: FlipRow['kind']
  readonly percent: number
}

export interface ApprovalFact {
  readonly plan: Plan
  /** So many persons; others than the one who asks, where that is a person and not the file. */
  readonly needed: number
  readonly others: boolean
  readonly by: readonly string[]
  /** Who asks has approved it as well; that doesn't count. */
  readonly own: boolean
}

/** Null where a flip needs nobody's: it moves no owner, or moves nothing at all, or it is a brake. */
export async function readApproval(
  store: Store,
  project: Project,
  step: Omit<OwnerStep, 'epoch' | 'percent'>,
  asker: Asker,
): Promise<ApprovalFact | null> {
  const { actor, kind, percent } = asker
  if (!movesOwner(step.from, step.to) || kind === 'back' || kind === 'rehearsal') return null
  const wanted = approvalsOf(project, step.slice)
  // A file is nobody: what it proposes takes a person, and whoever wrote it may be the one.
  const needed = kind === 'file' ? Math.max(1, wanted) : wanted
  if (needed === 0) return null
  const plan = planOf(project, { ...step, percent, epoch: await ownerEpoch(store, step.slice) })
  const others = kind !== 'file'
  const all = (await readApprovals(store, plan)).map(each => each.actor)
  const by = others ? all.filter(each => personOf(each) !== personOf(actor)) : all
  return { plan, needed, others, by, own: by.length < all.length }
}

export function approvalsOf({ slices }: Project, name: string): number {
  return must(
    slices.find(each => each.name === name),
    name,
  ).cutover.approvals
}
