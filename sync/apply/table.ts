/** One table of a stream as it is applied: its names on both sides, the columns that travel, the key, and what a delete takes along. */

/** A child row that goes (or is cut loose) with its parent, because its foreign key doesn't act during apply. */
export interface Cascade {
  /** `schema.table` in the target. */
  readonly child: string
  readonly column: string
  /** The parent's column, by its name in the source. */
  readonly parentColumn: string
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
}
