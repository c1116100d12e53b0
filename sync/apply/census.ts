/** Counts which tables are written in the same transactions as the slice's own, and who writes the slice's. */
import type { Census } from '../ports.ts'

export class CensusCount {
  readonly #owned: ReadonlySet<string>
  #seen = new Set<string>()
  #transactions = 0
  #tables = new Map<string, number>()
  #writers = new Map<string, number>()

  constructor(owned: ReadonlySet<string>) {
    this.#owned = owned
  }

  /** A change of any published table, ours or not, in the transaction that is being read. */
  change(table: string): void {
    if (!table.startsWith('banyan.')) this.#seen.add(table)
  }

  /** Content of a `banyan.writer` message: who sent a statement to a gated table. */
  writer(content: string): void {
    const { role, application } = JSON.parse(content) as { role: string; application: string }
    add(this.#writers, `${role} ${application}`)
  }

  commit(): void {
    const seen = [...this.#seen]
    this.#seen.clear()
    if (!seen.some(table => this.#owned.has(table))) return
    this.#transactions += 1
    for (const table of seen) if (!this.#owned.has(table)) add(this.#tables, table)
  }

  /** What was counted since the last call; undefined where nothing was. */
  take(): Census | undefined {
    if (this.#transactions === 0 && this.#writers.size === 0) return undefined
    const census = {
      transactions: this.#transactions,
      tables: this.#tables,
      writers: this.#writers,
    }
    this.#transactions = 0
    this.#tables = new Map()
    this.#writers = new Map()
    return census
  }
}

function add(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1)
}
