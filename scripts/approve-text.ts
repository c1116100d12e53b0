/** `banyan approve` as text. Pure. */
import { shortHash } from '../control/plan.ts'
import type { FlipRow } from '../control/store/flips.ts'
import { must } from '../model/errors.ts'
import { STAGES } from '../model/stage.ts'
import { countOf, timeText } from './amounts.ts'
import type { Approved } from './approve.ts'
import { commandLine, type Context } from './context.ts'
import { fit } from './fit.ts'
import { flipLine, stageText, stepsLine } from './flip-text.ts'
import { nextLine, paintOf, problemLines } from './paint.ts'

/** `flip`: how the file's change was carried out; undefined where that isn't what was approved, or not yet. */
export function approveLines(
  context: Context,
  approved: Approved,
  flip: FlipRow | undefined,
): string[] {
  const paint = paintOf(context)
  const { plan, fromPercent } = approved
  const { slice, from, to } = plan
  const what = `${stageText(from, fromPercent)} → ${stageText(to, plan.percent)}`
  const head = `${paint.good} ${paint.colors.bold(slice)}  plan ${shortHash(plan)} approved: ${what}`
  const lines = fit(context, [head, ...(flip ? [] : standingLines(approved))])
  if (!flip) return [...lines, nextLine(paint, context, nextOf(approved))]
  if (flip.outcome !== 'done') return [...lines, ...failedLines(context, approved, flip)]
  const way = STAGES[to].wayBack
  return [
    ...lines,
    flipLine(context, slice, { stage: from, percent: fromPercent }, flip),
    ...(flip.steps.length > 0 ? stepsLine(context, flip).split('\n') : []),
    ...(flip.error ? problemLines(paint, flip.error) : []),
    nextLine(paint, context, `status ${slice}`),
    `way back: ${way}: ${commandLine(context, `back ${slice}`)}`,
  ]
}

function standingLines({ approvals, needed, proposed, goodForMs, file }: Approved): string[] {
  const by = approvals.map(each => each.actor).join(', ')
  const approved = `  approved by ${by}; good for ${timeText(goodForMs)}`
  const missing = needed - approvals.length
  const more = `${countOf(missing, 'more person')} must approve it`
  if (proposed) return [approved, `  proposed by ${file}: ${more}`]
  if (needed === 0) {
    return [approved, '  nobody has to approve it (cutover.approvals: 0): it is in the journal']
  }
  if (missing > 0) return [approved, `  ${more}`]
  if (missing < 0) return [approved, '  that is enough, whoever asks for the flip']
  return [approved, `  enough, unless ${by} asks for the flip: nobody's own approval counts`]
}

function nextOf({ plan, proposed, needed, approvals }: Approved): string {
  const { slice, to } = plan
  return proposed || approvals.length < needed ? `plan ${slice} ${to}` : `flip ${slice} ${to}`
}

function failedLines(context: Context, { plan, goodForMs }: Approved, flip: FlipRow): string[] {
  const paint = paintOf(context)
  const error = must(flip.error, 'why it was not done')
  const stays =
    flip.outcome === 'refused'
      ? `  it stays proposed, and is tried again while the approval is good: ${timeText(goodForMs)}`
      : '  it stays proposed; for another try it must be approved once more'
  return [
    ...(error.blockers ?? []).flatMap(each => problemLines(paint, each)),
    ...problemLines(paint, error),
    ...fit(context, [stays]),
    nextLine(paint, context, `why ${plan.slice}`),
  ]
}
