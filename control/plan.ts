/** A plan: one step that would move the owner, and a hash over all that the decision to take it rests on. Pure. */
import { createHash } from 'node:crypto'
import { must } from '../model/errors.ts'
import type { Project } from '../model/project.ts'
import { movesOwner, type Stage, STAGES } from '../model/stage.ts'

export interface OwnerStep {
  readonly slice: string
  readonly from: Stage
  readonly to: Stage
  /** Of the keys whose reads the service answers there; 0 where that isn't canary. */
  readonly percent: number
  /** In which the owner became the owner; 0: it has been legacy all along. */
  readonly epoch: number
}

export interface Plan extends OwnerStep {
  /** SHA-256, hex. People are shown its beginning; approvals are compared as a whole. */
  readonly hash: string
}

/**
 * The epoch in it is the one in which the owner last changed: others are used up by rehearsals, by flips that are undone
 * and by each new controller, and nobody decides anything by those. The slice's own stage and percentage are left out:
 * the flip itself writes them, and they are in the step.
 */
export function planOf(project: Project, wanted: OwnerStep): Plan {
  const { slice: name, from, to, percent, epoch } = wanted
  const step = { slice: name, from, to, percent, epoch }
  const slice = must(
    project.slices.find(each => each.name === name),
    name,
  )
  const { stage: _stage, canary, ...file } = slice
  const { percent: _percent, ...readers } = canary
  const service = project.banyan.services[slice.service]
  const basis = { ...step, file: { ...file, canary: readers }, service }
  return { ...step, hash: createHash('sha256').update(sorted(basis)).digest('hex') }
}

/** As JSON with the keys of every map in order: moving a line about in a file changes no decision. */
function sorted(value: unknown): string {
  return JSON.stringify(value, (_key, each: unknown) => {
    if (typeof each !== 'object' || each === null || Array.isArray(each)) return each
    return Object.fromEntries(Object.entries(each).sort(([a], [b]) => (a < b ? -1 : 1)))
  })
}

/** Hex digits that people are shown, and type. */
export const SHORT = 6

export function shortHash({ hash }: Pick<Plan, 'hash'>): string {
  return hash.slice(0, SHORT)
}

/** The stage behind the next step that would move the owner; undefined where none of the steps from here does. */
export function acrossFrom(stage: Stage): Stage | undefined {
  return STAGES[stage].next.find(to => to !== 'retired' && movesOwner(stage, to))
}

/** One person on two machines is one person: `ann@laptop`, `ann@bastion`. */
export function personOf(actor: string): string {
  return actor.replace(/@[^@]*$/, '').toLowerCase()
}
