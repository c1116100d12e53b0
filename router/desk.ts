/** What the two ways in (requests, upgrades) share: the table of now, and all that acts on a decision. */
import type { IncomingMessage } from 'node:http'
import type { Upstream } from '../model/orders.ts'
import type { Clock } from './clock.ts'
import type { Counters } from './counters.ts'
import type { Drain } from './drain.ts'
import type { Tokens } from './freshness.ts'
import { requestHeaders } from './headers.ts'
import type { RawHeaders } from './headers.ts'
import type { Holds } from './hold.ts'
import { IDENTITY_HEADER } from './identity.ts'
import type { Identity } from './identity.ts'
import { cookieOf } from './keys.ts'
import type { RequestFacts } from './keys.ts'
import type { ExactLane } from './lanes/exact.ts'
import type { RouterLimits } from './limits.ts'
import type { Log } from './log.ts'
import type { Shadow } from './shadow.ts'
import type { Table, TableSlice } from './table.ts'
import type { Turns } from './turns.ts'
import type { UpstreamPool, Upstreams } from './upstreams.ts'

export interface Desk {
  /** Undefined: control hasn't said anything yet. */
  table(): Table | undefined
  /** True once the router takes no new connections. */
  closing(): boolean
  readonly upstreams: Upstreams
  readonly lane: ExactLane
  readonly holds: Holds
  readonly drain: Drain
  readonly tokens: Tokens
  readonly identity: Identity
  readonly shadow: Shadow
  readonly counters: Counters
  readonly turns: Turns
  readonly limits: RouterLimits
  readonly clock: Clock
  readonly log: Log
}

export function factsOf(req: IncomingMessage, target: string): RequestFacts {
  return {
    method: req.method ?? 'GET',
    target,
    header(name) {
      const value = Object.hasOwn(req.headers, name) ? req.headers[name] : undefined
      return Array.isArray(value) ? value.join(', ') : value
    },
  }
}

/** Where a request goes, and the headers it goes with. */
export interface Leg {
  readonly pool: UpstreamPool
  readonly headers: RawHeaders
}

export interface LegRequest {
  readonly req: IncomingMessage
  readonly table: Table
  readonly facts: RequestFacts
  readonly transferEncoding: string | undefined
  readonly upgrade?: string
}

export function legToLegacy(desk: Desk, of: LegRequest): Leg {
  return legTo(desk.upstreams.pool(of.table.orders.legacy), of, [])
}

/** Towards a service, with the token that says whose session this is. Rejects when the monolith can't be asked. */
export async function legToService(
  desk: Desk,
  of: LegRequest,
  slice: TableSlice,
  use: 'serve' | 'shadow' = 'serve',
): Promise<Leg> {
  const { orders } = of.table
  const token = await desk.identity.token(orders, sessionOf(of), slice.order.service)
  const set = token === null ? [] : [IDENTITY_HEADER, token]
  if (use === 'shadow') set.push('x-banyan-shadow', '1')
  return legTo(poolOf(desk, slice.upstream, use), of, set)
}

/** The value of the session cookie that came with a request. */
export function sessionOf({
  table,
  facts,
}: Pick<LegRequest, 'table' | 'facts'>): string | undefined {
  const identity = table.orders.identity
  return identity ? cookieOf(facts.header('cookie'), identity.cookie) : undefined
}

function poolOf(desk: Desk, upstream: Upstream, use: 'serve' | 'shadow'): UpstreamPool {
  return desk.upstreams.pool(upstream, use)
}

function legTo(pool: UpstreamPool, of: LegRequest, set: RawHeaders): Leg {
  const headers = requestHeaders(of.req.rawHeaders, {
    peer: of.req.socket.remoteAddress,
    transferEncoding: of.transferEncoding,
    set,
    host: pool.authority,
    ...(of.upgrade === undefined ? {} : { upgrade: of.upgrade }),
  })
  return { pool, headers }
}
