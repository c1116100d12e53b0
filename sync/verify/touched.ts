/** The keys that a stream has written since both sides were last proved equal: compared exactly while both stand still. */
import type pg from 'pg'
import type { Change } from '../../model/change.ts'
import { difference } from './full.ts'
import { type ComparedTable, sqlOf } from './table.ts'

export class TouchedKeys {
  readonly #tables: ReadonlyMap<string, ComparedTable>
  #keys = new Map<string, Map<string, readonly string[]>>()
  /** Written before the position of a verification that hasn't ended well. */
  #older = new Map<string, Map<string, readonly string[]>>()
  #forgotten = 0
  readonly #max: number
  readonly #onForgotten: () => void

  /** `max`: keys of one table; beyond it the oldest are forgotten, and `onForgotten` is called the first time. */
  constructor(
    tables: readonly ComparedTable[],
    options: { readonly max: number; readonly onForgotten: () => void },
  ) {
    this.#tables = new Map(tables.map(table => [table.source, table]))
    this.#max = options.max
    this.#onForgotten = options.onForgotten
  }

  /** The old key and the new one: after a key change both rows must be as the source has them. */
  add(table: string, change: Change): void {
    const compared = this.#tables.get(table)
    if (!compared) return
    if (change.op === 't') return this.#lost()
    for (const row of [change.before, change.after]) {
      const key = compared.key.map(({ column }) => row?.get(column))
      if (key.every(value => typeof value === 'string')) this.#remember(table, key)
    }
  }

  /** A verification's position is now: what was written until here is what it will vouch for. */
  mark(): void {
    this.#older = this.#all()
    this.#keys = new Map()
  }

  /** Everything until the mark is proved equal. What came later is remembered. */
  forget(): void {
    this.#older = new Map()
    this.#forgotten = 0
  }

  /** Everything is proved equal: both sides stand still. */
  clear(): void {
    this.mark()
    this.forget()
  }

  /** Compares them; both sides stand still, and that is the caller's to know. */
  async compare(
    source: pg.ClientBase,
    target: pg.ClientBase,
  ): Promise<{ keys: number; differences: number; forgotten: number; named: string[] }> {
    const total = { keys: 0, differences: 0, forgotten: this.#forgotten, named: [] as string[] }
    for (const [name, keys] of this.#all()) {
      const table = this.#tables.get(name)!
      const wanted = [...keys.values()]
      const [mine, other] = await Promise.all([
        rowsOf(source, table, 'source', wanted),
        rowsOf(target, table, 'target', wanted),
      ])
      const found = difference(mine, other)
      total.keys += wanted.length
      total.differences += found.missing + found.extra + found.different
      total.named.push(...found.keys.map(key => `${name} ${key}`))
    }
    return total
  }

  #all(): Map<string, Map<string, readonly string[]>> {
    const all = new Map(this.#older)
    for (const [table, keys] of this.#keys)
      all.set(table, new Map([...(all.get(table) ?? []), ...keys]))
    return all
  }

  #remember(table: string, key: readonly string[]): void {
    const keys = this.#keys.get(table) ?? new Map<string, readonly string[]>()
    this.#keys.set(table, keys)
    keys.set(JSON.stringify(key), key)
    if (keys.size <= this.#max) return
    const oldest = keys.keys().next().value
    if (oldest !== undefined) keys.delete(oldest)
    this.#lost()
  }

  /** A comparison at the fence would no longer cover everything: only a new verification would. */
  #lost(): void {
    this.#forgotten += 1
    if (this.#forgotten === 1) this.#onForgotten()
  }
}

async function rowsOf(
  client: pg.ClientBase,
  table: ComparedTable,
  side: 'source' | 'target',
  keys: readonly (readonly string[])[],
): Promise<Map<string, string>> {
  const sql = sqlOf(table, side)
  const places = sql.keyColumns.map((_, index) => `$${index + 1}::text[]`)
  const names = sql.keyColumns.map((_, index) => `banyan_k${index}`)
  const joined = sql.keyColumns.map(
    ({ name, type }, index) => `t.${name} = w.banyan_k${index}::${type}`,
  )
  const columns = sql.keyColumns.map((_, index) => keys.map(key => key[index]))
  const { rows } = await client.query<{ key: string; hash: string }>(
    `SELECT ${sql.key} AS key, hashtextextended(${sql.row}, 1) || ' ' || hashtextextended(${sql.row}, 2) AS hash
     FROM ${sql.relation} t JOIN unnest(${places.join(', ')}) AS w (${names.join(', ')}) ON ${joined.join(' AND ')}`,
    columns,
  )
  return new Map(rows.map(row => [row.key, row.hash]))
}
