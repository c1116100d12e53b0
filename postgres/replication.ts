/** Reads a replication slot as a stream of changes: in order, with backpressure, and forgetting nothing unasked. */
import { once } from 'node:events'
import { both, type CopyBothStream } from 'pg-copy-streams'
import type pg from 'pg'
import type { StreamEvent } from '../model/change.ts'
import { BanyanError } from '../model/errors.ts'
import { SYNC_ERRORS } from '../model/errors-sync.ts'
import { formatLsn, type Lsn } from '../model/position.ts'
import { createFlushPosition, type FlushPosition } from './flush-position.ts'
import { createDecoder } from './pgoutput.ts'
import { isStopping } from './server-stopping.ts'
import { encodeStatus, parseFrame } from './replication-frame.ts'
import { verifySlot } from './replication-start.ts'
import { cut, connect } from './connection.ts'
import { sourceError, streamError } from './source-error.ts'
import { literal, quote } from './sql.ts'

export interface StreamOptions {
  /** The capture role's: REPLICATION, SELECT. */
  readonly url: string
  readonly slot: string
  /** All of them are read through the one slot, in commit order. */
  readonly publications: readonly string[]
  /**
   * Everything that committed before this position is durable in the target. Transactions whose commit record starts
   * here or later are delivered, and only those.
   */
  readonly from: Lsn
  /** Aborting closes the stream; `events()` then throws the signal's reason. */
  readonly signal: AbortSignal
  /**
   * How often the server is told what is acknowledged, and asked how far it is: an idle stream has an `idle` event this
   * often. Milliseconds; default 200.
   */
  readonly statusIntervalMs?: number | undefined
  /** Messages that wait for the consumer before the socket is paused. Default 1024. */
  readonly highWaterMark?: number | undefined
  /** The stream counts as lost when nothing has come for this long although it was asked for. Default 60,000. */
  readonly silenceMs?: number | undefined
  /**
   * A server that stops waits for its readers without limit. While the consumer has pulled nothing for this long, the
   * stream looks, this often, whether the server wants to stop. Default 5,000.
   */
  readonly stallMs?: number | undefined
  /**
   * Tell the server to forget up to an idle position once every commit before it is acknowledged. Only for a stream
   * whose position nobody stores (a sentinel): after a restart the slot is ahead of what the target has stored, which
   * is SLOT_AHEAD. Default: off; a consumer stores an idle position now and then and acknowledges it.
   */
  readonly advanceIdle?: boolean | undefined
  readonly log: StreamLog
}

export interface StreamLog {
  info(fields: object, phrase: string): void
}

/** The changes of one database, in commit order (the port is sync/ports.ts). */
export interface ChangeStream extends AsyncDisposable {
  /**
   * Can be read once. Pulling is the backpressure: what isn't pulled waits in the server, and the connection stays
   * alive. Throws BanyanError STREAM_LOST (open another, from the last durable position), STREAM_FAILED,
   * PUBLICATION_MISSING, SLOT_LOST, PGOUTPUT_MALFORMED or PGOUTPUT_VERSION. Ends after disposal.
   */
  events(): AsyncIterable<StreamEvent>
  /**
   * Everything that committed before this position is durable in the target: the server may forget it. Never blocks;
   * sent with the next status. Older positions are ignored. RangeError for one that was not delivered.
   */
  acknowledge(position: Lsn): void
}

/**
 * Opens the slot. There is no reconnection inside. A server that stops is not held up: the stream ends as STREAM_LOST,
 * and what wasn't acknowledged comes again when the server is back.
 * Throws BanyanError: those above, SLOT_MISSING, SLOT_AHEAD, SLOT_BUSY (try again), SOURCE_REWOUND, and what `connect`
 * throws.
 */
