/** Whether the columns of a table and of its counterpart can hold the same values, in both directions. */
import { BanyanError } from '../model/errors.ts'
import { PREFLIGHT_ERRORS as RULES } from '../model/errors-preflight.ts'
import { completeMapping, inverse, type TableMapping, type TableRenames } from '../model/mapping.ts'
import { type ColumnFacts, rowKey, type TableFacts } from '../postgres/catalog.ts'
import { unqualified } from '../model/wiring.ts'
import type { PreflightFacts } from './preflight-facts.ts'

export interface Pair {
  readonly facts: Pick<PreflightFacts, 'source' | 'target' | 'direction'>
  readonly wanted: TableRenames
  readonly from: TableFacts
  readonly to: TableFacts
}

/** What blocks `sync`. Pure. */
export function columnBlockers(pair: Pair): BanyanError[] {
  const { facts, wanted, from, to } = pair
  const missing = namedButMissing(pair)
  let mapping: TableMapping
  try {
    mapping = completeMapping(wanted, from.columns, to.columns)
  } catch (error) {
    if (!(error instanceof BanyanError)) throw error
    return [...missing, error]
  }
  const source = named(from)
  const target = named(to)
  const pairs = [...mapping.columns].map(
    ([name, other]) => [source.get(name)!, target.get(other)!] as const,
  )
  return [
    ...missing,
    ...pairs.flatMap(([column, other]) => typeBlockers(pair, column, other)),
    ...generatedBlockers(pair),
    ...alwaysBlockers(from, to, mapping, facts.target.name),
    ...(facts.direction === 'back'
      ? alwaysBlockers(to, from, inverse(mapping), facts.source.name)
      : []),
    ...requiredBlockers(pair, mapping),
    ...keyBlockers(from, to, mapping, facts.target.name),
    ...(facts.direction === 'back'
      ? keyBlockers(to, from, inverse(mapping), facts.source.name)
      : []),
  ]
}

/**
 * What blocks `moved`, not `sync`: columns of legacy that a row made by the service couldn't fill (protocol: a mapping
 * without an inverse), and those that the service would never have, unless the slice file says so. Pure.
 */
export function oneWayBlockers({
  wanted,
  from,
  to,
}: Omit<Pair, 'facts'> & Partial<Pair>): BanyanError[] {
  const mapping = completeMapping(wanted, from.columns, to.columns)
  const carried = (column: ColumnFacts) => mapping.columns.has(column.name)
  const required = from.columns.filter(column => isRequired(column) && !carried(column))
  const there = named(to)
  const unanswered = from.columns.filter(
    column =>
      column.generated === null &&
      !isRequired(column) &&
      !wanted.left.table.has(column.name) &&
      !wanted.renames.has(column.name) &&
      !there.has(column.name),
  )
  const line = answerLine(
    wanted,
    unanswered.map(each => each.name),
  )
  return [
    ...required.map(
      each => new BanyanError(RULES.MAPPING_ONE_WAY, [from.name, each.name, to.name]),
    ),
    ...unanswered.map(
      each => new BanyanError(RULES.COLUMN_LEFT, [from.name, each.name, to.name, line]),
    ),
  ]
}

/** The table's line in the slice file, with the answer for all of `columns`. */
function answerLine(
  { table, to, renames, left }: TableRenames,
  columns: readonly string[],
): string {
  const target = to === table ? '' : `to: ${unqualified(to)}, `
  const answers = [
    ...[...renames].map(([name, other]) => `${name}: ${other}`),
    ...[...left.table, ...columns].map(name => `${name}: false`),
  ]
  return `${unqualified(table)}: { ${target}columns: { ${answers.join(', ')} } }`
}

function namedButMissing({ facts, wanted, from, to }: Pair): BanyanError[] {
  const missing = (place: string, table: TableFacts, names: Iterable<string>) => {
    const there = named(table)
    return [...names]
      .filter(name => !there.has(name))
      .map(name => new BanyanError(RULES.COLUMN_MISSING, [place, table.name, name]))
  }
  return [
    ...missing(facts.source.name, from, [...wanted.renames.keys(), ...wanted.left.table]),
    ...missing(facts.target.name, to, wanted.renames.values()),
  ]
}

