/** The router's talk with control: takes orders, acknowledges them, reports. Losing control changes nothing for clients. */
import type { Orders, RouterAck, RouterControl, SliceReport } from '../model/orders.ts'
import { sleep } from './clock.ts'
import type { Clock } from './clock.ts'
import type { Log } from './log.ts'

export interface Steering {
  run(signal: AbortSignal): Promise<void>
  /** Something that an ack says has changed: send one soon. */
  ack(): void
  /** True when nothing has been heard of control for `lostMs`. */
  lost(): boolean
}

const RETRY_MS = 1_000

export function createSteering(deps: {
  readonly control: RouterControl
  readonly clock: Clock
  readonly log: Log
  readonly lostMs: number
  readonly reportMs: number
  /** Compiles and swaps. Throws where the orders can't be obeyed; the last ones then stay in force. */
  readonly accept: (orders: Orders) => void
  /** Undefined: no orders yet. */
  readonly ackOf: () => RouterAck | undefined
  readonly reports: () => readonly SliceReport[]
}): Steering {
  const { control, clock, log } = deps
  let heardAt = clock.now()
  let wake = (): void => {}
  let dirty = false
  let told = false
  let report = (): void => {}

  const heard = (): void => {
    heardAt = clock.now()
  }

  const ack = (): void => {
    dirty = true
    wake()
  }

  const take = (orders: Orders): void => {
    heard()
    try {
      deps.accept(orders)
    } catch (err) {
      log.error({ err, version: orders.version }, 'orders refused, the last ones stay')
    }
    // What a hold held is known when it ends: whoever moved the slice wants to say so.
    told = true
    report()
  }

  const takeOrders = async (signal: AbortSignal): Promise<void> => {
    while (!signal.aborted) {
      try {
        for await (const orders of control.orders(signal)) take(orders)
      } catch (err) {
        if (!signal.aborted) log.warn({ err }, 'orders interrupted, the last ones stay')
      }
      await sleep(clock, RETRY_MS, signal)
    }
  }

  // One ack at a time, always of the newest state.
  const sendAcks = async (signal: AbortSignal): Promise<void> => {
    while (!signal.aborted) {
      if (!dirty) await new Promise<void>(resolve => (wake = resolve))
      dirty = false
      const state = deps.ackOf()
      if (signal.aborted || !state) continue
      try {
        await orAbort(control.ack(state), signal)
        heard()
      } catch (err) {
        log.warn({ err, version: state.version }, 'ack failed, will be repeated')
        dirty = true
        await sleep(clock, RETRY_MS, signal)
      }
    }
  }

  const sendReports = async (signal: AbortSignal): Promise<void> => {
    while (!signal.aborted) {
      if (!told) await next()
      told = false
      if (signal.aborted) return
      // An ack also says who waits for a drain, and that changes without an event.
      if ((deps.ackOf()?.waiting.length ?? 0) > 0) ack()
      try {
        await orAbort(control.report(deps.reports()), signal)
        heard()
      } catch (err) {
        log.warn({ err }, 'report failed')
      }
    }
  }

  /** Resolves when a report is due, or told to. */
  const next = (): Promise<void> =>
    new Promise(resolve => {
      const cancel = clock.timer(deps.reportMs, resolve)
      report = () => {
        cancel()
        resolve()
      }
    })

  return {
    ack,
    lost: () => clock.now() - heardAt > deps.lostMs,
    async run(signal) {
      const leave = (): void => {
        wake()
        report()
      }
      signal.addEventListener('abort', leave, { once: true })
      await Promise.all([takeOrders(signal), sendAcks(signal), sendReports(signal)])
    },
  }
}

/** A call that control never answers must not keep the router from stopping. */
function orAbort(call: Promise<void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const leave = (): void => resolve()
    signal.addEventListener('abort', leave, { once: true })
    call.then(resolve, reject).finally(() => signal.removeEventListener('abort', leave))
  })
}
