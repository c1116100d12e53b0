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
  return [
    ...titleLines(plan, title, paint),
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
    ...approvalLines(plan, paint),
    ...blockers.flatMap(each => problemLines(paint, each)),
    ...(blockers.length === 0 ? [`${good} nothing stands in its way`] : []),
    closing(blockers.length > 0, paint),
  ].map(line => line.trimEnd())
}

/** With what it costs and its hash at the right, or below where there is no room. */
function titleLines(plan: Plan, title: string, { colors, width }: Paint): string[] {
  if (!plan.possible || plan.plan === null) return [title]
  const { short, goodForMs } = plan.plan
  const good = goodForMs === null ? '' : `, good for ${timeText(goodForMs)}`
  const cost = plan.fenced ? 'one pause' : 'no pause'
  const about = `${cost} · plan ${short}${good}`
  const room = width - lengthOf(about)
  if (lengthOf(title) + 2 > room) return [title, ...wrap(colors.dim(`  ${about}`), width, '  ')]
  return [pad(title, room) + colors.dim(about)]
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

function approvalLines({ plan }: Plan, { colors, width }: Paint): string[] {
  if (plan === null) return []
  const { approvedBy, proposed } = plan
  return [
    ...(proposed ? [colors.yellow('proposed by the file: it is carried out once approved')] : []),
    ...(approvedBy.length > 0 ? [`approved by ${approvedBy.join(', ')}`] : []),
  ].flatMap(line => wrap(line, width, '  '))
}

function pauseLines({ pause }: Plan, { colors, width }: Paint): string[] {
  if (pause === null) return []
  const { flips, rehearsals, p50Ms, maxMs, budgetMs } = pause
  const kinds = [
    ...(flips > 0 ? [countOf(flips, 'flip')] : []),
    ...(rehearsals > 0 ? [countOf(rehearsals, 'rehearsal')] : []),
  ].join(' and ')
  const past =
    p50Ms === null || maxMs === null
      ? 'no flip or rehearsal of this kind yet'
      : flips + rehearsals === 1
        ? `${timeText(p50Ms)} the last time${rehearsals === 1 ? ', rehearsed' : ''}`
        : `${timeText(p50Ms)} p50, ${timeText(maxMs)} max of the last ${kinds}`
  const budget = `undone if it takes more than ${timeText(budgetMs)}`
  const text = [past, budget].join(colors.dim(' · '))
  return wrap(`   ${colors.bold('pause'.padEnd(LABEL - 3))}${text}`, width, ' '.repeat(LABEL))
}

function closing(blocked: boolean, { colors, width }: Paint): string {
  const text = 'Nothing was changed.'
  return blocked ? pad(text, width - 'exit 3'.length) + colors.dim('exit 3') : text
}
