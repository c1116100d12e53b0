/** Counts which tables are written in the same transactions as the slice's own, and who writes the slice's. */
import type { Census, CensusWriter } from '../ports.ts'
import { familyOf } from '../writer-name.ts'

/** Writers that are told apart between two calls of `take`; the rest of a role is one more. */
const WRITERS_MAX = 100
const OTHERS = '(others)'

export class CensusCount {
  readonly #slice: string
  readonly #owned: ReadonlySet<string>
  #seen = new Set<string>()
  #transactions = 0
  #tables = new Map<string, number>()
  #writers = new Map<string, CensusWriter>()

  constructor(slice: string, owned: ReadonlySet<string>) {
    this.#slice = slice
    this.#owned = owned
  }

  /** A change of any published table, ours or not, in the transaction that is being read. */
  change(table: string): void {
    if (!table.startsWith('banyan.')) this.#seen.add(table)
  }

  /** Content of a `banyan.writer` message: who wrote gated tables, of whatever slice; one for each transaction. */
  writer(content: string): void {
    const { slice, role, application } = JSON.parse(content) as Record<
      'slice' | 'role' | 'application',
      string
    >
    if (slice !== this.#slice) return
    const family = familyOf(application)
    const known = this.#writers.size < WRITERS_MAX || this.#writers.has(`${role}\n${family}`)
    const name = known ? family : OTHERS
    const key = `${role}\n${name}`
    const transactions = (this.#writers.get(key)?.transactions ?? 0) + 1
    this.#writers.set(key, { role, application: name, transactions })
  }

  commit(): void {
    const seen = [...this.#seen]
    this.#seen.clear()
    if (!seen.some(table => this.#owned.has(table))) return
    this.#transactions += 1
    for (const table of seen) {
      if (!this.#owned.has(table)) this.#tables.set(table, (this.#tables.get(table) ?? 0) + 1)
    }
  }

  /** What was counted since the last call; undefined where nothing was. */
  take(): Census | undefined {
    if (this.#transactions === 0 && this.#writers.size === 0) return undefined
    const census = {
      transactions: this.#transactions,
      tables: this.#tables,
      writers: [...this.#writers.values()],
    }
    this.#transactions = 0
    this.#tables = new Map()
    this.#writers = new Map()
    return census
  }
}
