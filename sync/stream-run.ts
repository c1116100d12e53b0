/** Runs one stream from nothing to in step, and keeps it so: first copy, then apply, until the signal aborts. */
import { randomUUID } from 'node:crypto'
import { Closers } from '../model/closers.ts'
import { BanyanError, must } from '../model/errors.ts'
import { pause } from '../model/pause.ts'
import type { Lsn } from '../model/position.ts'
import type { Side } from '../model/stage.ts'
import { CENSUS_PUBLICATION, COPIES, formatStream, publicationOf, slotOf } from '../model/stream.ts'
import type { Wiring } from '../model/wiring.ts'
import { readCatalog, rowKey } from '../postgres/catalog.ts'
import { connect } from '../postgres/connection.ts'
import { explain } from '../postgres/explain.ts'
import { readDecision, type Verdict } from '../postgres/gate.ts'
import { openStream } from '../postgres/replication.ts'
import { overdue, settle, type Settlement } from '../postgres/settle.ts'
import { Applier } from './apply/applier.ts'
import { ownsAfter } from './apply/owner.ts'
import { type AppliedTable, replacedColumns } from './apply/table.ts'
import { Writer } from './apply/writer.ts'
import { switchCensus } from './census-switch.ts'
import { firstContact, mustBeOnRecord, mustHaveCopy } from './contact.ts'
import { mustBePublished } from './copies.ts'
import type { StreamTask } from './plan.ts'
import { endPredecessor } from './predecessor.ts'
import { beginStream, mappingsOf, sidesOf } from './stream-begin.ts'
import { slotFree } from './slot-free.ts'
import type { SyncStore } from './store.ts'
import type { ComparedTable } from './verify/table.ts'
import { TouchedKeys } from './verify/touched.ts'
import { type Barrier, verificationSlot, verifySlice } from './verify/slice.ts'

export interface StreamContext {
  readonly wiring: Wiring
  readonly store: SyncStore
  readonly log: {
    info(fields: object, phrase: string): void
    warn(fields: object, phrase: string): void
  }
  readonly delayMs: number
  readonly settlement: (
    task: StreamTask,
    sessions: Pick<Settlement, 'legacy' | 'service'>,
  ) => Settlement
}

/** How often an undecided epoch is looked at. */
const DECISION_LOOK_MS = 20
/** How often a verification that was asked for is looked for. */
const VERIFY_LOOK_MS = 200

