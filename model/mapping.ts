/** What a table and its columns are called on the other side, and a row carried over by that. */
import type { Row, Unchanged, Value } from './change.ts'
import { BanyanError } from './errors.ts'
import { SYNC_ERRORS } from './errors-sync.ts'
import type { Slice } from './project.ts'
import { qualified } from './wiring.ts'

/** One table in one direction. */
export interface TableMapping {
  /** `schema.table` where the rows come from. */
  readonly table: string
  /** `schema.table` where they go. */
  readonly to: string
  /** Every column that travels, in the source table's order: its name there → its name in the target. */
  readonly columns: ReadonlyMap<string, string>
}

/** The same as a slice file says it: only what has another name in the service. */
export interface TableRenames {
  readonly table: string
  readonly to: string
  readonly renames: ReadonlyMap<string, string>
  /** Columns of legacy that stay behind; by `table` or by `to`, whichever legacy's is. */
  readonly left: Readonly<Record<'table' | 'to', ReadonlySet<string>>>
}

export const NOTHING_LEFT: TableRenames['left'] = { table: new Set(), to: new Set() }

/** The slice's tables on the way from legacy. `name`: as the file has it. */
export function renamesOf(
  slice: Pick<Slice, 'tables'>,
): (TableRenames & { readonly name: string })[] {
  return Object.entries(slice.tables).map(([name, { to, columns, left }]) => ({
    name,
    table: qualified(name),
    to: qualified(to),
    renames: new Map(Object.entries(columns)),
    left: { ...NOTHING_LEFT, table: new Set(left) },
  }))
}

/** The other way round. */
export function backwards({ table, to, renames, left }: TableRenames): TableRenames {
  return {
    table: to,
    to: table,
    renames: new Map([...renames].map(([a, b]) => [b, a])),
    left: { table: left.to, to: left.table },
  }
}

/** A read copy: every name is the same. `table`: as the file has it. */
export function copyOf(table: string): TableRenames {
  return { table: qualified(table), to: qualified(table), renames: new Map(), left: NOTHING_LEFT }
}

/** As much of a column as decides whether it travels. */
export interface MappedColumn {
  readonly name: string
  /** A column that each side computes for itself never travels. */
  readonly generated: unknown
}

/**
 * The whole mapping: every column of the source that isn't generated, isn't left behind by the slice file, and has its
 * counterpart in the target. What has none stays behind too: whether that is all right is preflight's to say. Throws
 * MAPPING_CLASH.
 */
export function completeMapping(
  wanted: TableRenames,
  source: readonly MappedColumn[],
  target: readonly MappedColumn[],
): TableMapping {
  const there = new Map(target.map(column => [column.name, column]))
  const taken = new Map<string, string>()
  const columns = new Map<string, string>()
  for (const { name, generated } of source) {
    const to = wanted.renames.get(name) ?? name
    if (wanted.left.table.has(name) || wanted.left.to.has(to)) continue
    const counterpart = there.get(to)
    if (isComputed(generated) || !counterpart || isComputed(counterpart.generated)) continue
    const first = taken.get(to)
    if (first !== undefined) {
      const details = [wanted.table, first, name, wanted.to, to]
      throw new BanyanError(SYNC_ERRORS.MAPPING_CLASH, details)
    }
    taken.set(to, name)
    columns.set(name, to)
  }
  return { table: wanted.table, to: wanted.to, columns }
}

/** The way back: `inverse(inverse(m))` equals `m`. */
export function inverse(mapping: TableMapping): TableMapping {
  const columns = new Map([...mapping.columns].map(([from, to]) => [to, from]))
  return { table: mapping.to, to: mapping.table, columns }
}

/** The row by the target's column names. Columns that don't travel are left out; UNCHANGED stays UNCHANGED. */
export function mapRow(mapping: TableMapping, row: Row): Row {
  const mapped = new Map<string, Value | Unchanged>()
  for (const [name, value] of row) {
    const to = mapping.columns.get(name)
    if (to !== undefined) mapped.set(to, value)
  }
  return mapped
}

function isComputed(generated: unknown): boolean {
  return generated !== null && generated !== undefined && generated !== false
}
