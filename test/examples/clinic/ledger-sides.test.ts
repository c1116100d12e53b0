/**
 * Both sides are compared row by row, in both directions, and only when whoever moves the rows says
 * they are quiet.
 */
import t from 'tap'
import { nameOn, PAIRED_TABLES } from '../../../examples/clinic/ledger/paired-table.ts'
import { compareSides } from '../../../examples/clinic/ledger/compare.ts'
import { migrate as migrateClinic } from '../../../examples/clinic/migrate.ts'
import { migrate as migratePeople } from '../../../services/people/migrate.ts'
import { migrate as migrateScheduling } from '../../../services/scheduling/migrate.ts'
import { query, testCluster } from '../../support/cluster.ts'
import { AS_PEOPLE, AS_SCHEDULING, LEGACY_TABLES } from './ledger-schema.ts'

const cluster = await testCluster(t)
const legacy = await cluster.createDatabase('legacy')
await query(legacy, LEGACY_TABLES)
await query(
  legacy,
  `UPDATE appointments SET notes = repeat('long ', 4000), details = '{"b": 1, "a": [null]}',
     fee = 12.5 WHERE id < 4;
   INSERT INTO slot_moves (op_id, practitioner_id, starts_at, kind)
     SELECT gen_random_uuid(), 1, now(), 'take' FROM generate_series(1, 30);
   UPDATE patients SET tags = '{"a,b",c}', birth_date = '1970-01-01' WHERE id = 1`,
)
const [scheduling, people] = await Promise.all(
  ['scheduling', 'people'].map(async name => {
    await query(cluster.url(), `CREATE DATABASE ${name} TEMPLATE legacy`)
    return cluster.url(name)
  }),
).then(urls => urls as [string, string])
await query(scheduling, AS_SCHEDULING)
await query(people, AS_PEOPLE)
const services = { scheduling, people }
const quiet = async (): Promise<void> => {}

await t.test('equal sides are equal, whatever the tables and columns are called', async t => {
  const report = await compareSides({ legacy, services, waitUntilQuiet: quiet })
  t.ok(report.equal)
  t.equal(report.legacyRows, report.serviceRows)
  t.equal(report.unequal, 0)
  t.match(
    report.tables.map(table => [table.table, table.legacyRows]),
    [
      ['appointments = scheduling.appointment', 60],
      ['slots = scheduling.slot', 12],
      ['waitlist = scheduling.waitlist', 6],
      ['slot_moves = scheduling.slot_move', 30],
      ['patients = scheduling.patients', 40],
      ['practitioners = scheduling.practitioners', 3],
      ['patients = people.patient', 40],
      ['practitioners = people.practitioner', 3],
    ],
  )
})

/** One change on one side, what the ledger must say about it, and the change that takes it back. */
const CHANGES: readonly (readonly [
  what: string,
  url: string,
  change: string,
  undo: string,
  says: RegExp,
])[] = [
  [
    'a row that is missing in the service',
    scheduling,
    `CREATE TABLE kept AS SELECT * FROM appointment WHERE id = 17;
     DELETE FROM appointment WHERE id = 17`,
    'INSERT INTO appointment SELECT * FROM kept; DROP TABLE kept',
    /^appointments = .*: 1 missing, 0 extra, 0 different \(missing 17\)$/,
  ],
  [
    'a row that only the service has',
    people,
    `INSERT INTO patient (mrn, name) VALUES ('X', 'extra')`,
    `DELETE FROM patient WHERE mrn = 'X'`,
    /^patients = people.*: 0 missing, 1 extra, 0 different \(extra 41\)$/,
  ],
  [
    'a long text that was lost',
    scheduling,
    'UPDATE appointment SET notes = NULL WHERE id = 2',
    `UPDATE appointment SET notes = repeat('long ', 4000) WHERE id = 2`,
    /^appointments = .*: 0 missing, 0 extra, 1 different \(different 2\)$/,
  ],
  [
    'an empty text instead of none',
    legacy,
    `UPDATE appointments SET notes = '' WHERE id = 9`,
    'UPDATE appointments SET notes = NULL WHERE id = 9',
    /1 different \(different 9\)$/,
  ],
  [
    'one microsecond',
    scheduling,
    `UPDATE appointment SET updated_at = updated_at + interval '1 microsecond' WHERE id = 60`,
    `UPDATE appointment SET updated_at = updated_at - interval '1 microsecond' WHERE id = 60`,
    /1 different \(different 60\)$/,
  ],
  [
    'a counter of a row whose key has two columns',
    scheduling,
    `UPDATE slot SET taken = taken + 1 WHERE doctor_id = 2 AND starts_at = '2030-01-01 09:00Z'`,
    `UPDATE slot SET taken = taken - 1 WHERE doctor_id = 2 AND starts_at = '2030-01-01 09:00Z'`,
    /^slots = .*1 different \(different 2\/2030-01-01T09:00:00.000Z\)$/,
  ],
  [
    'a read copy that lags',
    scheduling,
    `UPDATE patients SET visits = visits - 1 WHERE id = 3`,
    `UPDATE patients SET visits = visits + 1 WHERE id = 3`,
    /^patients = scheduling.patients: .*different 3\)$/,
  ],
]

