/**
 * Both sides, row by row: every row of one must be in the other with the same hash, in both
 * directions.
 */
import type pg from 'pg'
import {
  compareKeys,
  hashedRows,
  PAIRED_TABLES,
  printedKey,
  type PairedTable,
  type ServiceName,
  type SideOfPair,
} from './paired-table.ts'
import { withSnapshot } from './side.ts'

/** A page of a table; both sides are walked in step, so memory is two pages whatever the size. */
const PAGE_ROWS = 5_000
const EXAMPLES_MAX = 3

export interface TableComparison {
  /** `appointments = scheduling.appointment` */
  readonly table: string
  readonly legacyRows: number
  readonly serviceRows: number
  /** In legacy only. */
  readonly missing: number
  /** In the service only. */
  readonly extra: number
  readonly different: number
  /** `missing 4711`: keys, never values. */
  readonly examples: readonly string[]
}

export interface SidesReport {
  readonly tables: readonly TableComparison[]
  readonly legacyRows: number
  readonly serviceRows: number
  /** Missing, extra and different rows of all tables. */
  readonly unequal: number
  /** How often the sides were compared: more than once where they weren't quiet yet. */
  readonly attempts: number
  readonly equal: boolean
}

export interface CompareOptions {
  readonly legacy: string
  readonly services: Partial<Readonly<Record<ServiceName, string>>>
  /** Default: every pair whose service has a URL. */
  readonly slices?: readonly PairedTable['slice'][]
  /**
   * Resolves when no write is under way and nothing waits to be applied. Called before every
   * attempt, with its number from 1. Whoever moves the rows knows when they have arrived; a ledger
   * that guessed would be late or wrong.
   */
  readonly waitUntilQuiet: (attempt: number) => Promise<void>
  /** Default 1: unequal is unequal. */
  readonly attemptsMax?: number
}

/** Throws where a database can't be read. */
export async function compareSides(options: CompareOptions): Promise<SidesReport> {
  const { legacy, services, slices, attemptsMax = 1 } = options
  const pairs = PAIRED_TABLES.filter(
    table =>
      services[table.service] !== undefined &&
      (slices === undefined || slices.includes(table.slice)),
  )
  for (let attempts = 1; ; attempts++) {
    await options.waitUntilQuiet(attempts)
    const tables: TableComparison[] = []
    for (const service of new Set(pairs.map(table => table.service))) {
      const url = services[service]
      if (url === undefined) continue
      const own = pairs.filter(table => table.service === service)
      tables.push(...(await compareService({ legacy, url, tables: own })))
    }
    const report = reportOf(tables, attempts)
    if (report.equal || attempts >= attemptsMax) return report
  }
}

function reportOf(tables: readonly TableComparison[], attempts: number): SidesReport {
  const sum = (of: (table: TableComparison) => number): number =>
    tables.reduce((total, table) => total + of(table), 0)
  const unequal = sum(table => table.missing + table.extra + table.different)
  return {
    tables,
    legacyRows: sum(table => table.legacyRows),
    serviceRows: sum(table => table.serviceRows),
    unequal,
    attempts,
    equal: unequal === 0,
  }
}

function compareService(options: {
  legacy: string
  url: string
  tables: readonly PairedTable[]
}): Promise<TableComparison[]> {
  return withSnapshot(options.legacy, legacy =>
    withSnapshot(options.url, async service => {
      const compared: TableComparison[] = []
      for (const table of options.tables) {
        compared.push(await compareTable({ table, legacy, service }))
      }
      return compared
    }),
  )
}

async function compareTable(options: {
  table: PairedTable
  legacy: pg.Client
  service: pg.Client
}): Promise<TableComparison> {
  const { table } = options
  const here = rowsOf(options.legacy, table, 'legacy')
  const there = rowsOf(options.service, table, 'service')
  const count = { legacyRows: 0, serviceRows: 0, missing: 0, extra: 0, different: 0 }
  const examples: string[] = []
  const found = (what: 'missing' | 'extra' | 'different', key: string): void => {
    count[what]++
    if (examples.length < EXAMPLES_MAX) examples.push(`${what} ${printedKey(table, key)}`)
  }
  let [left, right] = [await here.next(), await there.next()]
  while (!left.done || !right.done) {
    const order = left.done
      ? 1
      : right.done
        ? -1
        : compareKeys(table, left.value.key, right.value.key)
    if (order <= 0) count.legacyRows++
    if (order >= 0) count.serviceRows++
    if (order < 0 && !left.done) found('missing', left.value.key)
    if (order > 0 && !right.done) found('extra', right.value.key)
    if (order === 0 && !left.done && !right.done && left.value.hash !== right.value.hash) {
      found('different', left.value.key)
    }
    if (order <= 0) left = await here.next()
    if (order >= 0) right = await there.next()
  }
  return { table: `${table.legacy} = ${table.service}.${table.there}`, ...count, examples }
}

interface HashedRow {
  readonly key: string
  readonly hash: string
}

async function* rowsOf(
  client: pg.Client,
  table: PairedTable,
  side: SideOfPair,
): AsyncGenerator<HashedRow, undefined> {
  const cursor = `walk_${table.legacy}_${table.there}`
  await client.query(`DECLARE ${cursor} NO SCROLL CURSOR FOR ${hashedRows(table, side)}`)
  for (;;) {
    const { rows } = await client.query<HashedRow>(`FETCH ${PAGE_ROWS} FROM ${cursor}`)
    yield* rows
    if (rows.length < PAGE_ROWS) break
  }
  await client.query(`CLOSE ${cursor}`)
  return undefined
}
