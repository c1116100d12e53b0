/** A flip in words: where from, where to, how long nobody could write, and what the pause was made of. */
import pc from 'picocolors'
import type { WantedStep } from '../control/reconcile.ts'
import type { FlipRow } from '../control/store/flips.ts'
import type { Slice } from '../model/project.ts'
import { movesOwner, type Stage } from '../model/stage.ts'
import { timeText } from './amounts.ts'
import type { Context } from './context.ts'
import { flow, widthOf } from './table.ts'

export function stageText(stage: Stage, percent: number): string {
  return stage === 'canary' ? `canary ${percentText(percent)}` : stage
}

export function percentText(percent: number): string {
  return `${Number(percent.toFixed(2))} %`
}

/** What a slice's file wants. */
export function wantsText({ stage, canary }: Pick<Slice, 'stage' | 'canary'>): string {
  return stageText(stage, canary.percent)
}

/** `to sync, then shadow, then canary 5 %` */
export function roadText(steps: readonly WantedStep[]): string {
  return `to ${steps.map(each => stageText(each.to, each.percent)).join(', then ')}`
}

/** What of a file's wish doesn't happen by itself; empty where all does. */
export function proposedText(slice: Pick<Slice, 'stage'>, steps: readonly WantedStep[]): string {
  return steps.at(-1)?.to === slice.stage ? '' : `; ${slice.stage} stands as proposed from there`
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
  const [first = '', ...rest] = stepsText(flip).split(' · ')
  return flow([`${head} ${first}`, ...rest], widthOf(context), { indent: '    ' }).join('\n')
}

/** `hold 3 · drain 41 · …` */
export function stepsText(flip: Pick<FlipRow, 'steps'>): string {
  const parts = flip.steps.map(({ step, ms }) => `${step} ${ms === null ? '?' : Math.round(ms)}`)
  return parts.join(' · ')
}

/** While it is under way, in one line: `hold 3 · drain 41 · fence …`. */
export function progressText(flip: FlipRow): string {
  if (flip.startedAtMs === null) return 'the checks …'
  if (flip.steps.length === 0) return `${flip.from} → ${stageText(flip.to, flip.percent)} …`
  const parts = flip.steps.map(({ step, ms }) => `${step} ${ms === null ? '…' : Math.round(ms)}`)
  return parts.join(' · ')
}

/**
 * What becomes of a flip that nobody waits for any more, as honest as can be: before its decision nobody knows how it ends.
 * `ours`: whoever stops waiting is the one who carries it out. `holdMs`: its whole budget.
 */
export function leftText(
  flip: FlipRow,
  { ours, holdMs }: { ours: boolean; holdMs: number },
): string {
  const to = stageText(flip.to, flip.percent)
  if (flip.startedAtMs === null) {
    if (ours) return 'it has not begun, and is taken back'
    return `it has not begun; it stays asked for, and begins without you (banyan pause ${flip.slice} keeps it from that)`
  }
  const at = flip.steps.at(-1)
  if (flip.kind === 'rehearsal') return `it is rehearsing, and ends by itself; nothing moves`
  if (at === undefined || !movesOwner(flip.from, flip.to)) {
    return `it has begun, and goes on to ${to}${ours ? ' first' : ' without you'}`
  }
  const decide = flip.steps.find(each => each.step === 'decide')
  const failed = (decide?.detail as { failed?: string } | null | undefined)?.failed !== undefined
  if (decide && decide.ms !== null && !failed) {
    const way = ours ? 'it completes first' : 'it completes without you'
    return `it is past its decision: ${way}, and ${flip.slice} goes to ${to}`
  }
  if (decide) return `it is being decided at this moment: it completes, or it is undone, by itself`
  const here = `it is at ${at.step}, before its decision`
  return ours
    ? `${here}: it is undone and ${flip.slice} stays at ${flip.from}, unless it is decided first`
    : `${here}: within ${timeText(holdMs)} of its hold it completes or undoes itself, without you`
}
