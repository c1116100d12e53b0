import pg from 'pg'
import t, { type Test } from 'tap'
import { readLoosened } from '../../control/crossing-facts.ts'
import { loosen, restoreKeys } from '../../control/loosen.ts'
import { wantedOf } from '../../control/reconcile.ts'
import { wantSlices } from '../../control/store/slices.ts'
import { readJournal } from '../../control/store/journal.ts'
import { legacyMigrations } from '../../migrations/legacy/ownership.ts'
import { migrateUp } from '../../migrations/runner.ts'
import { must } from '../../model/errors.ts'
import { loadProject } from '../../model/project.ts'
import type { Stage } from '../../model/stage.ts'
import { connect } from '../../postgres/connection.ts'
import { query, testCluster } from '../support/cluster.ts'
import { controlDatabase, threeRoles } from '../support/three-roles.ts'

/** Keys out of `visits` and into it; one of them has a slice at both ends. */
const TABLES = `
  CREATE TABLE doctors (id bigint PRIMARY KEY);
  CREATE TABLE rooms (floor int, door int, PRIMARY KEY (floor, door));
  CREATE TABLE wards (id bigint PRIMARY KEY);
  CREATE TABLE visits (id bigint PRIMARY KEY,
    doctor_id bigint CONSTRAINT visits_doctor REFERENCES doctors ON DELETE CASCADE,
    floor int, door int, CONSTRAINT "Visits room" FOREIGN KEY (floor, door) REFERENCES rooms DEFERRABLE INITIALLY DEFERRED,
    ward_id bigint CONSTRAINT visits_ward REFERENCES wards,
    after_id bigint CONSTRAINT visits_after REFERENCES visits);
  CREATE TABLE bills (id bigint PRIMARY KEY, visit_id bigint CONSTRAINT bills_visit REFERENCES visits ON DELETE SET NULL);
  CREATE TABLE notes (id bigint PRIMARY KEY, visit_id bigint CONSTRAINT notes_visit REFERENCES visits);
  CREATE TABLE shifts (id bigint PRIMARY KEY, doctor_id bigint CONSTRAINT shifts_doctor REFERENCES doctors);
  INSERT INTO doctors VALUES (1), (2); INSERT INTO rooms VALUES (1, 1); INSERT INTO wards VALUES (1);
  INSERT INTO visits VALUES (1, 1, 1, 1, 1, NULL), (2, 2, 1, 1, 1, 1);
  INSERT INTO bills VALUES (1, 1), (2, 2); INSERT INTO notes VALUES (1, 1); INSERT INTO shifts VALUES (1, 1)`

const BANYAN = `version: 1
legacy: { url: http://127.0.0.1:1, database: env:A }
services:
  rooms: { url: http://127.0.0.1:2, database: env:B, copies: [doctors, rooms] }
  people: { url: http://127.0.0.1:3, database: env:C }
`
const VISITS = `service: rooms
stage: legacy
routes: [GET /visits]
tables: { visits: true }
foreignKeys: { visits.doctor_id: copy, visits.floor+door: copy, visits.ward_id: refuse, bills.visit_id: loose, notes.visit_id: check }
`
const DOCTORS = `service: people
stage: legacy
routes: [GET /doctors]
tables: { doctors: true }
foreignKeys: { visits.doctor_id: check, shifts.doctor_id: loose }
`

function projectOf() {
  const loaded = loadProject({
    banyan: { file: 'banyan.yaml', text: BANYAN },
    slices: [
      { file: 'slices/visits.yaml', text: VISITS },
      { file: 'slices/doctors.yaml', text: DOCTORS },
    ],
  })
  return must(loaded.project, JSON.stringify(loaded.diagnostics))
}

const cluster = await testCluster(t)
await cluster.createRole('app')
let databases = 0

