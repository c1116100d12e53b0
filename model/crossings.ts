/** What a slice file must answer before its tables change their owner, given what the monolith's database really has. */
import { diagnostic, sortDiagnostics } from './diagnostic.ts'
import type { Diagnostic } from './diagnostic.ts'
import { CONFIG_ERRORS } from './errors-config.ts'
import type { ErrorRule } from './errors.ts'
import type { Slice } from './project.ts'
import { foreignKeyName } from './slice-file.ts'
import type { FkAnswer } from './slice-file.ts'
import type { Source } from './source.ts'
import { suggest } from './suggest.ts'

/** A foreign key of the monolith's database. Table names as in slice files: without a schema where it is public. */
export interface ForeignKeyFact {
  readonly name: string
  readonly table: string
  readonly columns: readonly string[]
  readonly parentTable: string
  readonly parentColumns: readonly string[]
  readonly onDelete: 'no action' | 'restrict' | 'cascade' | 'set null' | 'set default'
}

/** A trigger that the application has made (neither PostgreSQL's own nor a gate). */
export interface TriggerFact {
  readonly name: string
  readonly table: string
}

export interface CrossingFacts {
  /** All of the database; those that don't touch the slice are left aside. */
  readonly foreignKeys: readonly ForeignKeyFact[]
  readonly triggers: readonly TriggerFact[]
  /**
   * From the census: table → the part (0 to 1) of the transactions that write the slice's tables and also write it.
   * The slice's own tables are left aside.
   */
  readonly sideWrites: ReadonlyMap<string, number>
}

/** A foreign key with one end in the slice. `outside`: which end isn't. */
export interface Crossing {
  readonly key: string
  readonly outside: 'child' | 'parent'
  readonly fact: ForeignKeyFact
}

/** The keys that cross the edge of a slice, in the order of the facts. */
export function crossingKeys(
  slice: Pick<Slice, 'tables'>,
  foreignKeys: readonly ForeignKeyFact[],
): Crossing[] {
  const owned = (table: string): boolean => Object.hasOwn(slice.tables, table)
  return foreignKeys
    .filter(fact => owned(fact.table) !== owned(fact.parentTable))
    .map(fact => ({
      key: foreignKeyName(fact),
      outside: owned(fact.table) ? 'parent' : 'child',
      fact,
    }))
}

/** Which answers make sense, by which end of the key is outside the slice. */
export const ANSWERS: Readonly<Record<Crossing['outside'], readonly FkAnswer[]>> = {
  child: ['check', 'loose'],
  parent: ['copy', 'loose', 'refuse'],
}

/** What a deleted parent does to the children of a loose key: as the file says, else as the key itself did. */
export function onDeleteOf(
  slice: Pick<Slice, 'foreignKeys'>,
  crossing: Crossing,
): 'keep' | 'null' | 'cascade' {
  const given = slice.foreignKeys[crossing.key]
  if (given && 'onDelete' in given && given.onDelete !== undefined) return given.onDelete
  if (crossing.fact.onDelete === 'cascade') return 'cascade'
  return crossing.fact.onDelete === 'set null' ? 'null' : 'keep'
}

/** Keys that `check` keeps in legacy, and that refuse there no more what the service deletes. */
export function unenforcedKeys(
  slice: Pick<Slice, 'tables' | 'foreignKeys'>,
  foreignKeys: readonly ForeignKeyFact[],
): Crossing[] {
  return crossingKeys(slice, foreignKeys).filter(
    each =>
      each.outside === 'child' &&
      slice.foreignKeys[each.key]?.answer === 'check' &&
      onDeleteOf(slice, each) === 'keep',
  )
}

interface Question {
  readonly slice: Slice
  /** The slice's file, as loadProject has returned it. */
  readonly source: Source
  /** Tables that the slice's service has as read copies. */
  readonly copies: readonly string[]
  readonly facts: CrossingFacts
}

/**
 * What is not answered, or answered with a word that makes no sense there: FK_CROSSES, FK_ANSWER, FK_COPY,
 * TRIGGER_UNANSWERED, SIDE_WRITE. Each points at the place in the file where the answer belongs and has the line to add.
 */
export function unansweredCrossings(question: Question): Diagnostic[] {
  const { slice, facts } = question
  const triggers = facts.triggers.filter(trigger => Object.hasOwn(slice.tables, trigger.table))
  const found = [
    ...crossingKeys(slice, facts.foreignKeys).flatMap(crossing => askKey(question, crossing)),
    ...triggers.flatMap(trigger => askTrigger(question, trigger)),
    ...[...facts.sideWrites].flatMap(([table, share]) => askSideWrite(question, table, share)),
  ]
  return sortDiagnostics(
    found.map(each => ('missing' in each ? unanswered(question, each, found) : each)),
  )
}

