/** A stream between two real databases, applied by the real applier: what a test waits for, and what the stream told. */
import { randomUUID } from 'node:crypto'
import type pg from 'pg'
import type { Test } from 'tap'
import { Closers } from '../../../model/closers.ts'
import { must } from '../../../model/errors.ts'
import { completeMapping, NOTHING_LEFT } from '../../../model/mapping.ts'
import { pause } from '../../../model/pause.ts'
import { formatLsn, type Lsn, parseLsn } from '../../../model/position.ts'
import { formatStream, publicationOf, type StreamName } from '../../../model/stream.ts'
import { readCatalog, rowKey } from '../../../postgres/catalog.ts'
import { connect } from '../../../postgres/connection.ts'
import { readDecision, type Verdict } from '../../../postgres/gate.ts'
import { openStream } from '../../../postgres/replication.ts'
import { createSlot } from '../../../postgres/slot.ts'
import { Applier, type ApplierOptions } from '../../../sync/apply/applier.ts'
import type { AppliedTable, Cascade } from '../../../sync/apply/table.ts'
import { Writer } from '../../../sync/apply/writer.ts'
import type { RogueWrite, StreamProgress } from '../../../sync/ports.ts'
import { gateSides, type Sides, type SideHandle } from '../../postgres/gate-sides.ts'

export { gateSides, type Sides }

/** A table of the stream; what isn't said is the same on both sides. */
export interface Carried {
  readonly table: string
  readonly to?: string
  readonly renames?: Readonly<Record<string, string>>
  readonly cascades?: readonly Cascade[]
}

export interface Bed {
  readonly stream: StreamName
  readonly source: SideHandle
  readonly target: SideHandle
  /** Starts an applier; any number, one after the other or (twins) at once. */
  start(changed?: Changed): Promise<Running>
  /** The progress row's position. */
  position(): Promise<Lsn>
}

export interface Changed extends Partial<Omit<ApplierOptions, 'stream' | 'tables' | 'writer'>> {
  /** Sees the target's session before it is used. */
  readonly onTarget?: (client: pg.Client) => void
}

export interface Running {
  readonly rogue: RogueWrite[]
  readonly progress: StreamProgress[]
  /** Epochs at which the applier stood at a fence, in order. */
  readonly fences: number[]
  /** Resolves once all that the source has committed by now is applied, or passed over. Throws what stopped the stream. */
  caughtUp(): Promise<void>
  /** Resolves when `condition` holds, looked at whenever the stream tells something. Throws what stopped the stream. */
  until(what: string, condition: () => boolean): Promise<void>
  /** What ended it; undefined for an orderly end. */
  readonly ended: Promise<unknown>
  stop(): Promise<void>
}

/** A slot at the source and a progress row in the target, both standing where the source is now. */
export async function streamBed(
  t: Test,
  sides: Sides,
  stream: StreamName,
  carried: readonly Carried[],
): Promise<Bed> {
  const { legacy, service } = sides
  const [source, target] = stream.from === 'legacy' ? [legacy, service] : [service, legacy]
  const slot = formatStream(stream).replace(/[^a-z0-9]+/g, '_')
  const { consistentPoint } = await createSlot({
    url: source.captureUrl,
    slot,
    signal: AbortSignal.timeout(30_000),
  })
  await target.apply.query(
    'INSERT INTO banyan.progress (stream, worker, position) VALUES ($1, $2, $3)',
    [formatStream(stream), randomUUID(), formatLsn((consistentPoint - 1n) as Lsn)],
  )
  const tables = await appliedTables(source, target, carried)
  const runs: Running[] = []
  t.teardown(() => Promise.all(runs.map(run => run.stop())).then(() => undefined))
  return {
    stream,
    source,
    target,
    async start(changed = {}) {
      const run = await startApplier({ sides, stream, slot, tables, source, target, changed })
      runs.push(run)
      return run
    },
    async position() {
      const { rows } = await target.apply.query<{ position: string }>(
        'SELECT position::text FROM banyan.progress WHERE stream = $1',
        [formatStream(stream)],
      )
      return parseLsn(must(rows[0], 'progress').position)
    },
  }
}

async function appliedTables(
  source: SideHandle,
  target: SideHandle,
  carried: readonly Carried[],
): Promise<AppliedTable[]> {
  const wanted = carried.map(({ table, to = table, renames = {}, cascades = [] }) => ({
    table,
    to,
    renames: new Map(Object.entries(renames)),
    left: NOTHING_LEFT,
    cascades,
  }))
  const from = await readCatalog(
    source.apply,
    wanted.map(each => each.table),
  )
  const to = await readCatalog(
    target.apply,
    wanted.map(each => each.to),
  )
  return wanted.map(each => {
    const here = must(from.get(each.table), each.table)
    const there = must(to.get(each.to), each.to)
    return {
      source: each.table,
      target: each.to,
      columns: completeMapping(each, here.columns, there.columns).columns,
      key: must(rowKey(here), `a key of ${each.table}`),
      cascades: each.cascades,
    }
  })
}

