/** `banyan doctor`: looks at both databases of a slice, and says all at once what keeps it from moving and what changed. */
import pc from 'picocolors'
import type { ListedRogue } from '../control/store/findings.ts'
import { Closers } from '../model/closers.ts'
import { BanyanError } from '../model/errors.ts'
import { CONTROL_ERRORS } from '../model/errors-control.ts'
import { type Side, STAGES } from '../model/stage.ts'
import { unqualified } from '../model/wiring.ts'
import { countOf } from './amounts.ts'
import type { DoctorOptions } from './banyan.ts'
import { commandLine, type Context, type ExitCode, jsonText } from './context.ts'
import { type Accepted, acceptAll } from './doctor-accept.ts'
import { doctorAll } from './doctor-all.ts'
import { byStep, countsOf, pressing, problemsOf } from './doctor-checks.ts'
import { changedText } from './doctor-gates.ts'
import { type Examined, examine } from './doctor-look.ts'
import { rebuildControl } from './doctor-rebuild.ts'
import { fit } from './fit.ts'
import { stageText } from './flip-text.ts'
import { countsText, paintOf, problemLines } from './paint.ts'
import { printable } from './table.ts'
import { openProject } from './wiring.ts'

/** Writes round the gate that are named; the rest is counted. `--json` has all. */
const ROGUE_SHOWN = 20

/**
 * Without a name, looks at all databases and slices. Throws CONFIG_MISSING, FilesInvalid, SLICE_UNKNOWN, OPTION_INVALID;
 * with `accept` also what keeps the control database away, and with `rebuildControl` what that throws.
 */
export async function runDoctor(
  context: Context,
  name: string | undefined,
  { accept = false, rebuildControl: rebuild = false }: DoctorOptions = {},
): Promise<ExitCode> {
  if (rebuild) {
    const other = accept ? '--accept' : name
    if (other === undefined) return rebuildControl(context)
    const details = ['--rebuild-control', other, 'it is about all slices at once', 'doctor']
    throw new BanyanError(CONTROL_ERRORS.OPTION_INVALID, details)
  }
  if (name === undefined && accept) {
    const details = ['--accept', 'all slices', 'what is right is said of one slice', 'doctor']
    throw new BanyanError(CONTROL_ERRORS.OPTION_INVALID, details)
  }
  const loaded = await openProject(context.config)
  if (name === undefined) return doctorAll(context, loaded)
  const slice = loaded.project.slices.find(each => each.name === name)
  if (!slice) {
    const known = loaded.project.slices.map(each => each.name).join(', ') || 'none yet'
    if (name !== undefined) throw new BanyanError(CONTROL_ERRORS.SLICE_UNKNOWN, [name, known])
    const details = ['the slice', '', `the slices are: ${known}`, 'doctor']
    throw new BanyanError(CONTROL_ERRORS.OPTION_INVALID, details)
  }
  await using opened = new Closers()
  let examined = await examine(context, loaded, slice, opened)
  let accepted: Accepted | undefined
  if (accept) {
    accepted = await acceptAll(examined, context.actor)
    examined = await examine(context, loaded, slice, opened)
  }
  const bad = problemsOf(examined.checks).length
  context.write(
    context.json ? jsonText(documentOf(examined, accepted)) : screen(context, examined, accepted),
  )
  return bad === 0 ? 0 : 3
}

function documentOf(examined: Examined, accepted: Accepted | undefined): object {
  const { slice, stage, percent, checks, notes, rogue, gates } = examined
  const gate = (side: Side) => {
    const state = gates[side]?.state
    if (!state) return null
    const { word, open, epoch, refused } = state
    return { word: Number(word), open, epoch, refused }
  }
  return {
    slice: slice.name,
    stage: stage ?? null,
    percent,
    ...countsOf(checks),
    gates: { legacy: gate('legacy'), service: gate('service') },
    checks,
    notes,
    rogue,
    ...(accepted && { accepted }),
  }
}