/** What an answer to a key means, in a word; docs/config.md has the whole. */
const MEANS: Readonly<Record<FkAnswer, string>> = {
  check: 'legacy keeps the key, for its own writes',
  copy: 'the service keeps it, against a read copy',
  loose: 'it is dropped while the service owns the table',
  refuse: 'legacy refuses to delete such a parent',
}

function askKey(question: Question, crossing: Crossing): (Diagnostic | Unanswered)[] {
  const { slice, source, copies } = question
  const { key, outside, fact } = crossing
  const given = slice.foreignKeys[key]
  if (!given) {
    const words = ANSWERS[outside]
    const details = [key, fact.table, fact.parentTable, slice.name]
    const known = crossingKeys(slice, question.facts.foreignKeys).map(one => one.key)
    const unused = Object.keys(slice.foreignKeys).filter(name => !known.includes(name))
    const meant = suggest(key, unused)
    const missing = { section: 'foreignKeys', name: key, words, mistyped: meant } as const
    return [{ rule: CONFIG_ERRORS.FK_CROSSES, details, missing }]
  }
  const span = source.at(['foreignKeys', key], 'value')
  if (!ANSWERS[outside].includes(given.answer)) {
    const words = ANSWERS[outside].map(word => `\`${word}\``).join(' or ')
    const details = [given.answer, key, outside, slice.name, words]
    return [diagnostic({ source, span, rule: CONFIG_ERRORS.FK_ANSWER, details })]
  }
  if (given.answer !== 'copy' || copies.includes(fact.parentTable)) return []
  const details = [key, slice.service, fact.parentTable, slice.name]
  return [diagnostic({ source, span, rule: CONFIG_ERRORS.FK_COPY, details })]
}

function askTrigger(question: Question, trigger: TriggerFact): Unanswered[] {
  const { triggers } = question.slice
  if (Object.hasOwn(triggers, trigger.name)) return []
  const mistyped = suggest(
    trigger.name,
    Object.keys(triggers).filter(name => !question.facts.triggers.some(one => one.name === name)),
  )
  const missing = { section: 'triggers', name: trigger.name, words: ['run', 'skip'], mistyped }
  const details = [trigger.name, trigger.table]
  return [{ rule: CONFIG_ERRORS.TRIGGER_UNANSWERED, details, missing }]
}

function askSideWrite(question: Question, table: string, share: number): Unanswered[] {
  const { slice } = question
  if (Object.hasOwn(slice.sideWrites, table) || Object.hasOwn(slice.tables, table)) return []
  const percent = share < 0.01 ? 'less than 1 %' : `${Math.round(share * 100)} %`
  const mistyped = suggest(
    table,
    Object.keys(slice.sideWrites).filter(name => !question.facts.sideWrites.has(name)),
  )
  const words = ['service', 'legacy', 'dropped']
  const missing = { section: 'sideWrites', name: table, words, mistyped }
  const details = [percent, slice.name, table]
  return [{ rule: CONFIG_ERRORS.SIDE_WRITE, details, missing }]
}

interface Missing {
  readonly section: string
  readonly name: string
  readonly words: readonly string[]
  /** A key of the section that answers nothing and looks like this one. */
  readonly mistyped: string | undefined
}

interface Unanswered {
  readonly rule: ErrorRule
  readonly details: readonly string[]
  readonly missing: Missing
}

/** `found`: all that was; a section that isn't there is added once, whole, by the first that needs it. */
function unanswered(
  { source }: Question,
  { rule, details, missing }: Unanswered,
  found: readonly (Diagnostic | Unanswered)[],
): Diagnostic {
  const { section, name, mistyped } = missing
  if (mistyped !== undefined) {
    const hint = `"${mistyped}" is not in the database; did you mean "${name}"?`
    return diagnostic({ source, span: source.at([section, mistyped], 'key'), rule, details, hint })
  }
  const here = hasSection(source, section)
  const together = found.flatMap(each =>
    'missing' in each && each.missing.section === section && each.missing.mistyped === undefined
      ? [each.missing]
      : [],
  )
  const first = together[0] === missing
  const all = together.map(lineOf).join(', ')
  const means = first && section === 'foreignKeys' ? meaningOf(together) : ''
  const hint = here
    ? `add a line under ${section}: \`${lineOf(missing)}\`${means}`
    : first
      ? `add a section: \`${section}: { ${all} }\`${means}`
      : `it is in the section that is to be added, above`
  const span = source.at([here ? section : 'tables'], 'key')
  return diagnostic({ source, span, rule, details, hint })
}

function lineOf({ name, words }: Missing): string {
  return `${name}: ${words.join(' | ')}`
}

function meaningOf(all: readonly Missing[]): string {
  const words = new Set(all.flatMap(each => each.words))
  const known = Object.entries(MEANS).filter(([word]) => words.has(word))
  return ` (${known.map(([word, what]) => `${word}: ${what}`).join('; ')})`
}

function hasSection(source: Source, section: string): boolean {
  const { raw } = source
  return typeof raw === 'object' && raw !== null && Object.hasOwn(raw, section)
}
