/**
 * Whether the foreign keys of legacy that cross a slice hold. While the service owns the parent, legacy refuses no delete
 * that the service makes: the stream brings it, and a stream asks no foreign key.
 */
import type pg from 'pg'
import { crossingKeys, type Crossing } from '../model/crossings.ts'
import { BanyanError } from '../model/errors.ts'
import { CONTROL_ERRORS } from '../model/errors-control.ts'
import type { Slice } from '../model/project.ts'
import { qualified } from '../model/wiring.ts'
import { quote, quoteRelation } from '../postgres/sql.ts'
import { readForeignKeys, readLoosened } from './crossing-facts.ts'

/** A key whose rows can't be counted by then is said to be unknown. */
const COUNT_MS = 5_000

/** `dropped`: on record, and not there (loosen.ts). */
export type KeyState = 'valid' | 'not valid' | 'dropped'

export interface CrossingState extends Crossing {
  readonly state: KeyState
}

export interface Orphans extends CrossingState {
  /** Rows without a parent; null where they could not be counted. */
  readonly rows: number | null
}

type Answers = Pick<Slice, 'tables' | 'foreignKeys'>

/** Asks the catalog alone. `legacy`: a session of any of our roles. */
export async function readCrossingStates(
  legacy: pg.ClientBase,
  slice: Pick<Slice, 'tables'>,
): Promise<CrossingState[]> {
  const there = await readForeignKeys(legacy)
  const names = new Set(there.map(each => `${each.table} ${each.name}`))
  const dropped = (await readLoosened(legacy)).filter(
    each => !names.has(`${each.table} ${each.name}`),
  )
  const state = (definition: string): KeyState =>
    definition.endsWith(' NOT VALID') ? 'not valid' : 'valid'
  return [
    ...there.flatMap(key =>
      crossingKeys(slice, [key]).map(each => ({ ...each, state: state(key.definition) })),
    ),
    ...crossingKeys(slice, dropped).map(each => ({ ...each, state: 'dropped' as const })),
  ]
}

/** Keys that are there and don't hold what is there. */
export async function readNotValid(
  legacy: pg.ClientBase,
  slice: Pick<Slice, 'tables'>,
): Promise<CrossingState[]> {
  return (await readCrossingStates(legacy, slice)).filter(each => each.state === 'not valid')
}

/**
 * Counts the orphans of each key that is not valid, and of those that are answered with `check`; with `dropped` also of
 * those that the slice's absence keeps dropped. `setup`: member of the tables' owner, in legacy.
 */
export async function readOrphans(
  setup: pg.ClientBase,
  slice: Answers,
  { dropped = false }: { readonly dropped?: boolean } = {},
): Promise<Orphans[]> {
  const found: Orphans[] = []
  for (const key of await readCrossingStates(setup, slice)) {
    const checked = key.outside === 'child' && slice.foreignKeys[key.key]?.answer === 'check'
    const loose = key.outside === 'child' && key.state === 'dropped' && dropped
    if (key.state !== 'not valid' && !checked && !loose) continue
    found.push({ ...key, rows: await countOrphans(setup, key) })
  }
  return found
}

/** True for what a person must hear of. */
export function isBroken({ state, rows }: Orphans): boolean {
  return state === 'not valid' || (rows ?? 0) > 0
}

/** What is wrong with the key, how its orphans are found, and what makes it whole. */
export function orphansError(orphans: Orphans, slice: string): BanyanError {
  const { key, fact, state, rows } = orphans
  const table = quoteRelation(qualified(fact.table))
  const whole =
    state === 'not valid'
      ? [`as setup: ALTER TABLE ${table} VALIDATE CONSTRAINT ${quote(fact.name)}`]
      : []
  const look = rows === 0 ? [] : [`SELECT c.* ${orphansSql(orphans)}`, 'mend those rows']
  const hint = [...look, ...whole, `banyan doctor ${slice}`].join('; then ')
  return new BanyanError(CONTROL_ERRORS.ORPHANS, [key, textOf(orphans), hint])
}

function textOf({ fact, state, rows }: Orphans): string {
  const count = rows === 1 ? '1 row has' : `${rows} rows have`
  const orphans =
    rows === null
      ? 'its rows without a parent could not be counted'
      : rows === 0
        ? 'every row has its parent'
        : `${count} no parent in ${fact.parentTable}`
  const words = {
    valid: `while the key ${fact.name} says that all have one`,
    'not valid': `and the key ${fact.name} is NOT VALID`,
    dropped: `the key ${fact.name} is dropped until the slice is back`,
  }
  return `${orphans}, ${words[state]}`
}

/** As PostgreSQL judges it (MATCH SIMPLE): a row with a NULL in the key needs no parent. */
function orphansSql({ fact }: Crossing): string {
  const pairs = fact.columns.map((name, n) => [quote(name), quote(fact.parentColumns[n]!)] as const)
  const present = pairs.map(([column]) => `c.${column} IS NOT NULL`)
  const same = pairs.map(([column, parent]) => `p.${parent} = c.${column}`)
  return (
    `FROM ${quoteRelation(qualified(fact.table))} c WHERE ${present.join(' AND ')} AND NOT EXISTS ` +
    `(SELECT FROM ${quoteRelation(qualified(fact.parentTable))} p WHERE ${same.join(' AND ')})`
  )
}

/** Null where it takes too long, or may not be looked at. */
async function countOrphans(client: pg.ClientBase, key: Crossing): Promise<number | null> {
  await client.query(`BEGIN READ ONLY; SET LOCAL statement_timeout = ${COUNT_MS}`)
  try {
    const { rows } = await client.query<{ count: number }>(
      `SELECT count(*)::float8 AS count ${orphansSql(key)}`,
    )
    return rows[0]?.count ?? null
  } catch (error) {
    if (['57014', '42501', '42P01'].includes((error as { code?: string }).code ?? '')) return null
    throw error
  } finally {
    await client.query('ROLLBACK').catch(() => undefined)
  }
}