function screen(context: Context, examined: Examined, accepted: Accepted | undefined): string {
  const colors = pc.createColors(context.color)
  const { slice, checks } = examined
  const problems = printable(problemsOf(checks))
  const lines = [
    ...(accepted ? acceptedLines(context, examined, accepted) : []),
    `${colors.bold(slice.name)}  ${whereText(examined)}`,
    countsText(colors, countsOf(checks)),
  ]
  for (const step of byStep(problems)) {
    if (step.title !== undefined) lines.push(colors.bold(step.title))
    for (const each of step.problems) {
      lines.push(...problemLines(paintOf(context), each))
      if (each.code === 'ROGUE_WRITES') lines.push(...rogueLines(examined, examined.rogue))
    }
  }
  lines.push(...printable(examined.notes).map(each => `${colors.yellow('!')} ${each}`))
  const next = `next: ${commandLine(context, nextOf(examined, accepted))}`
  return `${[...fit(context, lines), next].join('\n')}\n`
}

function whereText({ slice, stage, percent, gates }: Examined): string {
  const at = stage ? `at ${stageText(stage, percent)}` : 'its stage is not known'
  const word = (side: Side, name: string) => {
    const state = gates[side]?.state
    return state && `${name} ${state.open ? 'open' : 'closed'} (epoch ${state.epoch})`
  }
  const words = [word('legacy', 'legacy'), word('service', slice.service)].filter(Boolean)
  return words.length > 0 ? `${at} · gates: ${words.join(', ')}` : `${at} · no gates yet`
}

function rogueLines({ slice }: Examined, rogue: readonly ListedRogue[]): string[] {
  const lines = printable(rogue.slice(0, ROGUE_SHOWN)).map(
    ({ side, at, operation, relation, key }) =>
      `  ${operation} ${unqualified(relation)} ${key}, at ${side === 'legacy' ? side : slice.service}, ${at}`,
  )
  const more = rogue.length - ROGUE_SHOWN
  return more > 0 ? [...lines, `  and ${more} more (see --json)`] : lines
}

function acceptedLines(context: Context, examined: Examined, accepted: Accepted): string[] {
  const colors = pc.createColors(context.color)
  const { writes, rogue, abandoned, changed, left } = accepted
  const { service } = examined.slice
  const lines: string[] = []
  if (writes + changed.length + abandoned.length === 0) lines.push('there is nothing to accept')
  else {
    const what = [
      ...(writes > 0 ? [`${countOf(writes, 'write')} round the gate`] : []),
      ...(changed.length > 0 ? [countOf(changed.length, 'changed object')] : []),
      ...(abandoned.length > 0 ? ['a database that was given up'] : []),
    ].join(' and ')
    lines.push(`${colors.green('✔')} accepted, and written in the journal: ${what}`)
    lines.push(...rogueLines(examined, rogue))
    if (writes > rogue.length) lines.push(`  and ${writes - rogue.length} that came in between`)
    lines.push(...printable(changed).map(each => `  ${each.where}: ${changedText(each)}`))
  }
  const to = [...new Set(rogue.map(({ side }) => (side === 'legacy' ? service : 'legacy')))]
  if (to.length > 0) {
    const there = to.join(' and ')
    lines.push(
      `${colors.yellow('!')} the writes were NOT carried to ${there}: at these keys the two sides may differ`,
    )
  }
  if (left.length > 0) {
    const why = 'something there must be put back first (see below)'
    lines.push(`${colors.yellow('!')} nothing was accepted in ${left.join(' and ')}: ${why}`)
  }
  return lines
}

function nextOf({ slice, stage, checks }: Examined, accepted: Accepted | undefined): string {
  const { name } = slice
  if (accepted && accepted.writes + accepted.changed.length > 0) return `verify ${name}`
  const found = problemsOf(checks)
  const codes = found.filter(each => pressing(each, stage ?? 'legacy')).map(each => each.code)
  const acceptable = ['ROGUE_WRITES', 'FINGERPRINT', 'ABANDONED', 'BOTH_OPEN', 'DATABASE_CHANGED']
  if (codes.includes(CONTROL_ERRORS.CONTROL_NOT_STARTED.code)) return 'up'
  if (codes.length > 0) {
    return codes.every(code => acceptable.includes(code))
      ? `doctor ${name} --accept`
      : `doctor ${name}`
  }
  return stage && STAGES[stage].stream === 'off' ? `flip ${name}` : `status ${name}`
}
