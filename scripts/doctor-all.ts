/** `banyan doctor` without a slice: every database, its roles and its server, and all slices, each problem once. */
import pc from 'picocolors'
import { Closers } from '../model/closers.ts'
import { BanyanError } from '../model/errors.ts'
import { CONTROL_ERRORS } from '../model/errors-control.ts'
import { countOf } from './amounts.ts'
import { commandLine, type Context, type ExitCode, jsonText } from './context.ts'
import { askControl, openStore } from './control-store.ts'
import { byStep, type Check, check, countsOf, pressing, problemsOf } from './doctor-checks.ts'
import { lookAtControl } from './doctor-control.ts'
import {
  examine,
  type Examined,
  type Loaded,
  lookAtDatabase,
  monolithChecks,
  problemsOfError,
} from './doctor-look.ts'
import { fit } from './fit.ts'
import { countsText, paintOf, problemLines } from './paint.ts'
import { flow, printable, widthOf } from './table.ts'
import { openControlUrl } from './wiring.ts'

/** Throws only what is no finding: a defect. */
export async function doctorAll(context: Context, loaded: Loaded): Promise<ExitCode> {
  const databases = [
    ...(await controlChecks(context, loaded)),
    ...(await databaseChecks(context, loaded)),
    ...(await monolithChecks(loaded)),
  ]
  const examined = await examineAll(context, loaded)
  const found = [...databases, ...examined.flatMap(each => each.checks)]
  const asleep = found.some(isAsleep)
  const checks = merged(found.map(each => (isAsleep(each) ? unasked(each) : each)))
  const counts = countsOf(checks)
  // What concerns a later step of its slice alone can wait.
  const later = new Set(
    examined.flatMap(({ checks: own, stage = 'legacy' }) =>
      problemsOf(own)
        .filter(each => !pressing(each, stage))
        .map(each => each.message),
    ),
  )
  const urgent = problemsOf(checks).some(each => !later.has(each.message))
  const slices = loaded.project.slices.map(each => each.name)
  context.write(
    context.json
      ? jsonText({ slices, ...counts, controlStarted: !asleep, checks })
      : screen(context, loaded, checks, { asleep, urgent }),
  )
  return counts.bad === 0 ? 0 : 3
}

async function controlChecks(context: Context, loaded: Loaded): Promise<Check[]> {
  try {
    const url = await openControlUrl(context.config, loaded)
    await askControl(url)
    await using opened = openStore(url)
    return [check('control', 'answers', []), ...(await lookAtControl(opened.store))]
  } catch (error) {
    if (!(error instanceof BanyanError)) throw error
    return [check('control', 'answers', problemsOfError(error))]
  }
}

/** What doesn't depend on a slice: is each role there, may it do its work and no more, what is the server. */
async function databaseChecks(context: Context, loaded: Loaded): Promise<Check[]> {
  const checks: Check[] = []
  for (const name of ['legacy', ...Object.keys(loaded.project.banyan.services)]) {
    await using opened = new Closers()
    const side = name === 'legacy' ? 'legacy' : 'service'
    const wanted = { side, name, tables: [], copies: [], slots: [] } as const
    checks.push(...(await lookAtDatabase(context, loaded, wanted, opened)).checks)
  }
  return checks
}

/** One slice after the other: each takes sessions in two databases. */
async function examineAll(
  context: Context,
  loaded: Loaded,
): Promise<Pick<Examined, 'stage' | 'checks'>[]> {
  const all: Pick<Examined, 'stage' | 'checks'>[] = []
  for (const slice of loaded.project.slices) {
    await using opened = new Closers()
    const { stage, checks } = await examine(context, loaded, slice, opened)
    all.push({ stage, checks })
  }
  return all
}

/** An embedded control database before the first `up` is no fault. */
function isAsleep({ problems }: Check): boolean {
  return problems.some(each => each.code === CONTROL_ERRORS.CONTROL_NOT_STARTED.code)
}

function unasked({ where, what }: Check): Check {
  return { where, what, state: 'unknown', problems: [] }
}

const RANK = { ok: 0, unknown: 1, bad: 2 } as const

/** The same question about the same place is one check, whoever asked it; hints name no slice of several. */
function merged(checks: readonly Check[]): Check[] {
  const known = new Map<string, Check>()
  for (const each of checks) {
    const key = JSON.stringify([each.where, each.what])
    const before = known.get(key)
    const state = before && RANK[before.state] > RANK[each.state] ? before.state : each.state
    const problems = [...(before?.problems ?? []), ...each.problems].map(one => ({
      ...one,
      hint: one.hint.replace(/`banyan doctor (?:<slice>|[a-z0-9_]+)`/g, '`banyan doctor`'),
    }))
    const once = new Map(problems.map(one => [`${one.code} ${one.message}`, one]))
    known.set(key, { where: each.where, what: each.what, state, problems: [...once.values()] })
  }
  return [...known.values()]
}

function screen(
  context: Context,
  { project }: Loaded,
  checks: readonly Check[],
  { asleep, urgent }: { readonly asleep: boolean; readonly urgent: boolean },
): string {
  const colors = pc.createColors(context.color)
  const problems = printable(problemsOf(checks))
  const { slices, banyan } = project
  const databases = 2 + Object.keys(banyan.services).length
  const places = [...new Set(checks.map(each => each.where))].map(where => {
    const { ok, bad, unknown } = countsOf(checks.filter(each => each.where === where))
    const parts = [`${ok} ✔`, bad > 0 ? `${bad} ✖` : '', unknown > 0 ? `${unknown} ?` : '']
    return `${where} ${parts.filter(part => part !== '').join(' ')}`
  })
  const lines = [
    `${colors.bold(countOf(slices.length, 'slice'))}, ${countOf(databases, 'database')}`,
    countsText(colors, countsOf(checks)),
    ...flow(places, widthOf(context) - 2, { indent: '  ' }).map((line, n) =>
      n === 0 ? `  ${line}` : line,
    ),
    ...byStep(problems).flatMap(step => [
      ...(step.title === undefined ? [] : [colors.bold(step.title)]),
      ...step.problems.flatMap(each => problemLines(paintOf(context), each)),
    ]),
    ...(asleep ? ['? control is embedded, and not up: `banyan up` starts it'] : []),
  ]
  const next = urgent ? 'doctor' : slices.length === 0 ? 'lint' : asleep ? 'up' : 'status'
  return `${[...fit(context, lines), `next: ${commandLine(context, next)}`].join('\n')}\n`
}
