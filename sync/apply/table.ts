/** One table of a stream as it is applied: its names on both sides, the columns that travel, the key, and what a delete takes along. */
import type { TableMapping } from '../../model/mapping.ts'
import type { TableFacts } from '../../postgres/catalog.ts'

/** A child row that goes (or is cut loose) with its parent, because its foreign key doesn't act during apply. */
export interface Cascade {
  /** `schema.table` in the target. */
  readonly child: string
  /** Of the key, in its order, by their names in the target: the child's, and the parent's. */
  readonly columns: readonly string[]
  readonly parentColumns: readonly string[]
  /** Which of the child's are cut; undefined: all of them. */
  readonly cut?: readonly string[] | undefined
  readonly onDelete: 'cascade' | 'null'
  /** Only while this slice is open in the target: else its own stream brings the children. Undefined: always. */
  readonly whileOpen: string | undefined
}

export interface AppliedTable {
  /** `schema.table` in the source. */
  readonly source: string
  /** `schema.table` in the target. */
  readonly target: string
  /** Source column → target column, for those that travel. */
  readonly columns: ReadonlyMap<string, string>
  /** Source columns that find one row in the target. */
  readonly key: readonly string[]
  readonly cascades: readonly Cascade[]
  /**
   * Where the key is GENERATED ALWAYS in the target: the other columns there, which nothing travels to. The server lets
   * nobody update such a key, so a new key is a new row, and these go over from the old one. Else undefined.
   */
  readonly replaced?: readonly string[] | undefined
}

/** `AppliedTable.replaced`. `key`: source columns. */
export function replacedColumns(
  { columns }: Pick<TableMapping, 'columns'>,
  key: readonly string[],
  target: Pick<TableFacts, 'columns'>,
): readonly string[] | undefined {
  const keys = new Set(key.map(name => columns.get(name)))
  if (!target.columns.some(({ name, identity }) => identity === 'always' && keys.has(name))) {
    return undefined
  }
  const filled = new Set(columns.values())
  return target.columns
    .filter(({ name, generated }) => generated === null && !filled.has(name))
    .map(({ name }) => name)
}
