/** Writes that were refused, and writes that went around the gates, as lines. */
import { ageText, countOf } from './amounts.ts'
import { type Look, REFUSED_HOURS } from './look.ts'
import type { Paint } from './paint.ts'

const SHOWN = 5
/** The store returns no more of the refused than this. */
const REFUSED_MAX = 100

export function findingLines(
  { refused, rogue, nowMs }: Pick<Look, 'refused' | 'rogue' | 'nowMs'>,
  paint: Paint,
): string[] {
  return [...rogueLines({ rogue, nowMs }, paint), ...refusedLines({ refused, nowMs }, paint)]
}

function rogueLines(
  { rogue, nowMs }: Pick<Look, 'rogue' | 'nowMs'>,
  { colors, bad }: Paint,
): string[] {
  const lost = rogue.filter(each => each.lost)
  return [
    ...writeLines(
      rogue.filter(each => !each.lost),
      nowMs,
      { colors, bad },
    ),
    ...(lost.length === 0
      ? []
      : [
          `${bad} ${colors.red(`${countOf(lost.length, 'write')} of a database that was given up`)}, not in legacy:`,
          ...shown(lost, nowMs, colors),
        ]),
  ]
}

function writeLines(
  rogue: Look['rogue'],
  nowMs: number,
  { colors, bad }: Pick<Paint, 'colors' | 'bad'>,
): string[] {
  if (rogue.length === 0) return []
  const went = rogue.length === 1 ? 'write went' : 'writes went'
  return [
    `${bad} ${colors.red(`${rogue.length} ${went} around the gates`)}, on the side that isn't the owner:`,
    ...shown(rogue, nowMs, colors),
  ]
}

function shown(writes: Look['rogue'], nowMs: number, colors: Paint['colors']): string[] {
  return [
    ...writes
      .slice(0, SHOWN)
      .map(
        ({ slice, side, operation, relation, key, at }) =>
          `  ${slice}  ${sideText(side)}  ${operation} ${relation} ${key}  ${ageText(nowMs - Date.parse(at))}`,
      ),
    ...more(writes.length, colors),
  ]
}

function refusedLines(
  { refused, nowMs }: Pick<Look, 'refused' | 'nowMs'>,
  { colors }: Paint,
): string[] {
  if (refused.length === 0) return []
  const groups = new Map<string, { line: string; count: number; at: string }>()
  for (const { slice, side, operation, relation, role, application, at } of refused) {
    const who = application === '' ? `role ${role}` : `${application} (role ${role})`
    const line = `${slice}  ${sideText(side)}  ${operation} ${relation}  by ${who}`
    const known = groups.get(line)
    // Newest first: the first of a group says when it was last seen.
    groups.set(line, { line, count: (known?.count ?? 0) + 1, at: known?.at ?? at })
  }
  const count = refused.length < REFUSED_MAX ? `${refused.length}` : `${REFUSED_MAX} or more`
  return [
    `${colors.yellow('!')} refused writes, ${REFUSED_HOURS} h: ${count}`,
    ...[...groups.values()]
      .slice(0, SHOWN)
      .map(group => `  ${group.line}  ${timesText(group, nowMs)}`),
    ...more(groups.size, colors),
  ]
}

function timesText({ count, at }: { count: number; at: string }, nowMs: number): string {
  const age = ageText(nowMs - Date.parse(at))
  return count === 1 ? age : `${count} times, last ${age}`
}

function sideText(side: 'legacy' | 'service'): string {
  return side === 'legacy' ? 'in legacy' : 'in its service'
}

function more(count: number, colors: Paint['colors']): string[] {
  return count > SHOWN
    ? [colors.dim(`  and ${countOf(count - SHOWN, 'more line')}: --json has all`)]
    : []
}
