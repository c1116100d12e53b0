/**
 * The flip that moves ownership, as a table of steps (docs/flip.md). Plan, journal, status and tests read this table.
 * Before `decide` every failure returns to the old owner; after it everything goes forward.
 */
import type { Side } from '../model/stage.ts'
import type { CutoverRun } from './cutover-run.ts'
import * as act from './cutover-steps.ts'

export interface Step {
  readonly step: StepName
  readonly what: string
  readonly act: (run: CutoverRun) => Promise<void>
  /** What ends the epoch if this step fails. `release`: nothing was closed yet. `settle`: the one function that undoes. */
  readonly undo: 'release' | 'settle' | 'forward only'
}

export type StepName =
  'hold' | 'drain' | 'fence' | 'reach' | 'compare' | 'prepare' | 'decide' | 'open' | 'publish'

// prettier-ignore
export const STEPS: readonly Step[] = [
  { step: 'hold',    what: 'routers park new unsafe requests',               act: act.hold,    undo: 'release' },
  { step: 'drain',   what: 'those under way end, and the tables come to rest', act: act.drain, undo: 'release' },
  { step: 'fence',   what: 'the old owner closes',                           act: act.fence,   undo: 'settle' },
  { step: 'reach',   what: 'the stream applies all that came before',        act: act.reach,   undo: 'settle' },
  { step: 'compare', what: 'changed keys are equal, both sides standing still', act: act.compare, undo: 'settle' },
  { step: 'prepare', what: 'sequences move on, evidence is written',         act: act.prepare, undo: 'settle' },
  { step: 'decide',  what: 'one row in legacy: the point of no return',      act: act.decide,  undo: 'settle' },
  { step: 'open',    what: 'the new owner opens',                            act: act.open,    undo: 'forward only' },
  { step: 'publish', what: 'routers send the held requests to the new owner', act: act.publish, undo: 'forward only' },
]

/** Where the stream can't bring what the service has stored, and a person has given that up (control/abandon.ts). */
export const ABANDON_STEPS: readonly Step[] = STEPS.filter(
  ({ step }) => !['reach', 'compare', 'prepare'].includes(step),
).map(each => (each.step === 'decide' ? { ...each, act: act.giveUp } : each))

/** A rehearsal is all the steps before this one; in its place stands `abort`: ABORTED on purpose, and the hold ends. */
export const REHEARSED_UNTIL: StepName = 'prepare'

export function otherSide(side: Side): Side {
  return side === 'legacy' ? 'service' : 'legacy'
}
