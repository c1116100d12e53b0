/** A part of Banyan inside a test, that can be stopped and started again. */

export interface Part {
  readonly start: () => void
  /** Also one that has failed. */
  readonly stop: () => Promise<void>
}

export function partOf(run: (signal: AbortSignal) => Promise<unknown>): Part {
  let stop = new AbortController()
  let running: Promise<unknown> | undefined
  return {
    start() {
      stop = new AbortController()
      running = run(stop.signal)
      running.catch(() => undefined)
    },
    async stop() {
      stop.abort()
      await Promise.allSettled([running])
    },
  }
}
