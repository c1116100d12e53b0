/**
 * Read your own writes: after an unsafe request that legacy answered, its key's reads stay with legacy until the
 * service's copy has passed a position taken after that answer.
 */
import type { Freshness } from '../model/orders.ts'
import type { Lsn } from '../model/position.ts'
import { LSN_ZERO } from '../model/position.ts'

export interface Tokens {
  /** An unsafe request of these keys goes to legacy. Returns what must be called once, when legacy is through with it. */
  wrote(keys: readonly string[]): () => void
  /**
   * True where the service may answer this key's reads of this slice. `mark`: of the client's last write (router/wrote.ts);
   * one that isn't known came through another router, and has been committed by now.
   */
  fresh(slice: string, key: string | null, mark?: string | null): boolean
  /** Keys that were not remembered may be read from copies from now on: what anybody wrote until now counts as theirs. */
  everybody(): void
  /** A position that covers everything committed until now; shares the next query with whoever asks meanwhile. */
  token(): Promise<Lsn>
}

interface Entry {
  /** Requests that aren't over, and tokens that aren't here. While there are any, the owner answers. */
  pending: number
  token: Lsn
  /** A token couldn't be had; a later one will do as well. */
  missed: boolean
}

/**
 * `most`: keys that are remembered. A forgotten key's token lives on as a floor under all keys, so forgetting is safe; and
 * what was written before this began is forgotten too.
 */
export function createTokens(freshness: Freshness, most: number): Tokens {
  const entries = new Map<string, Entry>()
  const ask = createBatcher(() => freshness.token())
  // What forgotten keys wrote, and all that was written through a predecessor: one entry under all keys.
  const floor: Entry = { pending: 0, token: LSN_ZERO, missed: false }

  const fetch = (...wanted: Entry[]): void => {
    for (const entry of wanted) entry.pending++
    ask().then(
      token => {
        for (const entry of wanted) {
          if (token > entry.token) entry.token = token
          entry.missed = false
          entry.pending--
        }
      },
      () => {
        for (const entry of wanted) {
          entry.missed = true
          entry.pending--
        }
      },
    )
  }

  const remember = (key: string): Entry => {
    const entry = entries.get(key) ?? { pending: 0, token: LSN_ZERO, missed: false }
    entries.delete(key)
    entries.set(key, entry)
    if (entries.size > most) forgetOldest()
    return entry
  }

  const met = (mark: string): Entry => {
    const entry = remember(mark)
    fetch(entry)
    return entry
  }

  // Entries with something pending are bounded by the requests under way, and aren't forgotten.
  const forgetOldest = (): void => {
    for (const [key, entry] of entries) {
      if (entry.pending > 0) continue
      entries.delete(key)
      if (entry.token > floor.token) floor.token = entry.token
      if (entry.missed) floor.missed = true
      return
    }
  }

  const passed = (entry: Entry, watermark: Lsn): boolean => {
    if (entry.missed && entry.pending === 0) fetch(entry)
    return entry.pending === 0 && !entry.missed && watermark >= entry.token
  }

  fetch(floor)
  return {
    wrote(keys) {
      const marked = keys.map(remember)
      for (const entry of marked) entry.pending++
      return () => {
        fetch(...marked)
        for (const entry of marked) entry.pending--
      }
    },
    fresh(slice, key, mark = null) {
      const watermark = freshness.watermark(slice)
      if (watermark === undefined || !passed(floor, watermark)) return false
      const entry = key === null ? undefined : entries.get(key)
      if (entry !== undefined && !passed(entry, watermark)) return false
      return mark === null || passed(entries.get(mark) ?? met(mark), watermark)
    },
    everybody: () => fetch(floor),
    token: ask,
  }
}

/**
 * At most one query is under way. Who asks meanwhile shares the *next* one: the one under way may have been answered
 * before what the asker waits for was committed.
 */
export function createBatcher<T>(query: () => Promise<T>): () => Promise<T> {
  let running = false
  let next: { readonly promise: Promise<T>; start(): void } | undefined

  const start = async (): Promise<T> => {
    running = true
    try {
      return await query()
    } finally {
      running = false
      const waiting = next
      next = undefined
      waiting?.start()
    }
  }

  return () => {
    if (!running) return start()
    if (!next) {
      let begin = (): void => {}
      const promise = new Promise<T>((resolve, reject) => {
        begin = () => void start().then(resolve, reject)
      })
      next = { promise, start: () => begin() }
    }
    return next.promise
  }
}