function typeBlockers({ facts, from, to }: Pair, a: ColumnFacts, b: ColumnFacts): BanyanError[] {
  const why = unsupported(a)
  if (why !== null) {
    const details = [facts.source.name, from.name, a.name, a.type, why]
    return [new BanyanError(RULES.COLUMN_UNSUPPORTED, details)]
  }
  // Types of the same name may be made of different things: domains, enums.
  if (a.type !== b.type || a.base.name !== b.base.name) {
    const details = [from.name, a.name, shown(a), to.name, b.name, shown(b)]
    return [new BanyanError(RULES.COLUMN_TYPE, details)]
  }
  const labels = [a.base.labels.join(', '), b.base.labels.join(', ')] as const
  if (labels[0] === labels[1]) return []
  return [new BanyanError(RULES.ENUM_LABELS, [from.name, a.name, a.base.name, ...labels])]
}

function shown({ type, base }: ColumnFacts): string {
  return `${type} (${base.name})`
}

/** Their text is read back as the very same value, on every version, whatever the locale. */
const SUPPORTED = new Set(
  (
    'bool int2 int4 int8 numeric float4 float8 text varchar bpchar name date time timetz timestamp timestamptz ' +
    'interval uuid json jsonb bytea inet cidr macaddr macaddr8 bit varbit tsvector tsquery xml'
  ).split(' '),
)

const REASONS: Readonly<Record<string, string>> = {
  oid: 'it may name a large object, and those are not in the change stream',
  lo: 'large objects are not in the change stream',
  money: 'its text depends on the locale',
  char: 'its bytes may be no text',
}

/** Why values of this column aren't carried; null where they are. */
function unsupported({ base }: ColumnFacts): string | null {
  const plain = base.name.replace(/^.*\./, '')
  if (plain in REASONS) return REASONS[plain]!
  if (base.kind === 'enum' || base.kind === 'range' || base.kind === 'multirange') return null
  if (base.kind === 'composite') return 'rows inside a column are not supported'
  if (SUPPORTED.has(base.name)) return null
  return 'it is not among the types whose text is known to come back as the same value'
}

function generatedBlockers({ wanted, from, to }: Pair): BanyanError[] {
  const there = named(to)
  return from.columns.flatMap(column => {
    const other = there.get(wanted.renames.get(column.name) ?? column.name)
    if (!other || wanted.left.table.has(column.name)) return []
    if ((column.generated === null) === (other.generated === null)) return []
    const here = [from.name, column.name]
    const away = [to.name, other.name]
    const details = column.generated === null ? [...away, ...here] : [...here, ...away]
    return [new BanyanError(RULES.COLUMN_GENERATED, details)]
  })
}

/** Of the key, apply knows how: it sets only what changed, and a changed one is a new row (sync/apply/statements.ts). */
function alwaysBlockers(
  from: TableFacts,
  to: TableFacts,
  mapping: TableMapping,
  place: string,
): BanyanError[] {
  const key = new Set(rowKey(from)?.map(name => mapping.columns.get(name)))
  const filled = new Set(mapping.columns.values())
  return to.columns
    .filter(({ name, identity }) => identity === 'always' && filled.has(name) && !key.has(name))
    .map(({ name }) => new BanyanError(RULES.COLUMN_ALWAYS, [place, to.name, name]))
}

function requiredBlockers({ facts, from, to }: Pair, mapping: TableMapping): BanyanError[] {
  const filled = new Set(mapping.columns.values())
  return to.columns
    .filter(column => isRequired(column) && !filled.has(column.name))
    .map(column => {
      const details = [facts.target.name, to.name, column.name, from.name]
      return new BanyanError(RULES.COLUMN_REQUIRED, details)
    })
}

function isRequired(column: ColumnFacts): boolean {
  const { notNull, generated, identity } = column
  return notNull && column.default === null && generated === null && identity === null
}

/** The rows that the stream names must be found there by an index, and be one each. */
function keyBlockers(
  from: TableFacts,
  to: TableFacts,
  mapping: TableMapping,
  place: string,
): BanyanError[] {
  const key = rowKey(from)
  if (!key) return [] // said already
  const unmapped = key.filter(name => !mapping.columns.has(name))
  if (unmapped.length > 0) {
    return unmapped.map(name => new BanyanError(RULES.KEY_UNMAPPED, [from.name, name, to.name]))
  }
  const wanted = key.map(name => mapping.columns.get(name)!)
  const same = (columns: readonly string[]) =>
    columns.length === wanted.length && wanted.every(name => columns.includes(name))
  if (to.keys.some(each => each.usable && same(each.columns))) return []
  return [new BanyanError(RULES.KEY_MISMATCH, [place, to.name, wanted.join(', '), from.name])]
}

function named(table: TableFacts): Map<string, ColumnFacts> {
  return new Map(table.columns.map(column => [column.name, column]))
}
