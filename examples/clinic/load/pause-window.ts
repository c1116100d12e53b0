/**
 * The pause as the client saw it: the longest time without an acknowledged write of a slice, and
 * its slowest write.
 */
import { createLatencies, type Latencies, rounded } from './latency.ts'

export type Slice = 'appointments' | 'patients'

export const SLICES: readonly Slice[] = ['appointments', 'patients']

export interface PauseReport {
  /** Acknowledged writes in the window. */
  readonly acknowledged: number
  /**
   * The longest gap between two acknowledged writes, the one still open included; null before the
   * first.
   */
  readonly longestGapMs: number | null
  /** The slowest acknowledged write, from when it was due. */
  readonly largestLatencyMs: number | null
  /** Of all acknowledged writes, from when they were due. */
  readonly p99LatencyMs: number | null
  /**
   * The same write path, from when the request was sent: without the client's own fsync and queue.
   */
  readonly largestSentLatencyMs: number | null
}

export interface PauseWindow {
  acknowledged(slice: Slice, latency: { fromDueMs: number; fromSentMs: number }): void
  /** The load itself stopped or started: that gap is nobody's pause. */
  forgetGap(): void
  /** What the window saw since the last call. */
  take(): Record<Slice, PauseReport>
}

interface Seen {
  lastAt: number | undefined
  count: number
  gap: number
  latency: number
  latencies: Latencies
  sentLatency: number
}

export function createPauseWindow(now: () => number): PauseWindow {
  const seen: Record<Slice, Seen> = {
    appointments: nothing(undefined),
    patients: nothing(undefined),
  }
  return {
    acknowledged(slice, latency) {
      const at = now()
      const window = seen[slice]
      if (window.lastAt !== undefined) window.gap = Math.max(window.gap, at - window.lastAt)
      window.lastAt = at
      window.count++
      window.latency = Math.max(window.latency, latency.fromDueMs)
      window.latencies.add(latency.fromDueMs)
      window.sentLatency = Math.max(window.sentLatency, latency.fromSentMs)
    },
    forgetGap() {
      for (const slice of SLICES) seen[slice].lastAt = undefined
    },
    take() {
      const report = (slice: Slice): PauseReport => {
        const window = seen[slice]
        const open = window.lastAt === undefined ? 0 : now() - window.lastAt
        // The last acknowledgement stays: a gap that spans two windows is seen by the second as
        // well.
        seen[slice] = nothing(window.lastAt)
        const some = window.count > 0
        return {
          acknowledged: window.count,
          longestGapMs: some || open > 0 ? rounded(Math.max(window.gap, open)) : null,
          largestLatencyMs: some ? rounded(window.latency) : null,
          p99LatencyMs: window.latencies.percentile(0.99),
          largestSentLatencyMs: some ? rounded(window.sentLatency) : null,
        }
      }
      return { appointments: report('appointments'), patients: report('patients') }
    },
  }
}

function nothing(lastAt: number | undefined): Seen {
  return { lastAt, count: 0, gap: 0, latency: 0, latencies: createLatencies(), sentLatency: 0 }
}
