/** Counts the unsafe requests that were forwarded and haven't ended, per slice: what a drain waits for. */

export interface Drain {
  /** `label`: method and route pattern. Returns what must be called once, when the request has ended at the upstream. */
  begin(slice: string, label: string): () => void
  underWay(slice: string): number
  /** The label of the one that runs longest; undefined: none. */
  oldest(slice: string): string | undefined
}

/** `onIdle` is called, each time, when a slice's last request has ended. */
export function createDrain(onIdle: (slice: string) => void): Drain {
  const running = new Map<string, Map<symbol, string>>()
  return {
    begin(slice, label) {
      const requests = running.get(slice) ?? new Map<symbol, string>()
      running.set(slice, requests)
      const id = Symbol(label)
      requests.set(id, label)
      return () => {
        if (requests.delete(id) && requests.size === 0) onIdle(slice)
      }
    },
    underWay: slice => running.get(slice)?.size ?? 0,
    oldest: slice => running.get(slice)?.values().next().value,
  }
}
