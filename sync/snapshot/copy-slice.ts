/** The first copy of a slice's tables: every row that is older than a slot, and none that its stream will bring. */
import type pg from 'pg'
import { must } from '../../model/errors.ts'
import type { TableMapping } from '../../model/mapping.ts'
import type { Lsn } from '../../model/position.ts'
import { type Catalog, readCatalog, type TableFacts } from '../../postgres/catalog.ts'
import { binaryFits } from '../../postgres/copy.ts'
import { explain } from '../../postgres/explain.ts'
import { createSlotWithSnapshot, dropSlot, type SlotWithSnapshot } from '../../postgres/slot.ts'
import { quoteRelation } from '../../postgres/sql.ts'
import { missingTable } from '../missing-table.ts'
import { type CopiedRelation, planChunks } from './chunks.ts'
import { openCopySession } from './session.ts'
import { analyze, empty, mustBeEmpty } from './target-tables.ts'
import { becomeReplica, copyChunks, importSnapshot, type TableCopy } from './workers.ts'

export interface CopySliceOptions {
  /** The capture role's URL. */
  readonly source: string
  /** The apply role's URL: DML, TRUNCATE, and SET session_replication_role. */
  readonly target: string
  /** A URL in the target whose role may ANALYZE the tables (their owner's, the setup role's). Default: `target`. */
  readonly analyze?: string | undefined
  readonly tables: readonly TableMapping[]
  /** Its name. It is created here, and is what remains: read it from `consistentPoint`. */
  readonly slot: string
  /** Chunks that are copied at the same time: each takes a connection on both sides. Default 2. */
  readonly workers?: number | undefined
  /**
   * Begin again after a copy that was interrupted: drops the slot (once nobody reads it) and empties the tables.
   * Default: a slot or rows that are there are errors.
   */
  readonly restart?: boolean | undefined
  /** Where a chunk ends, whichever comes first. Defaults: 50,000 rows, 64 MB. */
  readonly chunkRows?: number | undefined
  readonly chunkBytes?: number | undefined
  readonly onProgress?: ((progress: CopyProgress) => void) | undefined
  readonly signal: AbortSignal
}

export interface CopyProgress {
  /** The source table that has just got on. */
  readonly table: string
  /** Of all tables. */
  readonly rows: number
  /** The planner's estimate, of all tables; null where it has none. */
  readonly estimatedRows: number | null
  readonly chunks: { readonly done: number; readonly all: number }
}

export interface CopyResult {
  readonly slot: string
  /** Where the stream begins: transactions whose commit record starts here or later. */
  readonly consistentPoint: Lsn
  /** Source table → rows written, exactly. */
  readonly rows: ReadonlyMap<string, number>
  /** False where no role was given that may: statistics will come with autovacuum. */
  readonly analyzed: boolean
}

/** How long the slot of a copy that failed may be in the way of its own end, milliseconds. */
const DROP_MS = 5_000

/**
 * Copies the tables inside the one snapshot that the slot begins at. A copy that fails, or is aborted, drops its slot; one
 * that is killed leaves slot and rows behind: `restart` begins again from nothing.
 * While it runs, as long as with pg_dump, the source's tables can't be rewritten, truncated or altered.
 * Throws TABLE_MISSING, TARGET_NOT_EMPTY, SLOT_EXISTS, SLOT_BUSY, SNAPSHOT_GONE, COPY_FAILED, COPY_COUNT, what `connect`
 * and `createSlotWithSnapshot` throw, or the signal's reason.
 */
export async function copySlice(options: CopySliceOptions): Promise<CopyResult> {
  const { source: url, slot, tables } = options
  const broken = new AbortController()
  const signal = AbortSignal.any([options.signal, broken.signal])
  const targets = await prepareTarget(options)
  if (options.restart) await dropSlot({ url, slot, signal })
  let made: SlotWithSnapshot | undefined
  try {
    // Without its locks the copy is worth nothing.
    const onLost = (error: Error) => broken.abort(error)
    await using holder = await openCopySession({ url, slot, signal, onLost })
    await lockTables(holder.client, tables)
    made = await createSlotWithSnapshot({ url, slot, signal })
    const rows = await copyInside({ ...options, signal }, holder.client, made, targets)
    await holder.client.query('COMMIT')
    await holder.finish()
    await made.release()
    const { consistentPoint } = made
    return { slot, consistentPoint, rows, analyzed: await analyzeTarget(options) }
  } catch (error) {
    if (made) await takeBack(made, url)
    signal.throwIfAborted()
    throw explain(error, url)
  }
}