/** One attempt; throws coded errors, after which the caller tries again or stops. */
export async function runStream(
  context: StreamContext,
  task: StreamTask,
  signal: AbortSignal,
): Promise<void> {
  const { store, wiring } = context
  const name = formatStream(task.stream)
  const sides = sidesOf(task, wiring)
  if (await store.predecessorSilent()) await endPredecessor(task.stream, sides, signal)
  await using opened = new Closers()
  const session = async (url: string, options: { pipeline?: boolean } = {}) => {
    const client = await connect({
      url,
      applicationName: `banyan ${name}`,
      rawText: true,
      signal,
      ...options,
    })
    opened.defer(() => client.end().catch(() => undefined))
    return client
  }
  const legacy = await session(wiring.legacy.apply)
  await mustHaveCopy(context, task, legacy, signal)
  const service = await session(must(wiring.services[task.service], task.service).apply)
  await firstContact(context, task, { legacy, service })
  if (await store.streaming(name)) await mustBeOnRecord(task, legacy)
  const [from, to] = task.stream.from === 'legacy' ? [legacy, service] : [service, legacy]
  const mappings = await mappingsOf(task, wiring, from, to)
  if (!(await store.streaming(name)))
    await beginStream(context, task, sides, mappings, { from, to }, signal)
  else if (task.stream.what === COPIES) {
    await mustBePublished(
      task.stream,
      mappings.map(each => each.table),
      legacy,
    )
  }

  const targets = mappings.map(each => each.to)
  // Side by side: while a worker takes over, nobody applies.
  const [facts, there, cascades] = await Promise.all([
    readCatalog(
      from,
      mappings.map(each => each.table),
    ),
    readCatalog(to, targets),
    store.cascades(task.stream.to, targets),
  ])
  const key = (table: string) => rowKey(must(facts.get(table), table)) ?? []
  const tables: AppliedTable[] = mappings.map(({ table, to: target, columns }) => ({
    source: table,
    target,
    columns,
    key: key(table),
    cascades: cascades.get(target) ?? [],
    replaced: replacedColumns({ columns }, key(table), must(there.get(target), target)),
  }))
  const compared: ComparedTable[] = mappings.map(({ table, to: target, columns }) => ({
    source: table,
    target,
    columns,
    key: key(table).map(column => ({
      column,
      type: typeOf(must(facts.get(table), table), column),
    })),
  }))
  const outdate = (why: string): void => {
    if (task.slice) void store.outdate(task.slice.name, why).catch(() => undefined)
  }
  const touched = new TouchedKeys(compared, {
    max: wiring.project.banyan.limits.comparedKeys,
    onForgotten: () => outdate('more keys were changed since than are remembered'),
  })
  // What was changed before this run isn't known here.
  if (task.slice)
    await store.outdate(task.slice.name, 'the worker began anew since (stage, file or restart)')
  const slot = slotOf(task.stream)
  await slotFree(from, slot, signal)
  const writer = await Writer.takeOver(
    await session(sides.target.apply, { pipeline: true }),
    name,
    randomUUID(),
  )
  const publications = [publicationOf(task.stream), ...(task.census ? [CENSUS_PUBLICATION] : [])]
  const position = (writer.position + 1n) as Lsn
  const source = await openStream({
    url: sides.source.capture,
    slot,
    publications,
    from: position,
    signal,
    log: context.log,
  })
  opened.defer(() => source[Symbol.asyncDispose]())
  const slice = task.slice?.name ?? null
  const side: Side = task.stream.from === 'legacy' ? 'legacy' : 'service'
  if (slice !== null && side === 'legacy') {
    // While the slot is held, and no longer: its next holder may want it on.
    if (task.census) opened.defer(() => switchCensus(legacy, slice, false))
    await switchCensus(legacy, slice, task.census)
  }
  await store.state(name, slice, 'streaming')
  let barrier: Barrier | undefined
  const applier = new Applier({
    stream: task.stream,
    tables,
    writer,
    source,
    legacy,
    service,
    delayMs: context.delayMs,
    clock: Date.now,
    signal,
    barrier: () => barrier,
    touched: (table, change) => touched.add(table.source, change),
    atFence: async epoch => {
      const result = await touched.compare(from, to)
      await to.query(
        `WITH told AS (SELECT pg_notify('banyan', 'compared'))
         INSERT INTO banyan.evidence (slice, epoch, kind, detail) SELECT $1, $2, 'COMPARED', $3 FROM told ON CONFLICT DO NOTHING`,
        [task.stream.what, epoch, JSON.stringify(result)],
      )
      if (result.differences === 0) touched.clear()
    },
    decided: (epoch, stop) => decided(context.settlement(task, { legacy, service }), epoch, stop),
    listener: {
      progress: progress => store.progress(name, slice, progress),
      rogue: writes => store.rogue(task.stream.what, side, writes),
      refused: message => store.refused(side, message),
      census: census => {
        if (slice !== null && task.census) store.census(slice, census)
      },
    },
  })
  const ended = new AbortController()
  const verifying = watchVerifications(AbortSignal.any([signal, ended.signal]))
  try {
    await applier.run()
  } finally {
    ended.abort()
    await verifying
  }

  /** Its source owns the tables: this stream's target is what a verification is about. */
  async function applies(): Promise<boolean> {
    const owner = { slice: task.stream.what, side, legacy, service }
    return (await ownsAfter(owner).catch(() => null)) !== null
  }

  async function watchVerifications(stop: AbortSignal): Promise<void> {
    while (slice !== null && !stop.aborted) {
      const ids = await store.verifications(slice).catch(() => [])
      if (ids.length > 0 && (await applies())) {
        const result = await verifySlice({
          sides,
          tables: compared,
          slot: verificationSlot(slot),
          signal: stop,
          atPosition: () => touched.mark(),
          set: next => (barrier = next),
        })
        // The stream ended under it (a stage changed, a session died): its next run takes the request up.
        if (stop.aborted) return
        for (const id of ids) await store.verified(id, result).catch(() => undefined)
        const clean =
          'tables' in result &&
          result.tables.every(each => each.missing + each.extra + each.different === 0)
        if (clean) touched.forget()
      }
      await pause(VERIFY_LOOK_MS, stop)
    }
  }
}

function typeOf(
  table: { columns: readonly { name: string; type: string }[] },
  column: string,
): string {
  return must(
    table.columns.find(each => each.name === column),
    column,
  ).type
}

/** Invariant: the decision is read in legacy, never in the stream. Past the deadline anybody ends the epoch. */
async function decided(
  settlement: Settlement,
  epoch: number,
  signal: AbortSignal,
): Promise<Verdict> {
  for (;;) {
    const verdict = await readDecision(settlement.legacy, settlement.slice, epoch)
    if (verdict) return verdict
    signal.throwIfAborted()
    if (await overdue(settlement, epoch)) return (await settle(settlement, epoch)).verdict
    await pause(DECISION_LOOK_MS, signal)
  }
}

/** An error as `status` shows it. */
export function problemOf(error: unknown): { code: string; message: string; hint: string } {
  const known = explain(error, 'one of its databases')
  if (known instanceof BanyanError)
    return { code: known.code, message: known.message, hint: known.hint }
  const code = (known as { code?: unknown }).code
  return {
    code: typeof code === 'string' ? code : 'UNEXPECTED',
    message: known.message,
    hint: 'the worker tries again; see `banyan status`',
  }
}
