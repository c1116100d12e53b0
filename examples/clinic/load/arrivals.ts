/** The open loop: arrivals come when they are due, whether or not anybody has been answered. */

export interface Arrivals {
  /** Offers nothing until `resume`. */
  pause(): void
  /** The schedule starts anew from now: what would have arrived meanwhile doesn't. */
  resume(): void
}

/** Calls `arrive(due)` for every due instant, late if need be and never skipped. Starts paused. */
export function createArrivals(options: {
  perSecond: number
  now: () => number
  arrive: (due: number) => void
}): Arrivals {
  const { perSecond, now, arrive } = options
  let timer: NodeJS.Timeout | undefined
  let running = false
  let start = 0
  let next = 0
  const dueOf = (index: number): number => start + (index * 1000) / perSecond
  const wake = (): void => {
    while (running && dueOf(next) <= now()) arrive(dueOf(next++))
    if (!running) return
    timer = setTimeout(wake, Math.max(1, dueOf(next) - now()))
  }
  return {
    pause() {
      running = false
      clearTimeout(timer)
    },
    resume() {
      if (running || perSecond <= 0) return
      running = true
      start = now()
      next = 0
      timer = setTimeout(wake, 0)
    },
  }
}
