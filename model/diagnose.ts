/** Validates a file against its schema and says all that is wrong with it at once, each with its place and a hint. */
import type { z } from 'zod'
import { CONFIG_ERRORS } from './errors-config.ts'
import { ROUTER_ERRORS } from './errors-router.ts'
import { BanyanError } from './errors.ts'
import type { ErrorRule } from './errors.ts'
import { diagnostic } from './diagnostic.ts'
import type { Diagnostic } from './diagnostic.ts'
import { keysAt, placesOf, wordsAt } from './schema-keys.ts'
import { openSource } from './source.ts'
import type { Path, Source } from './source.ts'
import { suggest } from './suggest.ts'
import { formatDuration, formatSize, parseDuration, parseSize } from './units.ts'

export interface Diagnosed<T> {
  readonly source: Source
  /** The valid value with its defaults; undefined where there are diagnostics. */
  readonly value: T | undefined
  readonly diagnostics: readonly Diagnostic[]
}

/** Parses and validates one file. Never throws. */
export function diagnose<S extends z.ZodType>(
  file: { readonly file: string; readonly text: string },
  schema: S,
): Diagnosed<z.output<S>> {
  const source = openSource(file.file, file.text)
  const diagnostics = source.complaints.map(({ code, details, span }) =>
    diagnostic({ source, span, rule: CONFIG_ERRORS[code], details }),
  )
  if (source.raw === undefined) return { source, value: undefined, diagnostics }
  const result = schema.safeParse(source.raw)
  const issues = result.success ? [] : result.error.issues
  diagnostics.push(...issues.flatMap(issue => explain({ source, schema, path: [] }, issue)))
  const value = diagnostics.length === 0 && result.success ? result.data : undefined
  return { source, value, diagnostics }
}

type Issue = z.core.$ZodIssue
interface Context {
  readonly source: Source
  readonly schema: z.ZodType
  /** Of the union or record that the issue stands in. */
  readonly path: Path
}

/** The value in a file at a path; undefined where there is none. */
export function valueAt(raw: unknown, path: Path): unknown {
  return path.reduce<unknown>((value, step) => {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, step)) return undefined
    return (value as Record<PropertyKey, unknown>)[step]
  }, raw)
}

function explain(context: Context, issue: Issue): Diagnostic[] {
  const path = [...context.path, ...issue.path]
  const { source } = context
  const value = valueAt(source.raw, path)
  const say = (rule: ErrorRule, details: readonly (string | number)[], hint?: string) => [
    diagnostic({ source, span: source.at(path, 'value'), rule, details, hint }),
  ]
  if (issue.code === 'custom' && issue.params?.error instanceof BanyanError) {
    const { rule, details } = issue.params.error
    return say(rule, details)
  }
  if (value === undefined && path.length > 0 && issue.code !== 'custom') {
    return say(CONFIG_ERRORS.KEY_MISSING, [path.join('.')])
  }
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map(key => unknownKey(context, path, key))
    case 'invalid_union':
      return explainUnion({ ...context, path }, issue)
    case 'invalid_key':
    case 'invalid_element':
      return issue.issues.slice(0, 1).flatMap(inner => {
        const rule = ruleOf(inner)
        if (!rule) return []
        const span = source.at(path, 'key')
        return [diagnostic({ source, span, rule, details: [String(path.at(-1))] })]
      })
    case 'invalid_type':
      return say(CONFIG_ERRORS.TYPE_WRONG, [kind(issue.expected), kindOf(value)])
    case 'invalid_value':
      return unknownValue(say, issue.values.map(String), value)
    case 'too_small':
    case 'too_big':
      return outOfRange(say, issue, path, value)
    default: {
      const rule = ruleOf(issue) ?? CONFIG_ERRORS.TYPE_WRONG
      const word = suggest(textOf(value), wordsAt(context.schema, path))
      const hint = word === undefined ? unitHint(rule, value) : `did you mean "${word}"?`
      return say(rule, detailsOf(rule, source, value), hint)
    }
  }
}

// A schema names a rule by its code, as the message of a check.
function ruleOf(issue: Issue): ErrorRule | undefined {
  const rules: Readonly<Record<string, ErrorRule>> = { ...CONFIG_ERRORS, ...ROUTER_ERRORS }
  return Object.hasOwn(rules, issue.message) ? rules[issue.message] : undefined
}

function detailsOf(rule: ErrorRule, source: Source, value: unknown): string[] {
  const written = textOf(value)
  if (rule === CONFIG_ERRORS.TYPE_WRONG) return ['another value', kindOf(value)]
  if (rule === ROUTER_ERRORS.KEY_RULE) {
    return [source.file.replace(/^.*\/|\.ya?ml$/g, ''), written]
  }
  if (rule === ROUTER_ERRORS.UPSTREAM_URL) {
    return [written, 'it is scheme, host and port, without user, path or query']
  }
  return [written]
}

