/** A clock that stands still until it is told to go on. */
import type { Clock } from '../../router/clock.ts'

export interface ManualClock extends Clock {
  /** Moves on by `ms` and calls what has become due, in order. */
  advance(ms: number): void
  /** Resolves when something waits that becomes due within `ms`. */
  waits(ms: number): Promise<void>
}

export function manualClock(): ManualClock {
  let now = 0
  const timers = new Map<symbol, { at: number; callback: () => void }>()
  return {
    now: () => now,
    timer(ms, callback) {
      const id = Symbol('timer')
      timers.set(id, { at: now + ms, callback })
      return () => timers.delete(id)
    },
    advance(ms) {
      const until = now + ms
      for (;;) {
        const due = [...timers].filter(([, timer]) => timer.at <= until)
        const [next] = due.sort(([, a], [, b]) => a.at - b.at)
        if (!next) break
        timers.delete(next[0])
        now = Math.max(now, next[1].at)
        next[1].callback()
      }
      now = until
    },
    async waits(ms) {
      // At least one turn, so that sockets are read meanwhile.
      do await new Promise(resolve => setImmediate(resolve))
      while (![...timers.values()].some(timer => timer.at <= now + ms))
    },
  }
}
