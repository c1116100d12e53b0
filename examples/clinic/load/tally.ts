/** What the client counts, for the progress line, the report and the ledger. */
import {
  FAILURE_ROWS,
  type FailureRow,
  type StaleRead,
  type Told,
  type Totals,
} from '../ledger/record.ts'
import { createLatencies } from './latency.ts'

/** So many stale reads are told in full; all are counted. */
const STALE_EXAMPLES_MAX = 3

export interface Progress extends Pick<
  Totals,
  'sent' | 'ok' | 'failed' | 'unsent' | 'waiting' | 'stale'
> {
  /** Unix time, ms. */
  readonly at: number
  readonly toldOk: number
  /**
   * Answered, and no failure, since the last line; latencies are from the due time, ms, since the
   * last line.
   */
  readonly writesPerSecond: number
  readonly readsPerSecond: number
  readonly p50: number | null
  readonly p99: number | null
}

export interface Report extends Totals {
  /** From the due time, ms, over the whole run. */
  readonly latency: Readonly<
    Record<'reads' | 'writes', Readonly<Record<'p50' | 'p99' | 'max', number | null>>>
  >
  readonly staleExamples: readonly StaleRead[]
}

export interface Tally {
  offered(): void
  sent(): void
  unsent(): void
  /** A request ended: in a failure row, or as an answer. */
  ended(what: {
    kind: 'reads' | 'writes'
    latencyMs: number
    failure?: { row: FailureRow; detail: string }
  }): void
  /** A direct writer was refused: a failure, though no request. */
  directRefused(detail: string): void
  told(what: Told): void
  stale(what: StaleRead): void
  progress(): Progress
  totals(): Totals
  report(): Report
}

export function createTally(): Tally {
  const count = { offered: 0, sent: 0, unsent: 0, ok: 0, failed: 0, stale: 0 }
  const failures = Object.fromEntries(Object.keys(FAILURE_ROWS).map(row => [row, 0])) as Record<
    FailureRow,
    number
  >
  const failureDetails: Record<string, number> = {}
  const told: Record<Told, number> = { ok: 0, no: 0, unknown: 0, unsent: 0 }
  const overall = { reads: createLatencies(), writes: createLatencies() }
  const recent = createLatencies()
  const answered = { reads: 0, writes: 0, since: performance.now() }
  const staleExamples: StaleRead[] = []

  const fail = (row: FailureRow, reason: string): void => {
    const detail = `${row} ${reason}`
    count.failed++
    failures[row]++
    failureDetails[detail] = (failureDetails[detail] ?? 0) + 1
  }
  const totals = (): Totals => ({
    offered: count.offered,
    sent: count.sent,
    unsent: count.unsent,
    waiting: count.offered - count.sent - count.unsent,
    ok: count.ok,
    failed: count.failed,
    failures: { ...failures },
    failureDetails: { ...failureDetails },
    told: { ...told },
    stale: count.stale,
  })
  return {
    offered: () => void count.offered++,
    sent: () => void count.sent++,
    unsent: () => void count.unsent++,
    ended({ kind, latencyMs, failure }) {
      overall[kind].add(latencyMs)
      recent.add(latencyMs)
      if (failure) return fail(failure.row, failure.detail)
      count.ok++
      answered[kind]++
    },
    directRefused: detail => fail('direct', detail),
    told: what => void told[what]++,
    stale(what) {
      count.stale++
      if (staleExamples.length < STALE_EXAMPLES_MAX) staleExamples.push(what)
    },
    progress() {
      const seconds = Math.max(0.001, (performance.now() - answered.since) / 1000)
      const { sent, ok, failed, unsent, waiting, stale } = totals()
      const line: Progress = {
        at: Date.now(),
        sent,
        ok,
        failed,
        unsent,
        waiting,
        stale,
        toldOk: told.ok,
        writesPerSecond: Math.round(answered.writes / seconds),
        readsPerSecond: Math.round(answered.reads / seconds),
        p50: recent.percentile(0.5),
        p99: recent.percentile(0.99),
      }
      recent.clear()
      Object.assign(answered, { reads: 0, writes: 0, since: performance.now() })
      return line
    },
    totals,
    report() {
      const of = (kind: 'reads' | 'writes'): Record<'p50' | 'p99' | 'max', number | null> => ({
        p50: overall[kind].percentile(0.5),
        p99: overall[kind].percentile(0.99),
        max: overall[kind].percentile(1),
      })
      return { ...totals(), latency: { reads: of('reads'), writes: of('writes') }, staleExamples }
    },
  }
}
