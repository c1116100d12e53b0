/** What the router counts, per slice, since it started; comparisons since the slice last came to shadow. */
import type { Difference, SliceReport } from '../model/orders.ts'
import type { Side } from '../model/stage.ts'
import type { HoldCounts } from './hold.ts'
import type { ShadowVerdict } from './shadow.ts'

export interface Counters {
  served(slice: string, side: Side): void
  failed(slice: string, side: Side): void
  shadowed(slice: string, verdict: ShadowVerdict): void
  /** What was compared before says nothing of what is compared now. */
  shadowBegins(slice: string): void
  report(slice: string, held: HoldCounts): SliceReport
}

const EXAMPLES_MAX = 3

interface Counts {
  readonly requests: Record<Side, number>
  readonly failed: Record<Side, number>
  shadow: { compared: number; different: number; dropped: number }
  readonly examples: Difference[]
}

export function createCounters(): Counters {
  const slices = new Map<string, Counts>()
  const of = (slice: string): Counts => {
    const known = slices.get(slice)
    if (known) return known
    const fresh: Counts = {
      requests: { legacy: 0, service: 0 },
      failed: { legacy: 0, service: 0 },
      shadow: { compared: 0, different: 0, dropped: 0 },
      examples: [],
    }
    slices.set(slice, fresh)
    return fresh
  }
  return {
    served(slice, side) {
      of(slice).requests[side]++
    },
    failed(slice, side) {
      of(slice).failed[side]++
    },
    shadowed(slice, verdict) {
      const { shadow, examples } = of(slice)
      if (verdict.kind === 'dropped') {
        shadow.dropped++
        return
      }
      shadow.compared++
      if (!verdict.difference) return
      shadow.different++
      keepExample(examples, verdict.difference)
    },
    shadowBegins(slice) {
      const counts = of(slice)
      counts.shadow = { compared: 0, different: 0, dropped: 0 }
      counts.examples.length = 0
    },
    report(slice, held) {
      const { requests, failed, shadow, examples } = of(slice)
      return {
        slice,
        requests: { ...requests },
        failed: { ...failed },
        held,
        shadow: { ...shadow },
        examples: [...examples],
      }
    },
  }
}

// The newest of each kind at each place: three times the same difference would say less.
function keepExample(examples: Difference[], found: Difference): void {
  const known = examples.findIndex(
    e => e.route === found.route && e.path === found.path && e.kind === found.kind,
  )
  if (known !== -1) examples.splice(known, 1)
  examples.unshift(found)
  examples.length = Math.min(examples.length, EXAMPLES_MAX)
}
