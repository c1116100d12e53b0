/** Applies one stream: whole source transactions, in order, exactly once; stops at a fence until it is decided. */
import type pg from 'pg'
import type { Begin, Change, Message, StreamEvent } from '../../model/change.ts'
import { must, unreachable } from '../../model/errors.ts'
import { pause } from '../../model/pause.ts'
import { formatLsn, type Lsn, LSN_ZERO } from '../../model/position.ts'
import type { Side } from '../../model/stage.ts'
import { COPIES, type StreamName } from '../../model/stream.ts'
import { readDecision, type Verdict } from '../../postgres/gate.ts'
import type { ChangeSource, RogueWrite, StreamListener } from '../ports.ts'
import { CensusCount } from './census.ts'
import { fenceOf, judge, markOf } from './judge.ts'
import { ownsAfter } from './owner.ts'
import { EventQueue } from './queue.ts'
import { describeKey, type Statement, statementsOf, truncateOf } from './statements.ts'
import type { Barrier } from '../verify/slice.ts'
import type { AppliedTable } from './table.ts'
import type { Writer } from './writer.ts'

/** Events that wait between socket and applier. */
const QUEUE_MAX = 1000
/** Source transactions, or changes, in one target transaction: neighbours are joined in order to save commits. */
const BATCH_TRANSACTIONS_MAX = 64
const BATCH_CHANGES_MAX = 1000
/** An idle stream makes its position durable this often, so that the slot doesn't pin WAL. */
const IDLE_FLUSH_MS = 10_000
/** What was counted is told this often. */
const CENSUS_MS = 1_000
/** How often it is told how old the oldest is that waits. */
const BEAT_MS = 200

export interface ApplierOptions {
  readonly stream: StreamName
  readonly tables: readonly AppliedTable[]
  readonly writer: Writer
  readonly source: ChangeSource
  readonly listener: StreamListener
  /** The apply role's sessions in both databases of the slice, for evidence and decisions. */
  readonly legacy: pg.ClientBase
  readonly service: pg.ClientBase
  /** Holds every transaction back until it is this old, for rehearsing lag. Milliseconds; 0: not at all. */
  readonly delayMs: number
  readonly clock: () => number
  /** Called at a fence with both sides standing still, after REACHED is durable. */
  readonly atFence: (epoch: number) => Promise<void>
  /** Waits for the decision of an epoch that this stream has reached; settles it when it is overdue. */
  readonly decided: (epoch: number, signal: AbortSignal) => Promise<Verdict>
  /** Where to stop for a moment between two transactions (sync/verify); undefined: nowhere. */
  readonly barrier: () => Barrier | undefined
  /** Every key that was written in the target, for the comparison at the fence. */
  readonly touched: (table: AppliedTable, change: Change) => void
  readonly signal: AbortSignal
}

/** A source transaction that is being read. */
interface Open {
  readonly begin: Begin
  mark: StreamName | undefined
  first: boolean
  statements: Statement[]
  /** By the TRUNCATE that is being read: one change for each table, one statement in the target. */
  emptied: AppliedTable[]
  rogue: RogueWrite[]
  fenceEpoch: number | undefined
  /** Something in it must be written in the target. */
  relevant: boolean
}

export class Applier {
  readonly #options: ApplierOptions
  readonly #tables: ReadonlyMap<string, AppliedTable>
  readonly #side: Side
  readonly #census: CensusCount
  #owns: Lsn | null = null
  #batch: Open[] = []
  #batchChanges = 0
  /** The writer has begun with the transaction that is being read: it is too big to wait for its end. */
  #streaming = false
  /** The transaction that is being read. */
  #begun: Begin | undefined
  /** All that was read up to here … */
  #watermark: Lsn
  /** … and all that is visible in the target: what waits in the batch is not. */
  #visible: Lsn
  #flushedAt = 0
  #countedAt = 0

  constructor(options: ApplierOptions) {
    this.#options = options
    this.#tables = new Map(options.tables.map(table => [table.source, table]))
    this.#side = options.stream.from === 'legacy' ? 'legacy' : 'service'
    this.#watermark = options.writer.position
    this.#visible = options.writer.position
    this.#census = new CensusCount(options.stream.what, new Set(this.#tables.keys()))
  }