async function stand(t: Test) {
  const n = (databases += 1)
  const control = await controlDatabase(cluster, { name: `control${n}` })
  const legacy = await cluster.createDatabase(`legacy${n}`, { owner: 'app' })
  await query(cluster.url(`legacy${n}`, 'app'), TABLES)
  const urls = await threeRoles(cluster, `legacy${n}`, 'app')
  await migrateUp(
    urls.setup,
    legacyMigrations({ apply: 'banyan_apply', capture: 'banyan_capture' }),
  )
  const store = { url: control, pool: new pg.Pool({ connectionString: control }) }
  const setup = await connect({ url: urls.setup, applicationName: 'banyan setup' })
  t.teardown(async () => {
    await store.pool.end()
    await setup.end()
  })
  const project = projectOf()
  const slice = (name: string) =>
    must(
      project.slices.find(each => each.name === name),
      name,
    )
  /** Name → its definition; one that isn't validated says so. */
  const keys = async () => {
    const rows = await query<{ name: string; definition: string }>(
      legacy,
      `SELECT conname AS name, pg_get_constraintdef(oid) AS definition FROM pg_constraint
       WHERE contype = 'f' AND connamespace = 'public'::regnamespace ORDER BY 1`,
    )
    return Object.fromEntries(rows.map(row => [row.name, row.definition]))
  }
  const restore = async (stages: Record<string, Stage>) => {
    await wantSlices(store, wantedOf(project))
    for (const each of project.slices) {
      await store.pool.query('UPDATE banyan.slice SET stage = $2 WHERE name = $1', [
        each.name,
        stages[each.name] ?? 'legacy',
      ])
    }
    await restoreKeys(store, setup, project)
  }
  const loose = async () => (await readLoosened(setup)).map(key => key.name).sort()
  /** `kind key state`, oldest first. */
  const journal = async () => {
    const entries = await readJournal(store, { limit: 100 })
    return entries
      .reverse()
      .map(({ kind, detail }) => [kind, detail['key'], detail['state']].filter(Boolean).join(' '))
  }
  return { store, setup, legacy, slice, keys, restore, loose, journal }
}

const QUEUED = `SELECT FROM pg_locks WHERE NOT granted AND locktype = 'relation'`
const OF_VISITS = ['Visits room', 'bills_visit', 'visits_doctor']

void t.test(
  'keys that the file answers with copy or loose are dropped, each on record',
  async t => {
    const { store, setup, slice, keys, loose, journal } = await stand(t)
    const before = await keys()
    await loosen(store, setup, slice('visits'))
    t.strictSame(
      Object.keys(await keys()).sort(),
      ['notes_visit', 'shifts_doctor', 'visits_after', 'visits_ward'],
      'those with another answer stay, and those that do not cross',
    )
    t.strictSame(await loose(), OF_VISITS)
    const recorded = await readLoosened(setup)
    t.match(
      recorded.find(key => key.name === 'Visits room'),
      { table: 'visits', columns: ['floor', 'door'], parentColumns: ['floor', 'door'] },
    )
    t.match(
      recorded.find(key => key.name === 'bills_visit')?.definition,
      /REFERENCES public.visits/,
    )
    t.strictSame(
      (await journal()).sort(),
      OF_VISITS.map(name => `foreign key dropped ${name}`),
    )
    const entries = await readJournal(store, { slice: 'visits', limit: 10 })
    t.ok(
      entries.some(
        each =>
          each.detail['ddl'] ===
          'ALTER TABLE "public"."bills" DROP CONSTRAINT IF EXISTS "bills_visit"',
      ),
      'with its DDL',
    )

    await loosen(store, setup, slice('visits'))
    t.equal((await journal()).length, 3, 'a second time there is nothing to drop')
    t.strictSame(await loose(), OF_VISITS, 'and nothing is forgotten')
    t.equal(Object.keys(before).length, 7)
  },
)

void t.test('a slice that comes home gets its keys back as they were, and validated', async t => {
  const { store, setup, slice, keys, restore, loose, journal } = await stand(t)
  const before = await keys()
  await loosen(store, setup, slice('visits'))
  await restore({ visits: 'moved', doctors: 'legacy' })
  t.strictSame(await loose(), OF_VISITS, 'not while it is away')
  await restore({ visits: 'canary', doctors: 'legacy' })
  t.strictSame(await keys(), before, 'DEFERRABLE, ON DELETE and all; none is NOT VALID')
  t.strictSame(await loose(), [])
  t.strictSame(
    (await journal()).slice(3).sort(),
    OF_VISITS.map(name => `foreign key restored ${name} valid`),
  )
  await restore({ visits: 'canary', doctors: 'legacy' })
  t.equal((await journal()).length, 6, 'a second time there is nothing to restore')
})

void t.test('a key between two slices is back only when both are', async t => {
  const { store, setup, slice, keys, restore, loose } = await stand(t)
  const before = await keys()
  await loosen(store, setup, slice('visits'))
  await loosen(store, setup, slice('doctors'))
  t.strictSame(await loose(), [...OF_VISITS, 'shifts_doctor'].sort())

  await restore({ visits: 'canary', doctors: 'moved' })
  t.strictSame(await loose(), ['shifts_doctor', 'visits_doctor'], 'the doctors are still away')
  await restore({ visits: 'moved', doctors: 'canary' })
  t.strictSame(await loose(), ['visits_doctor'], 'now the visits are')
  await restore({ visits: 'retired', doctors: 'canary' })
  t.strictSame(await loose(), ['visits_doctor'], 'a retired slice is away too')
  await restore({ visits: 'canary', doctors: 'canary' })
  t.strictSame(await keys(), before)
})

