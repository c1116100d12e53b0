/**
 * Parks the unsafe requests of a slice while its owner changes, and lets them go, gently, when it has. Bounded in number
 * (the newest is refused), in bytes (a body isn't read beyond a bound) and in time.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { HoldOrder } from '../model/orders.ts'
import type { Clock } from './clock.ts'
import type { Log } from './log.ts'

export type Verdict =
  /** The hold is over: decide again, by the orders of now. */
  | { readonly kind: 'released'; readonly done: () => void }
  /** The hold has expired, and nobody is there to end it: go on as decided; the gate protects. */
  | { readonly kind: 'pass' }
  | { readonly kind: 'expired' | 'overflow' | 'gone' | 'closing' }

export interface HoldCounts {
  readonly now: number
  readonly total: number
  readonly overflowed: number
  readonly expired: number
}

export interface Holds {
  /** Called with every new table's holds: begins, renews and ends them. */
  apply(holds: ReadonlyMap<string, HoldOrder>): void
  /** Parks one request. `ahead` receives the body bytes that are read meanwhile. */
  park(
    slice: string,
    parcel: { req: IncomingMessage; res: ServerResponse; ahead: Buffer[] },
  ): Promise<Verdict>
  counts(slice: string): HoldCounts
  /** Everybody out: `closing`. */
  close(): void
}

interface Parked {
  settle(verdict: Verdict): void
}

interface Gate {
  order: HoldOrder
  expired: boolean
  stopTimer: () => void
  readonly parked: Set<Parked>
}

export function createHolds(deps: {
  readonly clock: Clock
  readonly log: Log
  readonly releaseConcurrency: number
  /** True when control has been silent for too long. */
  readonly controlLost: () => boolean
}): Holds {
  const gates = new Map<string, Gate>()
  const totals = new Map<string, { total: number; overflowed: number; expired: number }>()
  const releasing = new Set<Release>()

  const totalsOf = (slice: string) => {
    const found = totals.get(slice) ?? { total: 0, overflowed: 0, expired: 0 }
    totals.set(slice, found)
    return found
  }

  const begin = (slice: string, gate: Gate): void => {
    gate.expired = false
    gate.stopTimer()
    gate.stopTimer = deps.clock.timer(gate.order.holdMs, () => {
      gate.expired = true
      totalsOf(slice).expired += gate.parked.size
      const { epoch } = gate.order
      deps.log.warn({ slice, epoch, parked: gate.parked.size }, 'hold expired')
      for (const parked of [...gate.parked]) parked.settle({ kind: 'expired' })
    })
  }

  const end = (slice: string, gate: Gate): void => {
    gate.stopTimer()
    gates.delete(slice)
    deps.log.info({ slice, epoch: gate.order.epoch, parked: gate.parked.size }, 'hold ended')
    const release = new Release(gate.parked, deps.releaseConcurrency, () =>
      releasing.delete(release),
    )
    releasing.add(release)
    release.start()
  }

  return {
    apply(holds) {
      for (const [slice, gate] of [...gates]) if (!holds.has(slice)) end(slice, gate)
      for (const [slice, order] of holds) {
        const known = gates.get(slice)
        if (known?.order.epoch === order.epoch) {
          known.order = order
          continue
        }
        const gate = known ?? { order, expired: false, stopTimer: () => {}, parked: new Set() }
        gate.order = order
        gates.set(slice, gate)
        begin(slice, gate)
        deps.log.info({ slice, epoch: order.epoch, holdMs: order.holdMs }, 'hold began')
      }
    },

    park(slice, parcel) {
      const gate = gates.get(slice)
      // The hold ended between the decision and now.
      if (!gate) return Promise.resolve({ kind: 'released', done: () => {} })
      const counted = totalsOf(slice)
      if (gate.expired) {
        if (deps.controlLost()) return Promise.resolve({ kind: 'pass' })
        counted.expired++
        return Promise.resolve({ kind: 'expired' })
      }
      if (gate.parked.size >= gate.order.maxHeld) {
        counted.overflowed++
        return Promise.resolve({ kind: 'overflow' })
      }
      counted.total++
      return parkOne(gate, parcel)
    },

    counts(slice) {
      return { now: gates.get(slice)?.parked.size ?? 0, ...totalsOf(slice) }
    },

    close() {
      for (const gate of gates.values()) {
        gate.stopTimer()
        for (const parked of [...gate.parked]) parked.settle({ kind: 'closing' })
      }
      for (const release of releasing) release.abandon()
    },
  }
}

function parkOne(
  gate: Gate,
  { req, res, ahead }: { req: IncomingMessage; res: ServerResponse; ahead: Buffer[] },
): Promise<Verdict> {
  const stopReading = readAhead(req, ahead, gate.order.maxHeldBodyBytes)
  return new Promise(resolve => {
    const gone = (): void => parked.settle({ kind: 'gone' })
    const parked: Parked = {
      settle(verdict) {
        gate.parked.delete(parked)
        res.removeListener('close', gone)
        stopReading()
        resolve(verdict)
      },
    }
    res.once('close', gone)
    gate.parked.add(parked)
  })
}

/**
 * Reads a body up to a bound, so that a client that leaves is noticed and a small request goes out at once. Beyond the
 * bound the socket isn't read: TCP makes the client wait.
 */
function readAhead(req: IncomingMessage, ahead: Buffer[], limitBytes: number): () => void {
  let bytes = ahead.reduce((sum, chunk) => sum + chunk.length, 0)
  const onData = (chunk: Buffer): void => {
    ahead.push(chunk)
    bytes += chunk.length
    if (bytes >= limitBytes) req.pause()
  }
  if (bytes < limitBytes) req.on('data', onData)
  return () => {
    req.pause()
    req.removeListener('data', onData)
  }
}

/** Lets parked requests go in order, a few at first; each that ends makes room for two (slow start). */
class Release {
  readonly #queue: Set<Parked>
  readonly #onDone: () => void
  #room: number
  #active = 0

  constructor(queue: Set<Parked>, room: number, onDone: () => void) {
    this.#queue = queue
    this.#room = room
    this.#onDone = onDone
  }

  start(): void {
    for (const parked of this.#queue) {
      if (this.#active >= this.#room) return
      this.#active++
      parked.settle({ kind: 'released', done: once(() => this.#ended()) })
    }
    if (this.#active === 0) this.#onDone()
  }

  #ended(): void {
    this.#active--
    this.#room++
    this.start()
  }

  abandon(): void {
    for (const parked of [...this.#queue]) parked.settle({ kind: 'closing' })
  }
}

function once(callback: () => void): () => void {
  let called = false
  return () => {
    if (called) return
    called = true
    callback()
  }
}
