/** How a stream begins (from nothing, by a copy or an empty slot) and how it ends for good. */
import { randomUUID } from 'node:crypto'
import type pg from 'pg'
import { Closers } from '../model/closers.ts'
import { BanyanError, must } from '../model/errors.ts'
import { APPLY_ERRORS } from '../model/errors-apply.ts'
import {
  backwards,
  completeMapping,
  copyOf,
  renamesOf,
  type TableMapping,
  type TableRenames,
} from '../model/mapping.ts'
import { pause } from '../model/pause.ts'
import { formatLsn, type Lsn } from '../model/position.ts'
import { COPIES, formatStream, slotOf, type StreamName } from '../model/stream.ts'
import { type DatabaseUrls, type Wiring } from '../model/wiring.ts'
import { readCatalog } from '../postgres/catalog.ts'
import { connect } from '../postgres/connection.ts'
import { sqlState } from '../postgres/explain.ts'
import { acceptFingerprint, readGate } from '../postgres/gate.ts'
import { createSlot, dropSlot } from '../postgres/slot.ts'
import { switchCensus } from './census-switch.ts'
import { copyIsComplete, firstContact } from './contact.ts'
import { installCopies } from './copies.ts'
import { missingTable } from './missing-table.ts'
import type { StreamTask } from './plan.ts'
import { endPredecessor } from './predecessor.ts'
import { copySlice } from './snapshot/copy-slice.ts'
import type { SyncStore } from './store.ts'
import { verificationSlot } from './verify/slice.ts'

export interface BeginContext {
  readonly wiring: Wiring
  readonly store: SyncStore
}

/** How long a dead slot may be in the way of a new one, milliseconds. */
const DROP_MS = 10_000
/** How often a reverse stream looks whether the first copy is complete. */
const FORWARD_LOOK_MS = 200

export interface StreamSides {
  readonly source: DatabaseUrls
  readonly target: DatabaseUrls
}

export function sidesOf(task: StreamTask, wiring: Wiring): StreamSides {
  const urls = (database: string): DatabaseUrls =>
    database === 'legacy' ? wiring.legacy : must(wiring.services[database], database)
  return { source: urls(task.stream.from), target: urls(task.stream.to) }
}

/** From nothing: the forward stream and read copies begin with a copy, the reverse stream with an empty slot after it. */
export async function beginStream(
  { store, wiring }: BeginContext,
  task: StreamTask,
  sides: StreamSides,
  mappings: readonly TableMapping[],
  sessions: { from: pg.ClientBase; to: pg.ClientBase },
  signal: AbortSignal,
): Promise<void> {
  const { stream } = task
  const name = formatStream(stream)
  const slice = task.slice?.name ?? null
  const slot = slotOf(stream)
  const url = sides.source.capture
  await mustBeLegacys(stream, sessions)
  let start: Lsn
  if (stream.what === COPIES) await installCopies(wiring, task.service)
  if (stream.from === 'legacy') {
    await store.state(name, slice, 'copying')
    const result = await copySlice({
      source: url,
      target: sides.target.apply,
      analyze: sides.target.setup,
      tables: mappings,
      slot,
      workers: wiring.project.banyan.limits.copyWorkers,
      restart: true,
      signal,
      onProgress: progress => {
        const total = { total: Number(progress.estimatedRows ?? progress.rows) }
        void store
          .state(name, slice, 'copying', { copied: progress.rows, ...total })
          .catch(() => undefined)
      },
    })
    start = result.consistentPoint
    const rows = [...result.rows.values()].reduce((a, b) => a + b, 0)
    await store.state(name, slice, 'copying', { copied: rows, total: rows })
  } else {
    // After the copy, or it would decode and spill all of it.
    const forward = formatStream({ from: 'legacy', to: task.service, what: stream.what })
    while (!(await store.streaming(forward))) {
      await pause(FORWARD_LOOK_MS, signal)
      signal.throwIfAborted()
    }
    const stop = AbortSignal.any([signal, AbortSignal.timeout(DROP_MS)])
    await dropSlot({ url, slot, signal: stop })
    start = (await createSlot({ url, slot, signal })).consistentPoint
  }
  await sessions.to.query(
    `INSERT INTO banyan.progress (stream, worker, position) VALUES ($1, $2, $3)
     ON CONFLICT (stream) DO UPDATE SET worker = $2, position = $3`,
    // One less: a commit record may start exactly there, and it is the stream's.
    [name, randomUUID(), formatLsn((start - 1n) as Lsn)],
  )
  if (stream.what !== COPIES) {
    await acceptFingerprint(sessions.from, stream.what)
    await acceptFingerprint(sessions.to, stream.what)
    if (stream.from === 'legacy') await copyIsComplete({ store }, stream.what, sessions.from)
  }
}