/** What made the copy fail is what is told: a slot that can't be dropped now is dropped by the next attempt. */
async function takeBack(made: SlotWithSnapshot, url: string): Promise<void> {
  await made.release()
  const drop = { url, slot: made.slot, signal: AbortSignal.timeout(DROP_MS) }
  await dropSlot(drop).catch(() => false)
}

async function prepareTarget(options: CopySliceOptions): Promise<Catalog> {
  const { target: url, slot, signal } = options
  await using session = await openCopySession({ url, slot, signal })
  const { client } = session
  try {
    const names = options.tables.map(each => each.to)
    const catalog = await readCatalog(client, names)
    const facts = names.map(name => present(catalog, name, 'the target'))
    await becomeReplica(client, url)
    if (options.restart) await empty(client, facts)
    else await mustBeEmpty(client, names)
    await session.finish()
    return catalog
  } catch (error) {
    signal.throwIfAborted()
    throw explain(error, url)
  }
}

/**
 * Takes the locks before the slot is there: what rewrites a table, or truncates it, isn't seen by snapshots as other
 * changes are, so it must not come between slot and copy.
 */
async function lockTables(holder: pg.ClientBase, tables: readonly TableMapping[]): Promise<void> {
  await holder.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY')
  const names = tables.map(each => quoteRelation(each.table))
  // Doesn't fix the transaction's snapshot yet: that comes with the slot.
  await holder.query(`LOCK TABLE ${names.join(', ')} IN ACCESS SHARE MODE`)
}

async function copyInside(
  options: CopySliceOptions,
  holder: pg.ClientBase,
  made: SlotWithSnapshot,
  targets: Catalog,
): Promise<ReadonlyMap<string, number>> {
  await importSnapshot(holder, made)
  const sources = await readCatalog(
    holder,
    options.tables.map(each => each.table),
  )
  const relations = await relationsOf(holder, options.tables, sources)
  const { rows: sizes } = await holder.query<{ bytes: string }>(
    `SELECT pg_catalog.current_setting('block_size') AS bytes`,
  )
  const chunks = planChunks(relations, {
    rows: options.chunkRows ?? 50_000,
    bytes: options.chunkBytes ?? 64 * 1024 * 1024,
    blockBytes: Number(must(sizes[0], 'block size').bytes),
  })
  const copies = new Map(
    options.tables.map(mapping => [mapping.table, tableCopy(mapping, sources, targets)]),
  )
  return copyChunks({ ...options, chunks, copies, made, estimatedRows: estimate(relations) })
}

/** The relations that hold the tables' rows, as the snapshot sees them. */
async function relationsOf(
  holder: pg.ClientBase,
  tables: readonly TableMapping[],
  sources: Catalog,
): Promise<CopiedRelation[]> {
  const roots = tables.map(({ table }) => present(sources, table, 'the source'))
  const leaves = roots.flatMap(root => root.leaves.map(leaf => leaf.name))
  const parts = await readCatalog(holder, leaves)
  return roots.flatMap(root => {
    const holders = root.leaves.map(leaf => present(parts, leaf.name, 'the source'))
    const relations = root.kind === 'partitioned' ? holders : [root]
    return relations.map(({ name, bytes, rows }) => ({
      table: root.name,
      relation: name,
      bytes,
      rows,
    }))
  })
}

function tableCopy(mapping: TableMapping, sources: Catalog, targets: Catalog): TableCopy {
  const from = new Map(sources.get(mapping.table)?.columns.map(each => [each.name, each]))
  const to = new Map(targets.get(mapping.to)?.columns.map(each => [each.name, each]))
  const binary = [...mapping.columns].every(([name, other]) => {
    const pair = [from.get(name), to.get(other)] as const
    return pair[0] && pair[1] && binaryFits(pair[0], pair[1])
  })
  return { to: mapping.to, columns: mapping.columns, format: binary ? 'binary' : 'text' }
}

function estimate(relations: readonly CopiedRelation[]): number | null {
  if (relations.some(each => each.rows === null)) return null
  return relations.reduce((sum, each) => sum + (each.rows ?? 0), 0)
}

function present(catalog: Catalog, name: string, where: string): TableFacts {
  const facts = catalog.get(name)
  if (!facts) throw missingTable(where, name)
  return facts
}

async function analyzeTarget(options: CopySliceOptions): Promise<boolean> {
  const { slot, signal } = options
  await using session = await openCopySession({
    url: options.analyze ?? options.target,
    slot,
    signal,
  })
  const names = options.tables.map(each => each.to)
  const analyzed = await analyze(session.client, names)
  await session.finish()
  return analyzed
}
