/**
 * All that enters a slice's databases on its way into `sync`: our schema, its gates, its publications. Safe to repeat. What
 * read copies need, their stream brings along when it copies them (sync/copies.ts): published sooner, a table would be
 * there without its rows.
 */
import type pg from 'pg'
import type { Slice } from '../model/project.ts'
import { must } from '../model/errors.ts'
import { publicationOf } from '../model/stream.ts'
import { type DatabaseUrls, qualified, roleOf, type Wiring } from '../model/wiring.ts'
import { setupSession } from './databases.ts'
import { installGate, publishCensus } from '../postgres/gate-install.ts'
import { quote, quoteRelation } from '../postgres/sql.ts'
import { legacyMigrations } from '../migrations/legacy/ownership.ts'
import { migrateUp } from '../migrations/runner.ts'
import { serviceMigrations } from '../migrations/service/ownership.ts'
import { readSlices } from './store/slices.ts'
import type { Store } from './store/store.ts'

/** A gate takes a table's lock for a moment; who waits behind it waits no longer than this. */
const LOCK_TIMEOUT_MS = 2_000

export async function installSlice(
  { store, wiring }: { store: Store; wiring: Wiring },
  slice: Slice,
): Promise<void> {
  const number = must(
    (await readSlices(store.pool)).find(each => each.name === slice.name),
    'the slice',
  ).number
  const service = must(wiring.services[slice.service], 'the service of a slice')
  await installLegacy(wiring, slice, number)
  await installService(wiring, slice, number, service)
}

async function installLegacy(wiring: Wiring, slice: Slice, number: number): Promise<void> {
  const { legacy } = wiring
  await migrateUp(legacy.setup, legacyMigrations(rolesOf(legacy)))
  await using session = await setupSession(legacy.setup, LOCK_TIMEOUT_MS)
  const relations = Object.keys(slice.tables).map(qualified)
  await installGate(session.client, {
    slice: slice.name,
    number,
    side: 'legacy',
    relations,
    applyRole: roleOf(legacy.apply),
    goTo: `the service "${slice.service}", through the façade`,
    publication: publicationOf({ from: 'legacy', to: slice.service, what: slice.name }),
  })
  await runTriggers(session.client, slice)
  await publishCensus(session.client)
}

async function installService(
  wiring: Wiring,
  slice: Slice,
  number: number,
  urls: DatabaseUrls,
): Promise<void> {
  await migrateUp(urls.setup, serviceMigrations(rolesOf(urls)))
  await using session = await setupSession(urls.setup, LOCK_TIMEOUT_MS)
  await installGate(session.client, {
    slice: slice.name,
    number,
    side: 'service',
    relations: Object.values(slice.tables).map(({ to }) => qualified(to)),
    applyRole: roleOf(urls.apply),
    goTo: 'legacy, through the façade',
    publication: publicationOf({ from: slice.service, to: 'legacy', what: slice.name }),
  })
}

/**
 * Apply's session fires only what is ALWAYS enabled: a trigger that is to run while its table is a copy is made so, and
 * is on record to be put back. A partition has a trigger of its own, whose state is another than its root's.
 */
async function runTriggers(client: pg.ClientBase, slice: Slice): Promise<void> {
  const run = Object.keys(slice.triggers).filter(name => slice.triggers[name] === 'run')
  const { rows } = await client.query<{ relation: string; name: string }>(
    `WITH RECURSIVE family AS (
       SELECT r::regclass::oid AS oid FROM unnest($1::text[]) r
       UNION SELECT i.inhrelid FROM family f JOIN pg_catalog.pg_inherits i ON i.inhparent = f.oid
       JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid AND c.relispartition)
     SELECT n.nspname || '.' || c.relname AS relation, t.tgname AS name FROM family f
     JOIN pg_catalog.pg_class c USING (oid) JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     JOIN pg_catalog.pg_trigger t ON t.tgrelid = c.oid
     WHERE NOT t.tgisinternal AND t.tgenabled = 'O' AND t.tgname = ANY ($2) ORDER BY 1, 2`,
    [Object.keys(slice.tables).map(table => quoteRelation(qualified(table))), run],
  )
  for (const { relation, name } of rows) {
    await client.query(
      'INSERT INTO banyan.raised_trigger (relation, name) VALUES ($1, $2) ON CONFLICT DO NOTHING',
      [relation, name],
    )
    const table = quoteRelation(relation)
    await client.query(`ALTER TABLE ONLY ${table} ENABLE ALWAYS TRIGGER ${quote(name)}`)
  }
}

function rolesOf(urls: DatabaseUrls): { apply: string; capture: string } {
  return { apply: roleOf(urls.apply), capture: roleOf(urls.capture) }
}
