/** What the controller tells the routers: one immutable table with a growing version, and what they answer. */
import type { Side, Stage } from './stage.ts'
import type { Lsn } from './position.ts'

export type Aliases = 'express' | 'rails' | 'spring' | 'aspnet' | 'php' | 'strict'

export interface Upstream {
  readonly url: string
  /** Skip TLS verification. Only when the file says so; `status` shouts. */
  readonly insecure: boolean
}

export interface RouteOrder {
  /** Upper-case method names; empty: every method. */
  readonly methods: readonly string[]
  /** `/api/appointments/:id`, `/api/slots/**`. */
  readonly pattern: string
}

/** While present: park new unsafe requests of the slice, drain those under way, then say so. */
export interface HoldOrder {
  readonly epoch: number
  /** From the moment the router sees the order, by its own clock; after it the parked get 503 + Retry-After. */
  readonly holdMs: number
  readonly maxHeld: number
  readonly maxHeldBodyBytes: number
}

export interface SliceOrder {
  readonly name: string
  readonly service: string
  readonly stage: Stage
  readonly owner: Side
  readonly ownsTables: boolean
  readonly routes: readonly RouteOrder[]
  /** Percent of keys whose reads the service answers at `canary` (0–100, fractions allowed). */
  readonly percent: number
  /** Where a request's key comes from, first that is present: `header:<name>` or `cookie:<name>`. */
  readonly by: readonly string[]
  /** Requests that always go to the service at `canary`: `header:x-beta=1`, `cookie:beta=1`. */
  readonly include: readonly string[]
  /** Percent of the safe requests that are also sent to the service and compared at `shadow` (0–100, fractions allowed). */
  readonly sample: number
  readonly hold: HoldOrder | null
}

export interface Orders {
  readonly version: number
  readonly legacy: Upstream
  readonly services: Readonly<Record<string, Upstream>>
  readonly aliases: Aliases
  readonly identity: { readonly cookie: string; readonly whoami: string } | null
  readonly slices: readonly SliceOrder[]
}

export interface RouterAck {
  /** The version of the orders that every request is decided by, from now on. */
  readonly version: number
  /** Slices on hold in which no forwarded unsafe request is under way any more. */
  readonly drained: readonly { readonly slice: string; readonly epoch: number }[]
  /** Slices on hold that aren't drained: how many, and the oldest request (method and route pattern). */
  readonly waiting: readonly {
    readonly slice: string
    readonly count: number
    readonly oldest: string
  }[]
}

export interface Difference {
  readonly route: string
  /** Where the answers differ, as a JSON path or `status`; never a value. */
  readonly path: string
  readonly kind: 'status' | 'missing' | 'extra' | 'type' | 'value' | 'body'
}

export interface SliceReport {
  readonly slice: string
  /** Counted since the router started. */
  readonly requests: { readonly legacy: number; readonly service: number }
  readonly failed: { readonly legacy: number; readonly service: number }
  readonly held: {
    readonly now: number
    readonly total: number
    readonly overflowed: number
    readonly expired: number
  }
  readonly shadow: {
    readonly compared: number
    readonly different: number
    readonly dropped: number
  }
  /** At most three. */
  readonly examples: readonly Difference[]
}

/** The router's side of the control plane. Losing it changes nothing for clients: the last orders stay in force. */
export interface RouterControl {
  /** The newest orders, at once and on every change. While the control database is away it waits and tries again. */
  orders(signal: AbortSignal): AsyncIterable<Orders>
  /** Must be safe to repeat. */
  ack(ack: RouterAck): Promise<void>
  /** Counters, about once a second. May be lost. */
  report(slices: readonly SliceReport[]): Promise<void>
}

/** How fresh a service's copy is, for read-your-writes. */
export interface Freshness {
  /** An upper bound of everything that legacy has committed until now (its WAL insert position). */
  token(): Promise<Lsn>
  /** Everything up to here is visible in the service's database; undefined: unknown, so the owner must answer. */
  watermark(slice: string): Lsn | undefined
}
