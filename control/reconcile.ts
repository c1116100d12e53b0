/** Makes the facts follow the files, one step at a time, where that needs nobody's word: never where the owner would move. */
import { movesOwner, type Stage, STAGES, STAGE_NAMES } from '../model/stage.ts'
import { requestFlip, readFlips } from './store/flips.ts'
import { readSlices, type SliceFact } from './store/slices.ts'
import type { Store } from './store/store.ts'

/** A refused step isn't tried again before this: its reasons need time, or a person. */
const AGAIN_MS = 5_000

/** Asks for the flips that the files want and that may happen by themselves. */
export async function reconcile(store: Store): Promise<void> {
  const open = await readFlips(store, { open: true, limit: 1000 })
  for (const fact of await readSlices(store.pool)) {
    const step = nextStep(fact)
    if (!step || open.some(flip => flip.slice === fact.name)) continue
    const last = (await readFlips(store, { slice: fact.name, limit: 1 }))[0]
    const refused = last?.outcome === 'refused' || last?.outcome === 'undone'
    if (refused && last.to === step.to && Date.now() - (last.endedAtMs ?? 0) < AGAIN_MS) continue
    await requestFlip(store, {
      slice: fact.name,
      from: fact.stage,
      to: step.to,
      percent: step.percent,
      actor: 'file',
      kind: 'file',
    }).catch(() => undefined) // somebody asked at the same moment: theirs goes first
  }
}

export interface WantedStep {
  readonly to: Stage
  readonly percent: number
}

/**
 * The next step that the file wants and that may be taken without a person: undefined where nothing is to do, where a
 * brake is on, or where the step would move the owner (it stands as proposed until somebody runs it).
 */
export function nextStep(
  fact: Pick<SliceFact, 'stage' | 'percent' | 'wantedStage' | 'wantedPercent' | 'override'>,
): WantedStep | undefined {
  if (fact.override || fact.wantedStage === null) return undefined
  const to = stepTowards(fact.stage, fact.wantedStage)
  if (to === undefined || movesOwner(fact.stage, to)) return undefined
  const percent = to === 'canary' ? (fact.wantedPercent ?? 0) : 0
  if (to === fact.stage && (to !== 'canary' || percent === fact.percent)) return undefined
  return { to, percent }
}

/** One step forward, or straight back. Undefined where no path leads there. */
export function stepTowards(from: Stage, to: Stage): Stage | undefined {
  if (from === to) return to
  const forward = STAGE_NAMES.indexOf(to) > STAGE_NAMES.indexOf(from)
  if (forward) return STAGES[from].next[0]
  return STAGES[from].next.includes(to) ? to : STAGES[from].next[1]
}
