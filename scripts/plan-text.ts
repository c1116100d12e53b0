/** `banyan plan` as text. Pure: it prints what was measured, and nothing that wasn't. */
import { countOf, timeText } from './amounts.ts'
import { stageText } from './flip-text.ts'
import { type Paint, problemLines } from './paint.ts'
import type { Plan } from './plan.ts'
import { flow, lengthOf, pad, wrap } from './table.ts'

/** Columns before the text of a step or a change. */
const LABEL = 12

/** Lines without the last one (`next:`). */
export function planLines(plan: Plan, paint: Paint): string[] {
  const { colors, good, width } = paint
  const { slice, from, to, blockers } = plan
  const is = stageText(from.stage, from.percent)
  const title = `${colors.bold(slice)}  ${is} → ${colors.bold(stageText(to.stage, to.percent))}`
  if (plan.same)
    return [`${good} ${colors.bold(slice)} is at ${is} already`, 'Nothing was changed.']
  const kind = plan.fenced ? 'one pause' : plan.possible ? 'no pause' : ''
  const room = width - lengthOf(kind)
  return [
    kind !== '' && lengthOf(title) + 2 <= room ? pad(title, room) + colors.dim(kind) : title,
    ...plan.steps.flatMap((step, n) => stepLines(step, n + 1, paint)),
    ...(plan.steps.length > 0 ? pauseLines(plan, paint) : []),
    ...plan.changes.flatMap(({ who, what }) =>
      wrap(`  ${colors.dim(who.padEnd(LABEL - 2))}${what}`, width, ' '.repeat(LABEL)),
    ),
    ...(plan.after.length > 0 ? ['After it:'] : []),
    ...plan.after.flatMap(({ warns, what }) =>
      wrap(`  ${warns ? colors.yellow('!') : colors.dim('·')} ${what}`, width, '    '),
    ),
    ...(plan.wayBack === null ? [] : wrap(`way back: ${plan.wayBack}`, width, '  ')),
    ...blockers.flatMap(each => problemLines(paint, each)),
    ...(blockers.length === 0 ? [`${good} nothing stands in its way`] : []),
    closing(blockers.length > 0, paint),
  ].map(line => line.trimEnd())
}

function stepLines(
  { step, what, figures }: Plan['steps'][number],
  n: number,
  paint: Paint,
): string[] {
  const { colors, width } = paint
  const point = step === 'decide' ? colors.yellow('  ◀') : ''
  const head = `${colors.dim(String(n).padStart(2))} ${colors.bold(step.padEnd(LABEL - 3))}`
  const parts = [`${head}${colors.dim(what)}${point}`, ...figures]
  return flow(parts, width, { between: colors.dim(' · '), indent: ' '.repeat(LABEL) })
}

function pauseLines({ pause }: Plan, { colors, width }: Paint): string[] {
  if (pause === null) return []
  const { flips, p50Ms, maxMs, budgetMs } = pause
  const past =
    p50Ms === null || maxMs === null
      ? 'no flip of this kind yet'
      : flips === 1
        ? `${timeText(p50Ms)} the last time`
        : `${timeText(p50Ms)} p50, ${timeText(maxMs)} max of the last ${countOf(flips, 'flip')}`
  const budget = `undone if it takes more than ${timeText(budgetMs)}`
  const text = [past, budget].join(colors.dim(' · '))
  return wrap(`   ${colors.bold('pause'.padEnd(LABEL - 3))}${text}`, width, ' '.repeat(LABEL))
}

function closing(blocked: boolean, { colors, width }: Paint): string {
  const text = 'Nothing was changed.'
  return blocked ? pad(text, width - 'exit 3'.length) + colors.dim('exit 3') : text
}
