/** Time as a dependency, so that holds, caches and tokens can be tested without waiting. */

export interface Clock {
  /** Milliseconds; only differences mean anything. */
  now(): number
  /** Calls back once after `ms`; returns what cancels it. Keeps no process alive. */
  timer(ms: number, callback: () => void): () => void
}

export function systemClock(): Clock {
  return {
    now: () => performance.now(),
    timer(ms, callback) {
      const timer = setTimeout(callback, ms)
      timer.unref()
      return () => clearTimeout(timer)
    },
  }
}

/** Resolves after `ms`, or at once when the signal aborts. Never rejects. */
export function sleep(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    if (signal.aborted) return resolve()
    const done = (): void => {
      cancel()
      signal.removeEventListener('abort', done)
      resolve()
    }
    const cancel = clock.timer(ms, done)
    signal.addEventListener('abort', done)
  })
}