function unitHint(rule: ErrorRule, value: unknown): string | undefined {
  if (rule !== CONFIG_ERRORS.DURATION_INVALID && rule !== CONFIG_ERRORS.SIZE_INVALID) return
  const [, amount, unit] = /^\s*([\d.]+)\s*([a-zµ]*)\s*$/i.exec(textOf(value)) ?? []
  if (amount === undefined || unit === undefined) return
  const meant = OTHER_UNITS[unit.toLowerCase()]
  const duration = rule === CONFIG_ERRORS.DURATION_INVALID
  const written = `${amount}${meant?.[duration ? 0 : 1] ?? unit}`
  const good = duration ? parseDuration(written) : parseSize(written)
  return good === undefined ? undefined : `did you mean "${written}"?`
}

// What people write for a unit, and what it is called here: as a duration, as a size.
const OTHER_UNITS: Readonly<Record<string, readonly [string, string]>> = {
  m: ['min', 'MB'],
  mins: ['min', ''],
  minutes: ['min', ''],
  sec: ['s', ''],
  secs: ['s', ''],
  seconds: ['s', ''],
  hours: ['h', ''],
  days: ['d', ''],
  b: ['', 'B'],
  k: ['', 'kB'],
  kb: ['', 'kB'],
  kib: ['', 'kB'],
  mb: ['', 'MB'],
  mib: ['', 'MB'],
  g: ['', 'GB'],
  gb: ['', 'GB'],
  gib: ['', 'GB'],
}

type Say = (rule: ErrorRule, details: readonly (string | number)[], hint?: string) => Diagnostic[]

function unknownKey(context: Context, path: Path, key: string): Diagnostic {
  const { source, schema } = context
  const allowed = keysAt(schema, path)
  const meant = suggest(key, allowed)
  const elsewhere = placesOf(schema, key)[0]
  let hint = `allowed here: ${allowed.join(', ')}`
  if (elsewhere !== undefined) hint = `"${key}" belongs under ${elsewhere}; ${hint}`
  if (meant !== undefined) hint = `did you mean "${meant}"?`
  const span = source.at([...path, key], 'key')
  const rule = CONFIG_ERRORS.KEY_UNKNOWN
  return diagnostic({ source, span, rule, details: [key], hint })
}

function unknownValue(say: Say, known: readonly string[], value: unknown): Diagnostic[] {
  if (value === null || typeof value === 'object') {
    return say(CONFIG_ERRORS.TYPE_WRONG, [known.join(' | '), kindOf(value)])
  }
  const written = textOf(value)
  const meant = suggest(written, known)
  const hint = meant === undefined ? undefined : `did you mean "${meant}"?`
  return say(CONFIG_ERRORS.VALUE_UNKNOWN, [written, known.join(', ')], hint)
}

/** The branch that fits what was written; where none does, what could stand here. */
function explainUnion(context: Context, issue: z.core.$ZodIssueInvalidUnion): Diagnostic[] {
  const { source, path } = context
  const value = valueAt(source.raw, path)
  const fitting = issue.errors.filter(branch => !branch.some(inner => wrongKind(inner, value)))
  const branch = fitting[0]
  if (branch) return branch.flatMap(inner => explain(context, inner))
  const known = issue.errors.flat().flatMap(inner => {
    if (inner.path.length > 0) return []
    if (inner.code === 'invalid_value') return inner.values.map(String)
    return inner.code === 'invalid_type' ? [kind(inner.expected)] : []
  })
  const rule = CONFIG_ERRORS.TYPE_WRONG
  const details = [[...new Set(known)].join(' or '), kindOf(value)]
  return [diagnostic({ source, span: source.at(path, 'value'), rule, details })]
}

function wrongKind(issue: Issue, value: unknown): boolean {
  if (issue.path.length > 0) return false
  if (issue.code === 'invalid_type') return true
  if (issue.code !== 'invalid_value') return false
  return !issue.values.some(known => typeof known === typeof value && known !== null)
}

function outOfRange(
  say: Say,
  issue: z.core.$ZodIssueTooBig | z.core.$ZodIssueTooSmall,
  path: Path,
  value: unknown,
): Diagnostic[] {
  const big = issue.code === 'too_big'
  const bound = Number(big ? issue.maximum : issue.minimum)
  if (Array.isArray(value)) {
    const details = [value.length, `${big ? 'at most' : 'at least'} ${bound}`]
    return say(CONFIG_ERRORS.LIST_LENGTH, details)
  }
  const key = String(path.at(-1))
  const print = key.endsWith('Ms') ? formatDuration : key.endsWith('Bytes') ? formatSize : String
  const details = [textOf(value), `${big ? 'at most' : 'at least'} ${print(bound)}`]
  return say(CONFIG_ERRORS.VALUE_RANGE, details)
}

const KINDS: Readonly<Record<string, string>> = {
  string: 'text',
  array: 'a list',
  object: 'a map',
  record: 'a map',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  null: 'nothing',
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? '')
}

function kind(expected: string): string {
  return KINDS[expected] ?? expected
}

function kindOf(value: unknown): string {
  if (value === null || value === undefined) return 'nothing'
  if (typeof value === 'number') return `the number ${value}`
  if (typeof value === 'boolean') return `${value}`
  return kind(Array.isArray(value) ? 'array' : typeof value)
}