  /** Runs until the signal aborts or the stream fails with a coded error. */
  async run(): Promise<void> {
    await this.#waitAtFence()
    await this.#learnOwner()
    const queue = new EventQueue(this.#options.source.events(), QUEUE_MAX)
    let open: Open | undefined
    const beat = setInterval(() => this.#beat(), BEAT_MS)
    try {
      while (!this.#options.signal.aborted) {
        if (!queue.ready && open === undefined) await this.#flush()
        const event = await queue.next()
        if (event === undefined) break
        open = await this.#take(event, open)
        // An idle mark says that nothing waited when it was sent; what came behind it may wait long since.
        if (event.kind === 'idle' && !queue.ready) this.#tell(0)
      }
    } finally {
      clearInterval(beat)
      await queue.close()
      if (this.#streaming) await this.#options.writer.rollback()
      this.#tellCensus()
    }
  }

  async #take(event: StreamEvent, open: Open | undefined): Promise<Open | undefined> {
    switch (event.kind) {
      case 'begin':
        return this.#begin(event)
      case 'change':
        await this.#change(must(open, 'begin before change'), event)
        return open
      case 'message':
        await this.#message(event)
        return open
      case 'commit':
        await this.#commit(must(open, 'begin before commit'), event.position)
        return undefined
      case 'idle':
        await this.#idle(event.position)
        return undefined
      default:
        return unreachable(event)
    }
  }

  async #begin(begin: Begin): Promise<Open> {
    const { delayMs, clock, signal } = this.#options
    this.#begun = begin
    await this.#stopAt(begin.commitLsn)
    const wait = begin.committedAtMs + delayMs - clock()
    if (delayMs > 0 && wait > 0) {
      await this.#flush()
      await pause(wait, signal)
    }
    return {
      begin,
      mark: undefined,
      first: true,
      statements: [],
      emptied: [],
      rogue: [],
      fenceEpoch: undefined,
      relevant: false,
    }
  }

  async #change(open: Open, change: Change): Promise<void> {
    if (open.first) {
      open.mark = markOf(change)
      open.first = false
    }
    const { stream } = this.#options
    if (stream.what !== COPIES) {
      const epoch = fenceOf(change, stream.what)
      if (epoch !== undefined) {
        open.fenceEpoch = epoch
        open.relevant = true
        open.statements.push(reached(stream.what, epoch, open.begin.commitLsn, change))
        return
      }
    }
    const name = `${change.schema}.${change.table}`
    // What another stream brings is no transaction of the monolith.
    if (open.mark === undefined) this.#census.change(name)
    const table = this.#tables.get(name)
    if (!table) return
    switch (await this.#judge(open)) {
      case 'echo':
        return
      case 'rogue':
        open.rogue.push({
          table: name,
          op: change.op,
          key: describeKey(change, table.key),
          position: open.begin.commitLsn,
          committedAtMs: open.begin.committedAtMs,
        })
        return
      case 'apply':
        open.relevant = true
        this.#options.touched(table, change)
        this.#batchChanges += 1
        if (change.op === 't') {
          open.emptied.push(table)
          return
        }
        empty(open)
        open.statements.push(...statementsOf(change, table))
        if (this.#streaming || open.statements.length > BATCH_CHANGES_MAX) await this.#stream(open)
    }
  }

  /** Invariant: what committed before the barrier is applied, and nothing of what follows has begun. */
  async #stopAt(next: Lsn): Promise<void> {
    for (;;) {
      const barrier = this.#options.barrier()
      if (barrier === undefined || next < barrier.at) return
      await this.#flush()
      await barrier.reached()
    }
  }

