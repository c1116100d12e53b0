/** The load's choices come from a seed, so that a run that found something can be chosen again. */

export interface Random {
  /** In [0, 1). */
  next(): number
  /** An integer in [0, below). */
  below(limit: number): number
  pick<T>(from: readonly T[]): T | undefined
}

/** mulberry32: small, fast, and good enough to choose what to write next. */
export function seeded(seed: number): Random {
  let state = seed >>> 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
  const below = (limit: number): number => Math.floor(next() * limit)
  return { next, below, pick: from => from[below(from.length)] }
}

/** Chooses a row of a table by its weight. */
export function weighted<T extends { readonly weight: number }>(
  rows: readonly T[],
  random: Random,
): T {
  let left = random.next() * rows.reduce((sum, row) => sum + row.weight, 0)
  for (const row of rows) {
    left -= row.weight
    if (left < 0) return row
  }
  const last = rows.at(-1)
  if (last === undefined) throw new Error('an empty table has no row to choose')
  return last
}