void t.test('orphans are left, reported, and no more are let in', async t => {
  const { store, setup, legacy, slice, keys, restore, loose, journal } = await stand(t)
  await loosen(store, setup, slice('visits'))
  await query(legacy, 'INSERT INTO bills VALUES (3, 99)')
  await restore({ visits: 'canary' })
  const after = await keys()
  t.match(after['bills_visit'], /NOT VALID$/)
  t.notMatch(after['visits_doctor'], /NOT VALID/, 'one key’s orphans are no other’s')
  t.ok((await journal()).includes('foreign key restored bills_visit not valid'))
  t.strictSame(await loose(), [])
  await t.rejects(query(legacy, 'INSERT INTO bills VALUES (4, 98)'), { code: '23503' })
  t.strictSame(await query(legacy, 'SELECT id FROM bills WHERE id > 2'), [{ id: '3' }])

  await loosen(store, setup, slice('visits'))
  await query(legacy, 'DELETE FROM bills WHERE id = 3')
  await restore({ visits: 'canary' })
  t.notMatch((await keys())['bills_visit'], /NOT VALID/, 'without orphans it is validated')
})

void t.test('what can not be put back stays on record, and is tried again', async t => {
  const { store, setup, legacy, slice, keys, restore, loose, journal } = await stand(t)
  await loosen(store, setup, slice('visits'))
  // Nothing can refer to visits without its key.
  await query(legacy, 'ALTER TABLE visits DROP CONSTRAINT visits_pkey CASCADE')
  await restore({ visits: 'canary' })
  t.strictSame(await loose(), ['bills_visit'])
  t.ok((await journal()).includes('foreign key restored bills_visit missing'))
  await query(legacy, 'ALTER TABLE visits ADD PRIMARY KEY (id)')
  await restore({ visits: 'canary' })
  t.strictSame(await loose(), [])
  t.ok((await keys())['bills_visit'])
})

void t.test('a key that somebody has put back already is taken as it is', async t => {
  const { store, setup, legacy, slice, keys, restore, loose } = await stand(t)
  const before = await keys()
  await loosen(store, setup, slice('visits'))
  await query(
    legacy,
    'ALTER TABLE bills ADD CONSTRAINT bills_visit FOREIGN KEY (visit_id) REFERENCES visits ON DELETE SET NULL NOT VALID',
  )
  await restore({ visits: 'canary' })
  t.strictSame(await keys(), before, 'and validated')
  t.strictSame(await loose(), [])
})

void t.test('who is in the way for long is waited for, and nobody queues meanwhile', async t => {
  const { store, setup, legacy, slice, loose, keys } = await stand(t)
  const reader = new pg.Client({ connectionString: legacy })
  await reader.connect()
  t.teardown(() => reader.end())
  await reader.query('BEGIN; SELECT count(*) FROM bills')
  const done = loosen(store, setup, slice('visits'))
  const looks = `SELECT FROM pg_stat_activity WHERE application_name = 'banyan setup' AND query LIKE '%virtualtransaction%'
    AND datname = current_database()`
  while ((await query(legacy, looks)).length === 0);
  t.equal((await query(legacy, QUEUED)).length, 0)
  t.ok((await keys())['bills_visit'])
  await reader.query('COMMIT')
  await done
  t.strictSame(await loose(), OF_VISITS)
  t.notOk((await keys())['bills_visit'])
})

void t.test('nobody queues behind a drop that waits for a long transaction', async t => {
  const { store, setup, legacy, slice, keys } = await stand(t)
  const before = await keys()
  const long = await connect({ url: legacy, applicationName: 'a forgotten console' })
  t.teardown(() => long.end().catch(() => undefined))
  await long.query('BEGIN; UPDATE public.visits SET door = door WHERE id = 1')
  let over = false
  const dropped = loosen(store, setup, slice('visits')).finally(() => (over = true))
  dropped.catch(() => undefined)
  let waited = 0
  while (!over) {
    const rows = await query(
      legacy,
      `SELECT FROM pg_locks WHERE NOT granted AND locktype = 'relation'`,
    )
    waited += rows.length
  }
  await t.rejects(dropped, {
    code: 'TABLES_BUSY',
    message:
      /pid \d+, a forgotten console as \w+, transaction open for [\d:.]+: BEGIN; UPDATE public\.visits/,
  })
  t.equal(waited, 0, 'no lock was queued for')
  t.strictSame(await keys(), before, 'and nothing was dropped')
  await long.query('COMMIT')
  await loosen(store, setup, slice('visits'))
})
