/** Writes that going back would lose, as lines. */
import { type Loss, lossText, type WayBack } from '../control/way-back.ts'
import { STAGES } from '../model/stage.ts'
import { ageText, countOf } from './amounts.ts'

const SHOWN = 5
const VERBS = { c: 'INSERT', u: 'UPDATE', d: 'DELETE', t: 'TRUNCATE' }

/** What going back costs a moved slice now: the promise only where it holds. */
export function wayBackWords({ state, loses }: WayBack): string {
  if (state === 'lossless') return STAGES.moved.wayBack
  if (state === 'waits') return 'one pause, once its stream goes on'
  if (state === 'away') return 'waits for its database'
  return `would lose ${loses ? lossText(loses).replace(/,$/, '') : 'writes'}`
}

/** The first few, by their keys; `--json` has all that are named. */
export function pendingLines({ count, writes, unknown }: Loss, nowMs: number): string[] {
  const rest = (count ?? 0) - SHOWN
  return [
    ...(unknown === null ? [] : [`  how many isn't known: ${unknown}`]),
    ...writes
      .slice(0, SHOWN)
      .map(
        each =>
          `  ${VERBS[each.op]} ${each.table} ${each.key}  ${ageText(nowMs - each.committedAtMs)}`,
      ),
    ...(rest > 0 ? [`  and ${countOf(rest, 'more write')}: --json has the first 1,000`] : []),
  ]
}
