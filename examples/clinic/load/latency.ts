/** Percentiles without keeping every latency: buckets that are 2 % wide. */

const BASE = Math.log(1.02)

export interface Latencies {
  add(ms: number): void
  /** The `fraction` percentile in ms, or null when nothing was added. */
  percentile(fraction: number): number | null
  clear(): void
}

export function createLatencies(): Latencies {
  const buckets = new Map<number, number>()
  let count = 0
  return {
    add(ms) {
      const bucket = Math.round(Math.log(Math.max(ms, 0) * 1000 + 1) / BASE)
      buckets.set(bucket, (buckets.get(bucket) ?? 0) + 1)
      count++
    },
    percentile(fraction) {
      if (count === 0) return null
      let left = Math.ceil(count * fraction)
      for (const [bucket, size] of [...buckets].sort(([a], [b]) => a - b)) {
        left -= size
        if (left <= 0) return rounded((Math.exp(bucket * BASE) - 1) / 1000)
      }
      return null
    },
    clear() {
      buckets.clear()
      count = 0
    },
  }
}

/** Hundredths of a millisecond are as fine as a client can tell. */
export function rounded(ms: number): number {
  return Math.round(ms * 100) / 100
}
