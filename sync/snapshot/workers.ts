/** Workers that copy chunks side by side, all in the snapshot of one slot; the first that fails stops the others. */
import type pg from 'pg'
import { BanyanError, must } from '../../model/errors.ts'
import { SYNC_ERRORS } from '../../model/errors-sync.ts'
import { type CopyOptions, copyRows } from '../../postgres/copy.ts'
import { explain } from '../../postgres/explain.ts'
import type { SlotWithSnapshot } from '../../postgres/slot.ts'
import { literal } from '../../postgres/sql.ts'
import type { Chunk } from './chunks.ts'
import type { CopySliceOptions } from './copy-slice.ts'
import { openCopySession } from './session.ts'

export interface TableCopy {
  readonly to: string
  readonly columns: ReadonlyMap<string, string>
  readonly format: 'text' | 'binary'
}

export interface ChunkWork extends CopySliceOptions {
  readonly chunks: readonly Chunk[]
  /** By source table. */
  readonly copies: ReadonlyMap<string, TableCopy>
  readonly made: SlotWithSnapshot
  readonly estimatedRows: number | null
}

/** Copies all chunks; returns the rows by source table. Rejects with what the first worker met. */
export async function copyChunks(work: ChunkWork): Promise<ReadonlyMap<string, number>> {
  const rows = new Map([...work.copies.keys()].map(table => [table, 0]))
  const waiting = [...work.chunks].reverse()
  const stop = new AbortController()
  const signal = AbortSignal.any([work.signal, stop.signal])
  let done = 0
  const run = async () => {
    const { slot } = work
    await using source = await openCopySession({ url: work.source, slot, signal })
    await source.client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY')
    await importSnapshot(source.client, work.made)
    await using target = await openCopySession({ url: work.target, slot, signal })
    await becomeReplica(target.client, work.target)
    for (let chunk = waiting.pop(); chunk; chunk = waiting.pop()) {
      const sessions = { source: source.client, target: target.client }
      const copied = await copyChunk(work, chunk, { ...sessions, signal })
      rows.set(chunk.table, (rows.get(chunk.table) ?? 0) + copied)
      done += 1
      work.onProgress?.({
        table: chunk.table,
        rows: [...rows.values()].reduce((sum, each) => sum + each, 0),
        estimatedRows: work.estimatedRows,
        chunks: { done, all: work.chunks.length },
      })
    }
    await source.client.query('COMMIT')
    await Promise.all([source.finish(), target.finish()])
  }
  const count = Math.max(1, Math.min(work.workers ?? 2, work.chunks.length))
  const workers = Array.from({ length: count }, async () => {
    await run().catch((error: unknown) => {
      stop.abort(error)
      throw error
    })
  })
  await Promise.allSettled(workers)
  work.signal.throwIfAborted()
  stop.signal.throwIfAborted()
  return rows
}

/** Foreign keys and triggers acted at the source; their effects are among the rows. Throws PRIVILEGE_MISSING. */
export async function becomeReplica(client: pg.ClientBase, url: string): Promise<void> {
  try {
    await client.query('SET session_replication_role = replica')
  } catch (error) {
    throw explain(error, url)
  }
}

/** Makes the open transaction see what the slot's snapshot sees. Throws SNAPSHOT_GONE. */
export async function importSnapshot(
  client: pg.ClientBase,
  { slot, snapshot }: SlotWithSnapshot,
): Promise<void> {
  try {
    await client.query(`SET TRANSACTION SNAPSHOT ${literal(snapshot)}`)
  } catch (error) {
    const { message } = explain(error)
    throw new BanyanError(SYNC_ERRORS.SNAPSHOT_GONE, [slot, message], { cause: error })
  }
}

async function copyChunk(
  work: ChunkWork,
  { table, relation, where }: Chunk,
  sessions: Pick<CopyOptions, 'source' | 'target' | 'signal'>,
): Promise<number> {
  const copy = must(work.copies.get(table), `the mapping of ${table}`)
  return copyRows({ ...sessions, ...copy, table: relation, where })
}
