/** The few colors and marks that all screens share. */
import pc from 'picocolors'
import type { Context } from './context.ts'
import { wrap, widthOf } from './table.ts'

export interface Problem {
  readonly code: string
  readonly message: string
  readonly hint: string
}

export type Colors = ReturnType<typeof pc.createColors>

export interface Paint {
  readonly colors: Colors
  /** ✔ */
  readonly good: string
  /** ✖ */
  readonly bad: string
  /** ? */
  readonly unknown: string
  /** Columns that may be used. */
  readonly width: number
}

export function paintOf(context: Pick<Context, 'color' | 'columns'>): Paint {
  const colors = pc.createColors(context.color)
  return {
    colors,
    good: colors.green('✔'),
    bad: colors.red('✖'),
    unknown: colors.yellow('?'),
    width: widthOf(context),
  }
}

/** `✖ CODE  message`, wrapped, and the hint under it. `known: false`: it is merely not known. */
export function problemLines(
  { colors, width }: Paint,
  problem: Problem,
  { known = true, hint = true }: { readonly known?: boolean; readonly hint?: boolean } = {},
): string[] {
  const color = known ? colors.red : colors.yellow
  const head = `${color(known ? '✖' : '?')} ${color(problem.code)}  ${problem.message}`
  const lines = wrap(head, width, '  ')
  return hint ? [...lines, ...wrap(`  ${problem.hint}`, width, '  ').map(colors.cyan)] : lines
}

/** `41 ✔  2 ✖  3 ? could not be looked at` */
export function countsText(
  colors: Colors,
  { ok, bad, unknown }: { readonly ok: number; readonly bad: number; readonly unknown: number },
): string {
  return [
    colors.green(`${ok} ✔`),
    ...(bad > 0 ? [colors.red(`${bad} ✖`)] : []),
    ...(unknown > 0 ? [colors.yellow(`${unknown} ? could not be looked at`)] : []),
  ].join('  ')
}

/** `next: banyan verify x`; never broken, so that it can be copied. */
export function nextLine({ colors }: Paint, { self }: Context, command: string): string {
  return `next: ${colors.bold(`${self} ${command}`)}`
}