export async function openStream(options: StreamOptions): Promise<ChangeStream> {
  const { url, slot, signal } = options
  let client: pg.Client | undefined
  try {
    client = await connect({ url, applicationName: `banyan ${slot}`, replication: true, signal })
    await verifySlot(client, options)
    const stream = new ReplicationStream(client, options)
    await stream.started()
    return stream
  } catch (error) {
    if (client) cut(client)
    signal.throwIfAborted()
    throw sourceError(error, url, {
      '42704': [SYNC_ERRORS.SLOT_MISSING, [slot]],
      '55006': [SYNC_ERRORS.SLOT_BUSY, [slot, 'another connection']],
      '55000': [SYNC_ERRORS.SLOT_LOST, [slot]],
      '58P01': [SYNC_ERRORS.SLOT_LOST, [slot]],
    })
  }
}

/**
 * A keepalive asks for a reply when none has come for half of wal_sender_timeout, which never happens here, or when the
 * server is stopping: then after every reply again, until everything is acknowledged.
 */
const STOPPING_AFTER_REQUESTS = 3

/** After a stream was told to end: how long the server may take to notice, milliseconds. */
const HANG_UP_MS = 2_000

class ReplicationStream implements ChangeStream {
  readonly #client: pg.Client
  readonly #copy: CopyBothStream
  readonly #options: StreamOptions
  readonly #flush: FlushPosition
  readonly #decoder = createDecoder()
  readonly #onAbort = () => void this[Symbol.asyncDispose]()
  #timer: NodeJS.Timeout | undefined
  #statusUnderWay = false
  #read = false
  #requests = 0
  #pulledAtMs = performance.now()
  #lookedAtMs = 0
  #failure: BanyanError | undefined
  #closed: Promise<void> | undefined
  /** While the consumer waits for the server. */
  #waiting: { readonly sinceMs: number; readonly wake: () => void } | undefined

