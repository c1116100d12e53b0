/** Cuts tables into pieces that workers copy side by side, all of them inside one snapshot. Pure. */

export interface CopiedRelation {
  /** The mapping's source table: a partition counts for its root. */
  readonly table: string
  /** Where the rows lie: the table itself, or one of its partitions. */
  readonly relation: string
  readonly bytes: number
  /** The planner's estimate; null where it has none. */
  readonly rows: number | null
}

export interface Chunk {
  readonly table: string
  readonly relation: string
  /** Undefined: all of it. */
  readonly where: string | undefined
}

export interface ChunkLimits {
  readonly rows: number
  readonly bytes: number
  /** Of a page, in the source. */
  readonly blockBytes: number
}

/**
 * The chunks, largest relation first, so that no worker is left alone with a big one at the end.
 * Invariant: the ranges of a relation touch, begin at nothing and end at nothing: a row that lies behind the size that was
 * read is in the last one. They are places in a file, so they mean something inside one snapshot only, and only as long
 * as nobody rewrites the file.
 */
export function planChunks(relations: readonly CopiedRelation[], limits: ChunkLimits): Chunk[] {
  const bySize = [...relations].sort((a, b) => b.bytes - a.bytes)
  return bySize.flatMap(relation => chunksOf(relation, limits))
}

function chunksOf({ table, relation, bytes, rows }: CopiedRelation, limits: ChunkLimits): Chunk[] {
  const pages = Math.ceil(bytes / limits.blockBytes)
  const byBytes = Math.floor(limits.bytes / limits.blockBytes)
  const byRows = rows !== null && rows > 0 ? Math.floor((limits.rows / rows) * pages) : byBytes
  const step = Math.max(1, Math.min(byBytes, byRows))
  const starts = Array.from({ length: Math.max(1, Math.ceil(pages / step)) }, (_, i) => i * step)
  return starts.map((start, i) => {
    const next = starts[i + 1]
    const bounds = [
      ...(i === 0 ? [] : [`ctid >= '(${start},0)'::pg_catalog.tid`]),
      ...(next === undefined ? [] : [`ctid < '(${next},0)'::pg_catalog.tid`]),
    ]
    const where = bounds.length === 0 ? undefined : bounds.join(' AND ')
    return { table, relation, where }
  })
}
