/** The router's ports in memory: orders are pushed, acks and reports are recorded, positions are set by hand. */
import { EventEmitter, once } from 'node:events'
import type {
  Freshness,
  Orders,
  RouterAck,
  RouterControl,
  SliceOrder,
  SliceReport,
} from '../../model/orders.ts'
import type { Lsn } from '../../model/position.ts'
import { STAGES } from '../../model/stage.ts'
import type { Stage } from '../../model/stage.ts'

export interface MemoryControl extends RouterControl {
  push(orders: Orders): void
  /** Resolves with the first recorded ack that fits, waiting for it if need be. */
  acked(fits: (ack: RouterAck) => boolean): Promise<RouterAck>
  /** Resolves with the newest report of this slice that fits, or (`next`) with one that is still to come. */
  reported(
    slice: string,
    fits: (report: SliceReport) => boolean,
    which?: 'newest' | 'next',
  ): Promise<SliceReport>
  readonly acks: readonly RouterAck[]
  /** While true, acks and reports are refused and orders don't arrive. */
  away: boolean
}

export function memoryControl(first?: Orders): MemoryControl {
  const events = new EventEmitter()
  events.setMaxListeners(0)
  const acks: RouterAck[] = []
  let newest = first
  let reports: readonly SliceReport[] = []
  return {
    away: false,
    acks,
    push(orders) {
      newest = orders
      events.emit('orders')
    },
    async *orders(signal) {
      let seen: Orders | undefined
      while (!signal.aborted) {
        if (newest !== undefined && newest !== seen) {
          seen = newest
          yield seen
        } else {
          await once(events, 'orders', { signal }).catch(() => {})
        }
      }
    },
    async ack(ack) {
      if (this.away) throw new Error('control is away')
      acks.push(ack)
      events.emit('ack')
    },
    async report(slices) {
      if (this.away) throw new Error('control is away')
      reports = slices
      events.emit('report')
    },
    async acked(fits) {
      for (;;) {
        const found = acks.find(fits)
        if (found) return found
        await once(events, 'ack')
      }
    },
    async reported(slice, fits, which = 'newest') {
      if (which === 'next') await once(events, 'report')
      for (;;) {
        const found = reports.find(report => report.slice === slice && fits(report))
        if (found) return found
        await once(events, 'report')
      }
    },
  }
}

export interface MemoryFreshness extends Freshness {
  /** What token() answers next; undefined: it fails. */
  position: bigint | undefined
  readonly watermarks: Map<string, bigint>
  /** How often token() was called. */
  asked: number
  /** While set, token() waits for it. */
  gate: Promise<void> | undefined
}

export function memoryFreshness(): MemoryFreshness {
  return {
    position: 0n,
    watermarks: new Map(),
    asked: 0,
    gate: undefined,
    async token() {
      this.asked++
      const now = this.position
      await this.gate
      if (now === undefined) throw new Error('no position')
      return now as Lsn
    },
    watermark(slice) {
      return this.watermarks.get(slice) as Lsn | undefined
    },
  }
}

/** A slice as the controller would order it at this stage, with what the test changes. */
export function sliceOrder(stage: Stage, changes: Partial<SliceOrder> = {}): SliceOrder {
  return {
    name: 'appointments',
    service: 'scheduling',
    stage,
    owner: STAGES[stage].owner,
    ownsTables: true,
    routes: [
      { methods: ['GET', 'POST'], pattern: '/api/appointments' },
      { methods: ['GET', 'PATCH', 'DELETE'], pattern: '/api/appointments/:id' },
      { methods: [], pattern: '/api/slots/**' },
    ],
    percent: 0,
    by: ['header:x-tenant-id', 'cookie:clinic_sid'],
    include: ['header:x-beta=1'],
    sample: 100,
    hold: null,
    ...changes,
  }
}

export function ordersOf(
  legacy: string,
  service: string,
  slices: readonly SliceOrder[],
  changes: Partial<Orders> = {},
): Orders {
  return {
    version: 1,
    legacy: { url: legacy, insecure: false },
    services: { scheduling: { url: service, insecure: false } },
    aliases: 'express',
    identity: null,
    slices,
    ...changes,
  }
}
