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
const LOCK_TIMEOUT_MS = 100
/** … and between two of them all get through. */
const PAUSE_MS = 200
const ATTEMPTS = 20

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
    await calmly(setup, ddl)
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
      ddl,
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
  add: string,
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

async function calmly(setup: pg.Client, ddl: string): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await setup.query(`SET lock_timeout = '${LOCK_TIMEOUT_MS}ms'`)
      await setup.query(ddl)
      return
    } catch (error) {
      const code = (error as { code?: string }).code
      if (code === '42710') return // it is there already
      if (code !== '55P03') throw error
      if (attempt === ATTEMPTS) {
        const details = [ddl, await openTransactions(setup)]
        throw new BanyanError(CONTROL_ERRORS.TABLES_BUSY, details, { cause: error })
      }
    } finally {
      await setup.query('SET lock_timeout = 0').catch(() => undefined)
    }
    await pause(PAUSE_MS)
  }
}

/** The oldest transactions of this database, by who runs them: what they hold isn't ours to see in full. */
async function openTransactions(setup: pg.Client): Promise<string> {
  const { rows } = await setup.query<{ who: string }>(
    `SELECT application_name || ' (pid ' || pid || ', ' || usename || ', since ' ||
       date_trunc('second', clock_timestamp() - xact_start) || ')' AS who
     FROM pg_catalog.pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
     ORDER BY xact_start LIMIT 3`,
  )
  return rows.map(row => row.who).join('; ') || 'they ended meanwhile'
}
