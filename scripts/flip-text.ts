/** A flip in words: where from, where to, how long nobody could write, and what the pause was made of. */
import pc from 'picocolors'
import type { FlipRow } from '../control/store/flips.ts'
import type { Stage } from '../model/stage.ts'
import type { Context } from './context.ts'
import { widthOf, wrap } from './table.ts'

export function stageText(stage: Stage, percent: number): string {
  return stage === 'canary' ? `canary ${percentText(percent)}` : stage
}

export function percentText(percent: number): string {
  return `${Number(percent.toFixed(2))} %`
}

/** `✔ appointments  canary 25 % → moved` */
export function flipLine(
  context: Pick<Context, 'color'>,
  slice: string,
  before: { readonly stage: Stage; readonly percent: number },
  flip: Pick<FlipRow, 'to' | 'percent'>,
): string {
  const colors = pc.createColors(context.color)
  const from = stageText(before.stage, before.percent)
  return `${colors.green('✔')} ${colors.bold(slice)}  ${from} → ${stageText(flip.to, flip.percent)}`
}

/** The steps of a flip of ownership: from the hold until every router has the new table. */
export function pauseOf(flip: Pick<FlipRow, 'steps'>): number {
  return flip.steps.reduce((sum, step) => sum + (step.ms ?? 0), 0)
}

/** `  pause 118 ms = hold 3 · drain 41 · …`, in as many lines as it takes. */
export function stepsLine(
  context: Pick<Context, 'color' | 'columns'>,
  flip: Pick<FlipRow, 'steps'>,
): string {
  const colors = pc.createColors(context.color)
  const head = `  ${colors.bold(`pause ${Math.round(pauseOf(flip))} ms`)} =`
  return wrap(`${head} ${stepsText(flip)}`, widthOf(context), '    ').join('\n')
}

/** `hold 3 · drain 41 · …` */
export function stepsText(flip: Pick<FlipRow, 'steps'>): string {
  const parts = flip.steps.map(({ step, ms }) => `${step} ${ms === null ? '?' : Math.round(ms)}`)
  return parts.join(' · ')
}
