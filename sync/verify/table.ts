/** One table as the verifier reads it on both sides: by SQL of its own, never by the code that copied or applied it. */
import { quote, quoteRelation } from '../../postgres/sql.ts'

export interface ComparedTable {
  /** `schema.table` */
  readonly source: string
  readonly target: string
  /** Source column → target column, in one order for both sides. */
  readonly columns: ReadonlyMap<string, string>
  /** Source columns of the key, and their type: the same on both sides. */
  readonly key: readonly { readonly column: string; readonly type: string }[]
}

/** The table's SQL on one side. */
export interface SideSql {
  readonly relation: string
  /** `ROW("a", "b")::text`: all the columns that travel. */
  readonly row: string
  readonly key: string
  readonly keyColumns: readonly { readonly name: string; readonly type: string }[]
}

export function sqlOf(table: ComparedTable, side: 'source' | 'target'): SideSql {
  const named = (column: string): string =>
    quote(side === 'source' ? column : (table.columns.get(column) ?? column))
  const keyColumns = table.key.map(({ column, type }) => ({ name: named(column), type }))
  return {
    relation: quoteRelation(side === 'source' ? table.source : table.target),
    row: `ROW(${[...table.columns.keys()].map(named).join(', ')})::text`,
    key: `ROW(${keyColumns.map(each => each.name).join(', ')})::text`,
    keyColumns,
  }
}
