/** What `banyan doctor` counts: one check is one question about one place, and problems are sorted under the question they answer. */
import type { BanyanError } from '../model/errors.ts'
import { PREFLIGHT_ERRORS } from '../model/errors-preflight.ts'
import { type Stage, STAGE_NAMES, STAGES } from '../model/stage.ts'
import type { Problem } from './context.ts'

export interface Found extends Problem {
  /** The step that is refused for it; absent: it stops none, or matters at once. */
  readonly before?: Stage
}

export interface Check {
  /** `legacy`, a service, `control`, or the slice itself. */
  readonly where: string
  readonly what: string
  /** `unknown`: what it takes to look wasn't there; another check says why. */
  readonly state: 'ok' | 'bad' | 'unknown'
  readonly problems: readonly Found[]
}

/** A question, and the codes that answer it with no. */
export type Question = readonly [what: string, codes: readonly string[]]

export const SERVER: readonly Question[] = [
  ['is a primary', ['STANDBY']],
  ['wal_level', ['WAL_LEVEL']],
  ['replication slots', ['SLOTS_EXHAUSTED']],
  ['WAL senders', ['SENDERS_EXHAUSTED']],
  ['durable', ['NOT_DURABLE']],
  ['encoding', ['ENCODING']],
]

export const ROLES: readonly Question[] = [
  ['apply owns nothing', ['ROLES_SAME']],
  ['capture: replication', ['ROLE_NOT_REPLICATION']],
  ['apply: session_replication_role', ['ROLE_REPLICA_DENIED']],
  ['setup: gates and publications', ['SETUP_DENIED']],
  ['owner is no superuser', ['ROLE_IS_SUPERUSER']],
]

export const TABLES: readonly Question[] = [
  ['tables are there', ['TABLE_MISSING']],
  ['kinds of tables', ['TABLE_KIND']],
  ['replica identity', ['NO_IDENTITY']],
  ['rules and subscriptions', ['RULE_WRITES', 'SUBSCRIBED']],
  ['grants', ['GRANT_MISSING', 'ROW_SECURITY']],
]

/** Of both databases together. */
export const PAIRS: readonly Question[] = [
  ['names', ['TARGET_SHARED', 'COLUMN_MISSING', 'COLUMN_TAKEN']],
  ['types', ['COLUMN_TYPE', 'COLUMN_UNSUPPORTED', 'ENUM_LABELS']],
  ['columns that must be filled', ['COLUMN_GENERATED', 'COLUMN_REQUIRED', 'MAPPING_ONE_WAY']],
  ['columns that stay behind', ['COLUMN_LEFT']],
  ['keys', ['KEY_MISMATCH', 'KEY_UNMAPPED']],
]

/** As control/checks.ts asks: preflight on the way to sync, the service before it is read, what is unanswered before it owns. */
const BEFORE: Readonly<Partial<Record<string, Stage>>> = {
  ...Object.fromEntries(Object.keys(PREFLIGHT_ERRORS).map(code => [code, 'sync'])),
  ...Object.fromEntries(
    [...SERVER, ...ROLES].flatMap(([, codes]) => codes).map(code => [code, 'sync']),
  ),
  // They keep nothing from moving, and are wrong at every stage.
  ...{ NOT_DURABLE: undefined, ROLES_SAME: undefined, ROLE_IS_SUPERUSER: undefined },
  SERVICE_DOWN: 'shadow',
  ...{ FK_CROSSES: 'moved', FK_ANSWER: 'moved', FK_COPY: 'moved', TRIGGER_UNANSWERED: 'moved' },
  ...{ SIDE_WRITE: 'moved', MAPPING_ONE_WAY: 'moved' },
}

/** The problem of a slice at that stage, with the step that it keeps it from. */
export function timed(problem: Found, stage: Stage): Found {
  const before = BEFORE[problem.code]
  const ahead = before && STAGE_NAMES.indexOf(before) > STAGE_NAMES.indexOf(stage)
  return ahead ? { ...problem, before } : problem
}

/** True where it matters now, or keeps a slice at that stage from its next step. */
export function pressing({ before }: Found, stage: Stage): boolean {
  return before === undefined || before === STAGES[stage].next[0]
}

/** What matters at once first, then under each step what it is refused for. */
export function byStep<T extends Found>(
  problems: readonly T[],
): { readonly title: string | undefined; readonly problems: readonly T[] }[] {
  return [undefined, ...STAGE_NAMES].flatMap(stage => {
    const these = problems.filter(each => each.before === stage)
    const title = stage && `before ${stage}:`
    return these.length > 0 ? [{ title, problems: these }] : []
  })
}

/** One check for each question, and one more for each code that no question asks for. */
export function checksOf(
  where: string,
  questions: readonly Question[],
  found: readonly Problem[],
): Check[] {
  const asked = new Set(questions.flatMap(([, codes]) => codes))
  const others = [...new Set(found.map(each => each.code))].filter(code => !asked.has(code))
  return [...questions, ...others.map((code): Question => [code, [code]])].map(([what, codes]) =>
    check(
      where,
      what,
      found.filter(each => codes.includes(each.code)),
    ),
  )
}

export function check(where: string, what: string, problems: readonly Problem[]): Check {
  return { where, what, state: problems.length === 0 ? 'ok' : 'bad', problems }
}

export function unknown(where: string, questions: readonly Question[]): Check[] {
  return questions.map(([what]) => ({ where, what, state: 'unknown', problems: [] }))
}

/** Plain, as it is printed and counted. */
export function problem({ code, message, hint }: Problem | BanyanError): Problem {
  return { code, message, hint }
}

export interface Counts {
  readonly ok: number
  /** Problems, each once. */
  readonly bad: number
  readonly unknown: number
}

export function countsOf(checks: readonly Check[]): Counts {
  const inState = (state: Check['state']): number =>
    checks.filter(each => each.state === state).length
  return { ok: inState('ok'), bad: problemsOf(checks).length, unknown: inState('unknown') }
}

/** Each problem once: a server that is down says so to all of its roles. */
export function problemsOf(checks: readonly Check[]): Found[] {
  const all = checks.flatMap(each => each.problems)
  return [...new Map(all.map(each => [`${each.code} ${each.message}`, each])).values()]
}