/**
 * Invariant: a stream begins only while legacy owns the tables. Later, a copy would empty the owner's tables, and a new
 * slot would leave out what the owner has committed: a control database that forgot is no reason for either.
 */
async function mustBeLegacys(
  stream: StreamName,
  { from, to }: { from: pg.ClientBase; to: pg.ClientBase },
): Promise<void> {
  if (stream.what === COPIES) return
  const gate = await readGate(stream.from === 'legacy' ? from : to, stream.what)
  if (!gate?.open) throw new BanyanError(APPLY_ERRORS.SERVICE_OWNS, [formatStream(stream)])
}

/** Stops a stream for good: its slot, its progress and what is known of it. */
export async function endStream(
  context: BeginContext,
  task: StreamTask,
  signal: AbortSignal,
): Promise<void> {
  const sides = sidesOf(task, context.wiring)
  const name = formatStream(task.stream)
  const stop = AbortSignal.any([signal, AbortSignal.timeout(DROP_MS)])
  const slot = slotOf(task.stream)
  const url = sides.source.capture
  if (await context.store.predecessorSilent()) await endPredecessor(task.stream, sides, stop)
  // What is in legacy goes first: a service that is gone for good must not keep its WAL there.
  if (task.stream.from !== 'legacy') await contactOnce(context, task, signal)
  await dropSlot({ url, slot, signal: stop })
  // A worker that is killed in a verification leaves it.
  await dropSlot({ url, slot: verificationSlot(slot), signal: stop })
  if (task.stream.from === 'legacy' && task.stream.what !== COPIES) {
    // A worker that was killed couldn't.
    const legacy = await connect({
      url: sides.source.apply,
      applicationName: `banyan ${name}`,
      signal,
    })
    await switchCensus(legacy, task.stream.what, false).finally(() => legacy.end())
  }
  if (task.stream.from === 'legacy') await contactOnce(context, task, signal)
  const target = await connect({
    url: sides.target.apply,
    applicationName: `banyan ${name}`,
    signal,
  })
  try {
    await target.query('DELETE FROM banyan.progress WHERE stream = $1', [name])
  } catch (error) {
    // A new database in the old one's place knows nothing of us.
    if (sqlState(error) !== '42P01') throw error
  } finally {
    await target.end()
  }
  await context.store.forget(name)
}

async function contactOnce(
  context: BeginContext,
  task: StreamTask,
  signal: AbortSignal,
): Promise<void> {
  const { wiring } = context
  const applicationName = `banyan ${formatStream(task.stream)}`
  await using opened = new Closers()
  const session = async (url: string) => {
    const client = await connect({ url, applicationName, rawText: true, signal })
    opened.defer(() => client.end().catch(() => undefined))
    return client
  }
  const legacy = await session(wiring.legacy.apply)
  const service = await session(must(wiring.services[task.service], task.service).apply)
  await firstContact(context, task, { legacy, service })
}

/** Throws TABLE_MISSING, MAPPING_CLASH. */
export async function mappingsOf(
  task: StreamTask,
  wiring: Wiring,
  from: pg.ClientBase,
  to: pg.ClientBase,
): Promise<TableMapping[]> {
  const wanted = renamesFor(task, wiring)
  const [source, target] = await Promise.all([
    readCatalog(
      from,
      wanted.map(each => each.table),
    ),
    readCatalog(
      to,
      wanted.map(each => each.to),
    ),
  ])
  return wanted.map(each => {
    const [here, there] = [source.get(each.table), target.get(each.to)]
    if (!here) throw missingTable(task.stream.from, each.table)
    if (!there) throw missingTable(task.stream.to, each.to)
    return completeMapping(each, here.columns, there.columns)
  })
}

/** By the direction of the stream: in reverse the service's names come first. */
function renamesFor(task: StreamTask, wiring: Wiring): TableRenames[] {
  if (!task.slice) {
    return must(wiring.project.banyan.services[task.service], task.service).copies.map(copyOf)
  }
  const forward = renamesOf(task.slice)
  return task.stream.from === 'legacy' ? forward : forward.map(backwards)
}
