import pg from 'pg'
import t, { type Test } from 'tap'
import { readCensus } from '../../control/store/findings.ts'
import { readSlices } from '../../control/store/slices.ts'
import { must } from '../../model/errors.ts'
import type { Slice } from '../../model/project.ts'
import { CENSUS_PUBLICATION } from '../../model/stream.ts'
import { query } from '../support/cluster.ts'
import { flip, inStep, until, verify } from '../support/flipping.ts'
import { Clients, movingSlice, type MovingSlice } from '../support/moving-slice.ts'

/** Processes of the monolith, each with its own name in the database, as many servers give themselves. */
const PROCESSES = 8
const ROUNDS = 5

/** Statements on owned tables, and one on another table, in one transaction. */
async function write(client: pg.ClientBase, side = ''): Promise<void> {
  await client.query('BEGIN')
  await client.query(`INSERT INTO visits (op, doctor_id) VALUES (gen_random_uuid(), 1)`)
  await client.query('UPDATE seats SET taken = taken + 1 WHERE room = 1')
  if (side !== '') await client.query(side)
  await client.query('COMMIT')
}

/** A session of somebody who writes past the façade. */
async function writer(t: Test, moving: MovingSlice, application: string, role?: string) {
  const url = new URL(must(moving.legacyApp.options.connectionString, 'a URL'))
  if (role !== undefined) {
    url.username = role
    url.password = 'secret'
  }
  const client = new pg.Client({ connectionString: url.href, application_name: application })
  client.on('error', () => undefined)
  await client.connect()
  t.teardown(() => client.end())
  return client
}

async function word(moving: MovingSlice): Promise<number> {
  const [row] = await query<{ word: number }>(
    moving.legacy,
    `SELECT last_value::int AS word FROM banyan.census_1`,
  )
  return must(row, 'a word').word
}

/** Writes an answer into the slice's file, and waits until the controller has read it. */
async function answer(moving: MovingSlice, given: Partial<Slice>): Promise<void> {
  Object.assign(must(moving.wiring.project.slices[0], 'the slice'), given)
  const { pool } = moving.store
  const beat = async () => {
    const { rows } = await pool.query<{ at: string }>(
      `SELECT beat_at::text AS at, pg_notify('banyan', 'slice') FROM banyan.controller`,
    )
    return rows[0]?.at
  }
  // The round that is under way may have read the files before; the next one hasn't.
  for (let round = 0; round < 2; round += 1) {
    const before = await beat()
    await until(moving, 'another round', async () => (await beat()) !== before)
  }
}

const codes = (flipped: Awaited<ReturnType<typeof flip>>) =>
  flipped.error?.blockers?.map(each => each.code).sort()

void t.test('the census finds who writes around the routes, and what is written along', async t => {
  const moving = await movingSlice(t)
  new Clients(t, moving, 0)
  await query(
    moving.legacy,
    `CREATE TABLE knex_migrations (id int PRIMARY KEY, name text); ALTER TABLE knex_migrations OWNER TO app;
     CREATE TABLE knex_migrations_lock (index int PRIMARY KEY); ALTER TABLE knex_migrations_lock OWNER TO app;
     CREATE ROLE reporting LOGIN PASSWORD 'secret';
     GRANT ALL ON ALL TABLES IN SCHEMA public TO reporting; GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO reporting`,
  )
  await until(moving, 'known', async () => (await readSlices(moving.store.pool)).length > 0)
  t.match(await flip(moving, 'sync'), { outcome: 'done', error: null })
  await inStep(moving)
  t.equal(await word(moving), 1, 'the gate says who writes')

  const published = await query<{ relation: string }>(
    moving.legacy,
    `SELECT schemaname || '.' || tablename AS relation FROM pg_publication_tables WHERE pubname = $1 ORDER BY 1`,
    [CENSUS_PUBLICATION],
  )
  t.strictSame(
    published.map(row => row.relation),
    ['public.bills', 'public.doctors', 'public.seats', 'public.visits'],
    'only what the application writes is published',
  )

  for (let n = 0; n < PROCESSES; n += 1) {
    const monolith = await writer(t, moving, `clinic-${n}`)
    for (let round = 0; round < ROUNDS; round += 1) await write(monolith)
  }
  // More than any one process of the monolith, less than all of them.
  const nightly = await writer(t, moving, 'nightly')
  for (let round = 0; round < 3 * ROUNDS; round += 1) await write(nightly)
  const reporting = await writer(t, moving, 'clinic-1', 'reporting')
  await write(reporting, 'INSERT INTO bills (amount) VALUES (1)')

  const transactions = PROCESSES * ROUNDS + 3 * ROUNDS + 1
  await until(moving, 'counted', async () => {
    const census = await readCensus(moving.store, 'visits')
    return census.transactions >= transactions && census.writers.length >= 3
  })
  const census = await readCensus(moving.store, 'visits')
  t.equal(census.transactions, transactions)
  t.match(
    census.writers,
    [
      { role: 'app', application: 'clinic-*', transactions: PROCESSES * ROUNDS },
      { role: 'app', application: 'nightly', transactions: 3 * ROUNDS },
      { role: 'reporting', application: 'clinic-*', transactions: 1 },
    ],
    'processes of one application are one writer',
  )
  t.strictSame([...census.sideWrites.keys()], ['public.bills'])

  t.match(await flip(moving, 'shadow'), { outcome: 'done' }, 'the census blocks no earlier step')
  await until(moving, 'the gate says nothing any more', async () => (await word(moving)) === 0)
  await inStep(moving)
  t.match(await flip(moving, 'canary'), { outcome: 'done', error: null })
  t.match(await verify(moving), { differences: 0, error: null })

  const refused = await flip(moving, 'moved')
  t.strictSame(codes(refused), ['FOREIGN_WRITER', 'FOREIGN_WRITER', 'SIDE_WRITE'])
  const said = refused.error?.blockers?.map(each => each.message).join('\n') ?? ''
  t.match(said, /^nightly writes the tables around the routes, about 15 times a day/m)
  t.match(said, /^reporting writes the tables around the routes, about once a day/m)
  t.match(said, /bills/)

  await answer(moving, { writers: { nightly: 'waived' } })
  t.strictSame(codes(await flip(moving, 'moved')), ['FOREIGN_WRITER', 'SIDE_WRITE'])
  await answer(moving, {
    writers: { nightly: 'waived', reporting: 'waived' },
    sideWrites: { bills: 'legacy' },
  })
  t.match(await flip(moving, 'moved'), { outcome: 'done', error: null })
  await t.rejects(nightly.query('DELETE FROM visits'), { code: 'BNY01' }, 'as it was told')
})
