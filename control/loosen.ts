/**
 * Foreign keys of legacy that cross a moved slice: dropped calmly before the hold, each with its DDL on record in legacy
 * first, and put back (NOT VALID, then VALIDATE) when the slice comes home.
 */
import type pg from 'pg'
import { BanyanError } from '../model/errors.ts'
import { CONTROL_ERRORS } from '../model/errors-control.ts'
import { pause } from '../model/pause.ts'
import { crossingKeys } from '../model/crossings.ts'
import type { Project, Slice } from '../model/project.ts'
import { STAGES } from '../model/stage.ts'
import { qualified } from '../model/wiring.ts'
import { quote, quoteRelation } from '../postgres/sql.ts'
import { type KeyInDatabase, readForeignKeys, readLoosened } from './crossing-facts.ts'
import { append } from './store/journal.ts'
import { readSlices } from './store/slices.ts'
import type { Store } from './store/store.ts'

/** Two tables are locked for a moment. Whoever writes to them queues behind us, so each turn is short … */
const LOCK_TIMEOUT_MS = 50
/** … and between two of them all get through. */
const PAUSE_MS = 200
/** Who holds one of the tables for longer than this is waited for before we queue: so nobody waits with us. */
const LONG_MS = 50
/** Before the move a flip would sooner give up; on the way home the key must come back. */
const ATTEMPTS = { drop: 8, add: 20 } as const

interface Ddl {
  readonly ddl: string
  /** Both tables of the key, with their schemas. */
  readonly tables: readonly string[]
  readonly attempts: number
}

/** Drops the keys that `slice` answers with `loose` or `copy`. `setup`: member of the tables' owner, in legacy. */
export async function loosen(store: Store, setup: pg.Client, slice: Slice): Promise<void> {
  const crossing = crossingKeys(slice, await readForeignKeys(setup))
  for (const { key, fact } of crossing) {
    const answer = slice.foreignKeys[key]?.answer
    if (answer !== 'loose' && answer !== 'copy') continue
    const found = fact as KeyInDatabase
    await setup.query(
      `INSERT INTO banyan.loosened_key (relation, name, key, dropped_for) VALUES ($1, $2, $3, $4)
       ON CONFLICT (relation, name) DO UPDATE SET key = $3, dropped_for = $4, dropped_at = clock_timestamp()`,
      [found.table, found.name, JSON.stringify(found), slice.name],
    )
    const ddl = `ALTER TABLE ${quoteRelation(qualified(found.table))} DROP CONSTRAINT IF EXISTS ${quote(found.name)}`
    await calmly(setup, { ddl, tables: tablesOf(found), attempts: ATTEMPTS.drop })
    const detail = { table: found.table, key: found.name, ddl }
    await append(store.pool, {
      actor: 'controller',
      slice: slice.name,
      kind: 'foreign key dropped',
      detail,
    })
  }
}

/** Puts back every key that no moved slice needs loose any more. One with orphans stays NOT VALID, and the journal says so. */
export async function restoreKeys(store: Store, setup: pg.Client, project: Project): Promise<void> {
  const facts = await readSlices(store.pool)
  const away = project.slices.filter(slice =>
    facts.some(fact => fact.name === slice.name && STAGES[fact.stage].owner === 'service'),
  )
  const loosened = await readLoosened(setup)
  for (const key of loosened) {
    if (away.some(slice => crossingKeys(slice, [key]).length > 0)) continue
    const relation = quoteRelation(qualified(key.table))
    const constraint = quote(key.name)
    const definition = key.definition.replace(/ NOT VALID$/, '')
    const ddl = `ALTER TABLE ${relation} ADD CONSTRAINT ${constraint} ${definition} NOT VALID`
    const state = await restored(
      setup,
      { ddl, tables: tablesOf(key), attempts: ATTEMPTS.add },
      `ALTER TABLE ${relation} VALIDATE CONSTRAINT ${constraint}`,
    )
    if (state !== 'missing') {
      await setup.query('DELETE FROM banyan.loosened_key WHERE relation = $1 AND name = $2', [
        key.table,
        key.name,
      ])
    }
    const detail = { table: key.table, key: key.name, state }
    await append(store.pool, {
      actor: 'controller',
      slice: null,
      kind: 'foreign key restored',
      detail,
    })
  }
}

/** `not valid`: there are orphans, made while nobody checked; new rows are checked all the same. */
async function restored(
  setup: pg.Client,
  add: Ddl,
  validate: string,
): Promise<'valid' | 'not valid' | 'missing'> {
  try {
    await calmly(setup, add)
  } catch {
    return 'missing'
  }
  return setup.query(validate).then(
    () => 'valid' as const,
    () => 'not valid' as const,
  )
}

function tablesOf({ table, parentTable }: KeyInDatabase): string[] {
  return [quoteRelation(qualified(table)), quoteRelation(qualified(parentTable))]
}

async function calmly(setup: pg.Client, { ddl, tables, attempts }: Ddl): Promise<void> {
  let cause: unknown
  for (let attempt = 1; attempt <= attempts; attempt += 1) {
    if (attempt > 1) await pause(PAUSE_MS)
    if ((await longHolders(setup, tables)).length > 0) continue
    try {
      await setup.query(`SET lock_timeout = '${LOCK_TIMEOUT_MS}ms'`)
      await setup.query(ddl)
      return
    } catch (error) {
      const code = (error as { code?: string }).code
      if (code === '42710') return // it is there already
      if (code !== '55P03') throw error
      cause = error
    } finally {
      await setup.query('SET lock_timeout = 0').catch(() => undefined)
    }
  }
  const holders = await longHolders(setup, tables)
  const details = [ddl, holders.join('; ') || 'they ended meanwhile']
  throw new BanyanError(CONTROL_ERRORS.TABLES_BUSY, details, { cause })
}

/** Transactions that hold one of the tables now, and still LONG_MS later: told by what they are, not when they began, which isn't everybody's to see. */
async function longHolders(setup: pg.Client, tables: readonly string[]): Promise<string[]> {
  const before = await holders(setup, tables)
  if (before.size === 0) return []
  await pause(LONG_MS)
  const now = await holders(setup, tables)
  return [...now].filter(([id]) => before.has(id)).map(([, about]) => about)
}

async function holders(setup: pg.Client, tables: readonly string[]): Promise<Map<string, string>> {
  const { rows } = await setup.query<{ id: string; about: string }>(
    `SELECT DISTINCT l.virtualtransaction AS id, CASE WHEN l.pid IS NULL THEN 'a prepared transaction'
       ELSE concat('pid ' || l.pid, ', ' || nullif(a.application_name, ''), ' as ' || a.usename,
         ', transaction open for ' || date_trunc('milliseconds', clock_timestamp() - a.xact_start), ': ' || left(a.query, 80)) END AS about
     FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
     WHERE l.locktype = 'relation' AND l.granted AND l.relation = ANY ($1::text[]::regclass[])
       AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database())
       AND l.pid IS DISTINCT FROM pg_backend_pid()`,
    [tables],
  )
  return new Map(rows.map(row => [row.id, row.about]))
}