interface Start {
  readonly sides: Sides
  readonly stream: StreamName
  readonly slot: string
  readonly tables: readonly AppliedTable[]
  readonly source: SideHandle
  readonly target: SideHandle
  readonly changed: Changed
}

async function startApplier(start: Start): Promise<Running> {
  const { sides, stream, slot, tables, source, target, changed } = start
  const stop = new AbortController()
  const opened = new Closers()
  const session = async (url: string, pipeline = false) => {
    const client = await connect({
      url,
      applicationName: `banyan ${formatStream(stream)}`,
      rawText: true,
      pipeline,
    })
    opened.defer(() => client.end().catch(() => undefined))
    return client
  }
  const legacy = await session(sides.legacy.applyUrl)
  const service = await session(sides.service.applyUrl)
  const into = await session(target.applyUrl, true)
  changed.onTarget?.(into)
  const writer = await Writer.takeOver(into, formatStream(stream), randomUUID())
  const changes = await openStream({
    url: source.captureUrl,
    slot,
    publications: [publicationOf(stream)],
    from: (writer.position + 1n) as Lsn,
    signal: stop.signal,
    statusIntervalMs: 20,
    log: { info: () => undefined },
  })
  opened.defer(() => changes[Symbol.asyncDispose]())
  const heard = new Heard()
  const applier = new Applier({
    stream,
    tables,
    writer,
    source: changes,
    legacy,
    service,
    delayMs: 0,
    clock: Date.now,
    barrier: () => undefined,
    touched: () => undefined,
    atFence: async epoch => heard.stand(epoch),
    decided: (epoch, signal) => decided(legacy, stream.what, epoch, signal),
    signal: stop.signal,
    ...changed,
    listener: {
      progress: told => heard.tell(told),
      rogue: async writes => void heard.rogue.push(...writes),
      refused: async () => undefined,
      census: () => undefined,
      ...changed.listener,
    },
  })
  const ended = applier.run().then(
    () => heard.end(undefined),
    (error: unknown) => heard.end(stop.signal.aborted ? undefined : error),
  )
  return {
    rogue: heard.rogue,
    progress: heard.progress,
    fences: heard.fences,
    ended,
    until: (what, condition) => heard.until(what, condition),
    async caughtUp() {
      const { rows } = await source.root.query<{ at: string }>(
        'SELECT pg_current_wal_flush_lsn()::text AS at',
      )
      const at = parseLsn(must(rows[0], 'position').at)
      await heard.until(`caught up with ${formatLsn(at)}`, () => heard.watermark >= at)
    },
    async stop() {
      stop.abort()
      await ended
      await opened[Symbol.asyncDispose]()
    },
  }
}

/** What the stream told, and who waits for it. */
class Heard {
  readonly rogue: RogueWrite[] = []
  readonly progress: StreamProgress[] = []
  readonly fences: number[] = []
  #ended: { error: unknown } | undefined
  #waiters: (() => void)[] = []

  get watermark(): bigint {
    return this.progress.at(-1)?.watermark ?? 0n
  }

  tell(progress: StreamProgress): void {
    this.progress.push(progress)
    this.#wake()
  }

  stand(epoch: number): void {
    this.fences.push(epoch)
    this.#wake()
  }

  end(error: unknown): unknown {
    this.#ended = { error }
    this.#wake()
    return error
  }

  async until(what: string, condition: () => boolean): Promise<void> {
    let late = false
    const timer = setTimeout(() => {
      late = true
      this.#wake()
    }, 60_000)
    try {
      while (!condition()) {
        if (this.#ended) throw endedBefore(what, this.#ended.error)
        if (late) throw new Error(`never: ${what}`)
        await new Promise<void>(resolve => this.#waiters.push(resolve))
      }
    } finally {
      clearTimeout(timer)
    }
  }

  #wake(): void {
    for (const wake of this.#waiters.splice(0)) wake()
  }
}

function endedBefore(what: string, error: unknown): Error {
  return error instanceof Error ? error : new Error(`the stream ended before: ${what}`)
}

/** As the worker waits, without ever settling: a test decides. */
async function decided(
  legacy: pg.Client,
  slice: string,
  epoch: number,
  signal: AbortSignal,
): Promise<Verdict> {
  for (;;) {
    const verdict = await readDecision(legacy, slice, epoch)
    if (verdict) return verdict
    signal.throwIfAborted()
    await pause(5, signal)
  }
}