  async #judge(open: Open) {
    const facts = { stream: this.#options.stream, mark: open.mark, commitLsn: open.begin.commitLsn }
    const first = judge({ ...facts, ownsAfter: this.#owns })
    if (first !== 'rogue') return first
    // The owner may have changed since it was last read: the other direction's fence isn't in this stream.
    await this.#learnOwner()
    return judge({ ...facts, ownsAfter: this.#owns })
  }

  async #learnOwner(): Promise<void> {
    const { stream, legacy, service } = this.#options
    this.#owns =
      stream.what === COPIES
        ? LSN_ZERO
        : await ownsAfter({ slice: stream.what, side: this.#side, legacy, service })
  }

  async #message(message: Message): Promise<void> {
    if (message.prefix === 'banyan.refused') await this.#options.listener.refused(message)
    else if (message.prefix === 'banyan.writer') this.#census.writer(message.content)
  }

  async #commit(open: Open, end: Lsn): Promise<void> {
    this.#census.commit()
    empty(open)
    if (open.rogue.length > 0) await this.#options.listener.rogue(open.rogue)
    if (open.relevant || open.rogue.length > 0) this.#batch.push(open)
    this.#begun = undefined
    this.#watermark = end
    if (this.#streaming) await this.#finish(open)
    else if (
      open.fenceEpoch !== undefined ||
      this.#batch.length >= BATCH_TRANSACTIONS_MAX ||
      this.#batchChanges >= BATCH_CHANGES_MAX
    ) {
      await this.#flush()
    }
    if (open.fenceEpoch !== undefined) {
      await this.#options.atFence(open.fenceEpoch)
      await this.#options.decided(open.fenceEpoch, this.#options.signal)
      await this.#learnOwner()
    }
  }

  /** A transaction too big to hold: what came before it is committed, then it goes to the target as it arrives. */
  async #stream(open: Open): Promise<void> {
    if (!this.#streaming) {
      await this.#flush()
      this.#streaming = true
      this.#options.writer.begin(open.begin.commitLsn)
    }
    for (const statement of open.statements) await this.#options.writer.write(statement)
    open.statements = []
  }

  async #finish(open: Open): Promise<void> {
    for (const statement of open.statements) await this.#options.writer.write(statement)
    await this.#options.writer.commit()
    this.#streaming = false
    this.#committed(open.begin)
  }

  /** Commits what has been gathered, as one target transaction that stands for the last of them. */
  async #flush(): Promise<void> {
    const last = this.#batch.at(-1)
    if (!last) return
    const { writer } = this.#options
    writer.begin(last.begin.commitLsn)
    for (const open of this.#batch) {
      for (const statement of open.statements) await writer.write(statement)
    }
    await writer.commit()
    this.#committed(last.begin)
  }

  #committed(last: Begin): void {
    this.#batch = []
    this.#batchChanges = 0
    this.#visible = this.#watermark
    this.#flushedAt = this.#options.clock()
    this.#options.source.acknowledge((this.#options.writer.position + 1n) as Lsn)
    this.#tell(Math.max(0, this.#options.clock() - last.committedAtMs))
  }

  async #idle(position: Lsn): Promise<void> {
    await this.#flush()
    await this.#stopAt(position)
    this.#watermark = position
    this.#visible = position
    const due = this.#options.clock() - this.#flushedAt >= IDLE_FLUSH_MS
    if (due && position - 1n > this.#options.writer.position) {
      // One less: the next commit record may start exactly at the watermark.
      this.#options.writer.begin((position - 1n) as Lsn)
      await this.#options.writer.commit()
      this.#flushedAt = this.#options.clock()
      this.#options.source.acknowledge(position)
    }
  }

  /** What waits grows old: it is told of before it is applied, or nobody would know while it takes long. */
  #beat(): void {
    const oldest = this.#batch[0]?.begin ?? this.#begun
    if (oldest) this.#tell(Math.max(0, this.#options.clock() - oldest.committedAtMs))
  }

  #tell(lagMs: number): void {
    const { writer, listener } = this.#options
    listener.progress({ position: writer.position, watermark: this.#visible, lagMs })
    if (this.#options.clock() - this.#countedAt >= CENSUS_MS) this.#tellCensus()
  }

  #tellCensus(): void {
    this.#countedAt = this.#options.clock()
    const census = this.#census.take()
    if (census) this.#options.listener.census(census)
  }

  /** A worker that took over a stream which stands at an undecided fence reads no further either. */
  async #waitAtFence(): Promise<void> {
    const { stream, legacy, service } = this.#options
    if (stream.what === COPIES) return
    const target = stream.to === 'legacy' ? legacy : service
    const { rows } = await target.query<{ epoch: string }>(
      `SELECT max(epoch)::text AS epoch FROM banyan.evidence WHERE slice = $1 AND kind = 'REACHED'`,
      [stream.what],
    )
    const epoch = rows[0]?.epoch ?? null
    if (epoch === null) return
    if ((await readDecision(legacy, stream.what, Number(epoch))) !== undefined) return
    await this.#options.atFence(Number(epoch))
    await this.#options.decided(Number(epoch), this.#options.signal)
  }
}

/** What a TRUNCATE was to empty is complete: something else follows. */
function empty(open: Open): void {
  if (open.emptied.length > 0) open.statements.push(truncateOf(open.emptied))
  open.emptied = []
}

/** REACHED: a copy of the fence row, with the progress that includes it, and whoever waits is told. */
function reached(slice: string, epoch: number, position: Lsn, fence: Change): Statement {
  const detail = Object.fromEntries(fence.after ?? [])
  return {
    text: `WITH told AS (SELECT pg_notify('banyan', 'reached ' || $1 || ' ' || $2))
      INSERT INTO banyan.evidence (slice, epoch, kind, position, detail)
      SELECT $1, $2::bigint, 'REACHED', $3::pg_lsn, $4::jsonb FROM told ON CONFLICT DO NOTHING`,
    values: [slice, String(epoch), formatLsn(position), JSON.stringify(detail)],
    // A database from a backup is closed in an epoch that was reached before.
    rows: null,
    about: { op: 'c', table: 'banyan.evidence', key: `slice=${slice} epoch=${epoch}` },
  }
}