for (const [what, url, change, undo, says] of CHANGES) {
  await t.test(`${what} is found by its key, and is gone when it is put right`, async t => {
    await query(url, change)
    const report = await compareSides({ legacy, services, waitUntilQuiet: quiet })
    t.notOk(report.equal)
    t.equal(report.unequal, 1)
    const told = report.tables
      .filter(table => table.examples.length > 0)
      .map(
        ({ table, missing, extra, different, examples }) =>
          `${table}: ${missing} missing, ${extra} extra, ${different} different ` +
          `(${examples.join()})`,
      )
    t.equal(told.length, 1)
    t.match(told[0], says)
    await query(url, undo)
    t.ok((await compareSides({ legacy, services, waitUntilQuiet: quiet })).equal)
  })
}

await t.test(
  'sides that were not quiet yet are compared again, as often as was allowed',
  async t => {
    await query(scheduling, 'UPDATE waitlist SET waiting = waiting + 1 WHERE practitioner_id = 1')
    const report = await compareSides({
      legacy,
      services,
      slices: ['appointments'],
      attemptsMax: 5,
      waitUntilQuiet: async attempt => {
        if (attempt < 3) return
        await query(legacy, 'UPDATE waitlist SET waiting = waiting + 1 WHERE practitioner_id = 1')
      },
    })
    t.match(report, { equal: true, attempts: 3 })
    t.equal(report.tables.length, 4, 'only the tables of the slice')

    await query(scheduling, 'UPDATE waitlist SET waiting = waiting + 1 WHERE practitioner_id = 1')
    const attempts: number[] = []
    const unequal = await compareSides({
      legacy,
      services: { scheduling },
      attemptsMax: 2,
      waitUntilQuiet: async attempt => void attempts.push(attempt),
    })
    t.match(unequal, { equal: false, attempts: 2, unequal: 2 })
    t.strictSame(attempts, [1, 2])
  },
)

await t.test('a table of several pages is walked to its end on both sides', async t => {
  const insert = (table: string): string =>
    `INSERT INTO ${table} (id, op_id, practitioner_id, kind, at)
     SELECT md5(i::text)::uuid, md5(i::text)::uuid, 1, 'take', '2030-01-01'
     FROM generate_series(1, 12000) i`
  await query(legacy, insert('slot_moves'))
  await query(scheduling, insert('slot_move'))
  await query(legacy, `DELETE FROM slot_moves WHERE id = md5('7000')::uuid`)
  await query(scheduling, `DELETE FROM slot_move WHERE id IN (md5('1')::uuid, md5('12000')::uuid)`)
  const report = await compareSides({ legacy, services, waitUntilQuiet: quiet })
  t.match(
    report.tables.find(table => table.table.startsWith('slot_moves')),
    { legacyRows: 12_029, serviceRows: 12_028, missing: 2, extra: 1, different: 0 },
  )
})

await t.test('every column of the real tables is compared, on both sides', async t => {
  const databases = { clinic: migrateClinic, scheduling: migrateScheduling, people: migratePeople }
  for (const [name, migrate] of Object.entries(databases)) {
    await migrate(await cluster.createDatabase(`real_${name}`))
  }
  const columnsOf = async (database: string, table: string): Promise<string[]> => {
    const sql = `SELECT column_name AS name FROM information_schema.columns
      WHERE table_schema = 'public' AND table_name = $1`
    return (await query(cluster.url(`real_${database}`), sql, [table]))
      .map(row => String(row.name))
      .sort()
  }
  for (const pair of PAIRED_TABLES) {
    const there = pair.columns.map(column => nameOn(pair, 'service', column))
    t.strictSame(await columnsOf('clinic', pair.legacy), [...pair.columns].sort(), pair.legacy)
    t.strictSame(await columnsOf(pair.service, pair.there), there.sort(), pair.there)
  }
  const report = await compareSides({
    legacy: cluster.url('real_clinic'),
    services: { scheduling: cluster.url('real_scheduling'), people: cluster.url('real_people') },
    waitUntilQuiet: quiet,
  })
  t.match(report, { equal: true, legacyRows: 0, serviceRows: 0 })
  t.equal(report.tables.length, PAIRED_TABLES.length)
})
