/** A router's line to the control database: orders by notification, answers as rows. Losing it changes nothing for clients. */
import { randomUUID } from 'node:crypto'
import type { Freshness, Orders, RouterAck, RouterControl, SliceReport } from '../model/orders.ts'
import { pause } from '../model/pause.ts'
import { type Lsn, parseLsn } from '../model/position.ts'
import { COPIES, formatStream } from '../model/stream.ts'
import type pg from 'pg'
import { readOrders, type StoredOrders } from './store/orders.ts'
import { ackRouter, removeRouter, reportRouter } from './store/routers.ts'
import { readStreams } from './store/streams.ts'
import type { Ear, Store } from './store/store.ts'

/** A notification may be lost with its connection: look this often all the same. */
const LOOK_MS = 1_000

export interface RouterLinkOptions {
  readonly store: Store
  readonly ear: Ear
  /** Shown in `status`. */
  readonly address: () => string
  /** What to begin with while the control database has no orders: it is new, or was lost. Undefined: nothing is known. */
  readonly before?: () => Promise<Omit<Orders, 'version'> | undefined>
}

export class RouterLink implements RouterControl, AsyncDisposable {
  readonly #options: RouterLinkOptions
  readonly #id = randomUUID()
  #current: Orders | StoredOrders | undefined

  constructor(options: RouterLinkOptions) {
    this.#options = options
  }

  get #at(): string | undefined {
    return this.#current && atOf(this.#current)
  }

  /** The newest that were handed over. */
  get current(): Orders | undefined {
    return this.#current
  }

  async *orders(signal: AbortSignal): AsyncIterable<Orders> {
    const { ear } = this.#options
    while (!signal.aborted) {
      const heard = ear.heard(['orders'], LOOK_MS, signal)
      const orders = await this.#newest()
      // A lower version than before, or the same of another moment: the control database was made anew.
      if (orders && !(orders.version === this.#current?.version && atOf(orders) === this.#at)) {
        this.#current = orders
        yield orders
      } else await heard
    }
  }

  /** What to go by before any other: until then nobody knows where a request goes. Undefined: the signal aborted first. */
  async first(signal: AbortSignal): Promise<Orders | undefined> {
    const { ear } = this.#options
    while (!signal.aborted) {
      const heard = ear.heard(['orders'], LOOK_MS, signal)
      const orders = await this.#newest()
      if (orders) return orders
      await heard
    }
    return undefined
  }

  /** Away: the last orders stay in force, and the ear tells when it is back. */
  async #newest(): Promise<Orders | StoredOrders | undefined> {
    const { store, before } = this.#options
    const newest = await readOrders(store).catch(() => undefined)
    if (newest || this.#current) return newest
    const orders = await before?.().catch(() => undefined)
    return orders && { ...orders, version: 0 }
  }

  async ack(ack: RouterAck): Promise<void> {
    await ackRouter(this.#options.store, this.#identity(), { ...ack, at: this.#at })
  }

  async report(slices: readonly SliceReport[]): Promise<void> {
    await reportRouter(this.#options.store, this.#id, slices)
  }

  #identity(): { id: string; address: string } {
    return { id: this.#id, address: this.#options.address() }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await removeRouter(this.#options.store, this.#id).catch(() => undefined)
  }
}

function atOf(orders: Orders | StoredOrders): string | undefined {
  return 'at' in orders ? orders.at : undefined
}

/** Watermarks are read this often while a slice is at canary: older is safe, the owner answers a little longer. */
const WATERMARK_MS = 50
/** A worker that was silent this long is not believed. */
const SILENT_MAX_MS = 2_000

/** Read-your-writes: positions of legacy, and how far each slice's service has come. */
export class StreamFreshness implements Freshness {
  readonly #store: Store
  readonly #legacy: pg.Pool
  #watermarks = new Map<string, Lsn>()

  /** `legacy`: any role that may log in. */
  constructor(store: Store, legacy: pg.Pool) {
    this.#store = store
    this.#legacy = legacy
  }

  async token(): Promise<Lsn> {
    // The insert position: with asynchronous commit the write position may be below an acknowledged commit.
    const { rows } = await this.#legacy.query<{ lsn: string }>(
      'SELECT pg_catalog.pg_current_wal_insert_lsn()::text AS lsn',
    )
    return parseLsn(rows[0]!.lsn)
  }

  watermark(slice: string): Lsn | undefined {
    return this.#watermarks.get(slice)
  }

  /** Reads the watermarks of the slices at canary until the signal aborts. `orders`: the ones in force. */
  async run(orders: () => Orders | undefined, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const slices = (orders()?.slices ?? []).filter(
        each => each.stage === 'canary' || each.stage === 'shadow',
      )
      if (slices.length > 0) {
        const streams = await readStreams(this.#store).catch(() => [])
        this.#watermarks = new Map(
          slices.flatMap(slice => {
            const own = formatStream({ from: 'legacy', to: slice.service, what: slice.name })
            const copies = formatStream({ from: 'legacy', to: slice.service, what: COPIES })
            const known = streams.filter(each => each.name === own || each.name === copies)
            const lows = known.map(each =>
              each.watermark !== null &&
              each.state === 'streaming' &&
              (each.silentMs ?? Infinity) < SILENT_MAX_MS
                ? parseLsn(each.watermark)
                : undefined,
            )
            if (!known.some(each => each.name === own) || lows.includes(undefined)) return []
            // A read may touch the slice's tables and the read copies: the slower of the two counts.
            return [[slice.name, lows.reduce((a, b) => (a! < b! ? a : b))!] as const]
          }),
        )
      }
      await pause(WATERMARK_MS, signal)
    }
  }
}
