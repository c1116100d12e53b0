/**
 * A bounded number of sockets, first come first served, and an end to waiting: what isn't sent in
 * time is unsent.
 */

export interface Lane {
  /** True: a socket is yours until `leave`. False: `deadline` (same clock as `now`) came first. */
  enter(deadline: number): Promise<boolean>
  leave(): void
}

export function createLane(options: { places: number; now: () => number }): Lane {
  const waiting = new Set<(entered: boolean) => void>()
  let free = options.places
  return {
    enter(deadline) {
      const left = deadline - options.now()
      if (left <= 0) return Promise.resolve(false)
      if (free > 0) {
        free--
        return Promise.resolve(true)
      }
      return new Promise(resolve => {
        const finish = (entered: boolean): void => {
          clearTimeout(timer)
          waiting.delete(finish)
          resolve(entered)
        }
        const timer = setTimeout(() => finish(false), left)
        waiting.add(finish)
      })
    },
    leave() {
      const [next] = waiting
      if (next) next(true)
      else free++
    },
  }
}
