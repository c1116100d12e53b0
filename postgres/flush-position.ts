/** Up to where a slot may forget: the one number whose mistake loses changes for good. No I/O. */
import { formatLsn, type Lsn } from '../model/position.ts'

/**
 * Invariant: `flushed` never passes what the consumer has acknowledged, save for idle positions when `advanceIdle` is
 * on: then it also takes the newest idle position that was delivered after nothing but acknowledged commits.
 */
export interface FlushPosition {
  /** What the server is told; it never goes back. */
  readonly flushed: Lsn
  /** The highest position that was delivered. */
  readonly delivered: Lsn
  committed(position: Lsn): void
  idle(position: Lsn): void
  /** Throws RangeError for what was never delivered: a correct consumer can't get there. */
  acknowledge(position: Lsn): void
}

export function createFlushPosition(from: Lsn, advanceIdle: boolean): FlushPosition {
  let flushed = from
  let delivered = from
  let acknowledged = from
  let lastCommit = from
  let waiting: { readonly after: Lsn; readonly position: Lsn } | null = null
  const advance = () => {
    if (!waiting || acknowledged < waiting.after) return
    flushed = later(flushed, waiting.position)
    waiting = null
  }
  return {
    get flushed() {
      return flushed
    },
    get delivered() {
      return delivered
    },
    committed(position) {
      lastCommit = later(lastCommit, position)
      delivered = later(delivered, position)
    },
    idle(position) {
      delivered = later(delivered, position)
      if (!advanceIdle) return
      waiting = { after: lastCommit, position }
      advance()
    },
    acknowledge(position) {
      if (position > delivered) {
        const limit = formatLsn(delivered)
        throw new RangeError(`acknowledged ${formatLsn(position)}, only ${limit} was delivered`)
      }
      acknowledged = later(acknowledged, position)
      flushed = later(flushed, position)
      advance()
    },
  }
}

function later(a: Lsn, b: Lsn): Lsn {
  return a > b ? a : b
}