  constructor(client: pg.Client, options: StreamOptions) {
    this.#client = client
    this.#options = options
    this.#flush = createFlushPosition(options.from, options.advanceIdle ?? false)
    this.#copy = both(startCommand(options), {
      alignOnCopyDataFrame: true,
      // Mandatory: without object mode reads glue messages together.
      readableObjectMode: true,
      readableHighWaterMark: options.highWaterMark ?? 1024,
    })
    this.#copy.on('readable', () => this.#waiting?.wake())
    this.#copy.on('error', error => this.#fail(this.#streamError(error)))
    this.#copy.on('end', () => this.#fail(lost('the server ended the stream')))
    client.query(this.#copy)
  }

  /** Resolves once the server streams: a status can be written only then. */
  async started(): Promise<void> {
    const writable = new Promise<void>((resolve, reject) => {
      this.#copy.write(this.#status(false), error => (error ? reject(error) : resolve()))
      this.#copy.once('error', reject)
    })
    this.#options.signal.addEventListener('abort', this.#onAbort, { once: true })
    await writable
    this.#options.signal.throwIfAborted()
    this.#timer = setInterval(() => this.#tick(), this.#options.statusIntervalMs ?? 200)
    const { slot, from } = this.#options
    this.#options.log.info({ slot, from: formatLsn(from) }, 'change stream opened')
  }

  async *events(): AsyncGenerator<StreamEvent, void, undefined> {
    if (this.#read) throw new Error('the events of a stream can be read once')
    this.#read = true
    for (;;) {
      this.#options.signal.throwIfAborted()
      if (this.#failure) throw this.#failure
      if (this.#closed) return
      this.#pulledAtMs = performance.now()
      const frame = this.#copy.read() as Buffer | null
      if (frame === null) await this.#arrival()
      else yield* this.#eventsOf(frame)
    }
  }

  acknowledge(position: Lsn): void {
    this.#flush.acknowledge(position)
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closed ??= this.#close()
    this.#waiting?.wake()
    return this.#closed
  }

  *#eventsOf(bytes: Buffer): Generator<StreamEvent, void, undefined> {
    const frame = parseFrame(bytes)
    if (frame.kind === 'keepalive') {
      this.#answer(frame.replyRequested)
      // In the middle of a transaction, or before what was delivered already, it says nothing new.
      if (this.#decoder.inTransaction || frame.walEnd < this.#flush.delivered) return
      this.#flush.idle(frame.walEnd)
      yield { kind: 'idle', position: frame.walEnd }
      return
    }
    for (const event of this.#decoder.decode(frame.payload)) {
      if (event.kind === 'commit') this.#flush.committed(event.position)
      yield event
    }
  }

  #answer(requested: boolean): void {
    this.#requests = requested ? this.#requests + 1 : 0
    if (this.#requests >= STOPPING_AFTER_REQUESTS) this.#fail(lost('the server is stopping'))
    else if (requested) this.#sendStatus(false)
  }

  async #arrival(): Promise<void> {
    if (this.#failure || this.#closed) return
    await new Promise<void>(wake => {
      this.#waiting = { sinceMs: performance.now(), wake }
    })
    this.#waiting = undefined
  }

  #tick(): void {
    const { silenceMs = 60_000, stallMs = 5_000 } = this.#options
    const now = performance.now()
    if (this.#waiting && now - this.#waiting.sinceMs > silenceMs) {
      this.#fail(lost(`it has been silent for ${silenceMs} ms`))
      return
    }
    this.#sendStatus(true)
    const stalled = !this.#waiting && now - this.#pulledAtMs > stallMs
    if (stalled && now - this.#lookedAtMs > stallMs) void this.#lookWhetherServerStops()
  }

  /** What the server says in the stream waits behind what the consumer hasn't pulled. */
  async #lookWhetherServerStops(): Promise<void> {
    this.#lookedAtMs = performance.now()
    const { url, signal } = this.#options
    if (await isStopping(url, signal)) this.#fail(lost('the server is stopping'))
  }

  /** One status at a time: while the server doesn't read, nothing piles up here. */
  #sendStatus(replyRequested: boolean): void {
    if (this.#statusUnderWay || this.#failure || this.#closed) return
    this.#statusUnderWay = true
    this.#copy.write(this.#status(replyRequested), () => {
      this.#statusUnderWay = false
    })
  }

  #status(replyRequested: boolean): Buffer {
    const { delivered, flushed } = this.#flush
    return encodeStatus({ written: delivered, flushed, atMs: Date.now(), replyRequested })
  }

  #streamError(error: unknown): BanyanError {
    const { url, slot, publications } = this.#options
    return streamError(error, url, {
      // Before the stream began openStream has its own reading of this code.
      ...(this.#timer && {
        '42704': [SYNC_ERRORS.PUBLICATION_MISSING, [publications.join(', ')]] as const,
      }),
      '55000': [SYNC_ERRORS.SLOT_LOST, [slot]],
      '58P01': [SYNC_ERRORS.SLOT_LOST, [slot]],
    })
  }

  #fail(failure: BanyanError): void {
    clearInterval(this.#timer)
    if (this.#closed) return
    if (!this.#failure) {
      const { slot } = this.#options
      this.#options.log.info({ slot, err: failure }, 'change stream ended')
    }
    this.#failure ??= failure
    // Of no use any more; and the server may be waiting for us.
    cut(this.#client)
    this.#waiting?.wake()
  }

  /** Says goodbye and waits until the server has heard it: from then on the slot is free for the next reader. */
  async #close(): Promise<void> {
    clearInterval(this.#timer)
    this.#options.signal.removeEventListener('abort', this.#onAbort)
    const { connection } = this.#client
    const socket = connection.stream
    if (socket.destroyed) return
    const gone = once(socket, 'close')
    if (!this.#failure) this.#copy.write(this.#status(false))
    connection.end()
    // What still arrives is dropped; unread, it would hide that the server has hung up.
    socket.removeAllListeners('readable')
    socket.removeAllListeners('data')
    socket.resume()
    const limit = setTimeout(() => socket.destroy(), HANG_UP_MS)
    await gone.catch(() => undefined)
    clearTimeout(limit)
  }
}

function lost(why: string): BanyanError {
  return new BanyanError(SYNC_ERRORS.STREAM_LOST, [why])
}

function startCommand({ slot, from, publications }: StreamOptions): string {
  const names = literal(publications.map(quote).join(','))
  const options = `proto_version '1', publication_names ${names}, messages 'true'`
  return `START_REPLICATION SLOT ${quote(slot)} LOGICAL ${formatLsn(from)} (${options})`
}
