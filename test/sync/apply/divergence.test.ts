/** Rows that aren't as the stream expects stop it, with nothing of the transaction done; so does a successor. */
import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import type { BanyanError } from '../../../model/errors.ts'
import { formatLsn, type Lsn, parseLsn } from '../../../model/position.ts'
import { formatStream } from '../../../model/stream.ts'
import { connect } from '../../../postgres/connection.ts'
import type { Statement } from '../../../sync/apply/statements.ts'
import { Writer } from '../../../sync/apply/writer.ts'
import { query } from '../../support/cluster.ts'
import { type Bed, gateSides, streamBed } from './stream-bed.ts'

const sides = await gateSides(t)
const { rootUrl: serviceUrl } = sides.service
const legacySql = (sql: string) => query(sides.cluster.url('legacy', 'app'), sql)
/** By a clock that stands still no idle position is ever due. */
const STOPPED = () => 0
let tables = 0

interface Table {
  readonly name: string
  readonly bed: Bed
  rows(): Promise<string>
}

async function tableOf(t: Test): Promise<Table> {
  const name = `public.rows${(tables += 1)}`
  const ddl = `CREATE TABLE ${name} (id int PRIMARY KEY, code text UNIQUE, v text)`
  const slice = await sides.slice({
    ddl: { legacy: ddl, service: ddl },
    relations: { legacy: [name], service: [name] },
  })
  const stream = { from: 'legacy', to: 'rooms', what: slice.name }
  return {
    name,
    bed: await streamBed(t, sides, stream, [{ table: name }]),
    async rows() {
      const rows = await query<{ r: string }>(
        serviceUrl,
        `SELECT concat_ws(' ', id, v) AS r FROM ${name} ORDER BY id`,
      )
      return rows.map(row => row.r).join(', ')
    },
  }
}

interface Case {
  readonly what: string
  /** In the service, before the change comes: % is the table. */
  readonly differs: string
  /** In legacy. */
  readonly change: string
  readonly says: RegExp
  /** In the service, so that the stream may go on. */
  readonly mended: string
}

// prettier-ignore
const CASES: readonly Case[] = [
  { what: 'an update that finds no row', differs: 'DELETE FROM % WHERE id = 2', change: `UPDATE % SET v = 'secret' WHERE id = 2`,
    says: /: update of public.rows\d+ \(id=2\)/, mended: `INSERT INTO % VALUES (2, 'b', 'old')` },
  { what: 'a delete that finds no row', differs: 'DELETE FROM % WHERE id = 2', change: 'DELETE FROM % WHERE id = 2',
    says: /: delete of public.rows\d+ \(id=2\)/, mended: `INSERT INTO % VALUES (2, 'b', 'old')` },
  { what: 'a new row that is there', differs: `INSERT INTO % VALUES (9, 'z', 'mine')`, change: `INSERT INTO % VALUES (9, 'i', 'secret')`,
    says: /: insert of public.rows\d+ \(id=9\)/, mended: 'DELETE FROM % WHERE id = 9' },
  { what: 'a unique value that another row has', differs: `INSERT INTO % VALUES (99, 'i', 'mine')`, change: `INSERT INTO % VALUES (9, 'i', 'secret')`,
    says: /: insert of public.rows\d+ \(id=9\)/, mended: 'DELETE FROM % WHERE id = 99' },
  { what: 'a value that doesn’t fit', differs: 'ALTER TABLE % ALTER v TYPE varchar(3)', change: `UPDATE % SET v = 'secret' WHERE id = 2`,
    says: /: update of public.rows\d+ \(id=2\)/, mended: 'ALTER TABLE % ALTER v TYPE text' },
  { what: 'a value that a check refuses', differs: `ALTER TABLE % ADD CONSTRAINT short CHECK (length(v) < 5)`, change: `UPDATE % SET v = 'secret' WHERE id = 2`,
    says: /: update of public.rows\d+ \(id=2\)/, mended: 'ALTER TABLE % DROP CONSTRAINT short' },
  { what: 'a null where none may be', differs: `ALTER TABLE % ALTER v SET NOT NULL`, change: 'UPDATE % SET v = NULL WHERE id = 2',
    says: /: update of public.rows\d+ \(id=2\)/, mended: 'ALTER TABLE % ALTER v DROP NOT NULL' },
]

for (const { what, differs, change, says, mended } of CASES) {
  await t.test(`${what} stops the stream`, async t => {
    const table = await tableOf(t)
    const on = (sql: string) => sql.replaceAll('%', table.name)
    // The owner of the tables, past the gate: what a person does who should not.
    const inService = (sql: string) =>
      query(
        sides.cluster.url('rooms', 'app'),
        `BEGIN; ALTER TABLE ${table.name} DISABLE TRIGGER banyan_gate; ${on(sql)};
         ALTER TABLE ${table.name} ENABLE ALWAYS TRIGGER banyan_gate; COMMIT`,
      )
    const first = await table.bed.start()
    await legacySql(on(`INSERT INTO % VALUES (1, 'a', 'old'), (2, 'b', 'old')`))
    await first.caughtUp()
    await first.stop()
    await inService(differs)
    const [rows, position] = [await table.rows(), await table.bed.position()]

    await legacySql(
      on(
        `BEGIN; UPDATE % SET v = 'new' WHERE id = 1; ${change}; INSERT INTO % VALUES (3, 'c', 'new'); COMMIT`,
      ),
    )
    const run = await table.bed.start({ clock: STOPPED })
    const error = (await run.ended) as BanyanError
    t.match(error, { code: 'DIVERGED', message: says, rule: { exit: 5, retry: false } })
    t.notMatch(error.message, /secret/, 'a message names the key, never a value')
    t.equal(await table.rows(), rows, 'nothing of that transaction is there')
    t.equal(await table.bed.position(), position, 'and the stream stands before it')
    await run.stop()

    await inService(mended)
    const again = await table.bed.start()
    await again.caughtUp()
    const [here] = await legacySql(
      on(`SELECT string_agg(concat_ws(' ', id, v), ', ' ORDER BY id) AS r FROM %`),
    )
    t.equal(await table.rows(), here!['r'], 'mended, it goes on where it stood')
  })
}

await t.test('what isn’t about rows is no divergence', async t => {
  const table = await tableOf(t)
  await legacySql(`INSERT INTO ${table.name} VALUES (1, 'a', 'v')`)
  const app = sides.cluster.url('rooms', 'app')
  await query(app, `REVOKE INSERT ON ${table.name} FROM banyan_apply`)
  const run = await table.bed.start()
  t.match(await run.ended, { code: '42501' })
  await run.stop()
  await query(app, `GRANT INSERT ON ${table.name} TO banyan_apply`)
  const again = await table.bed.start()
  await again.caughtUp()
  t.equal(await table.rows(), '1 v')
})

await t.test('neighbours that were joined with it come again, each once', async t => {
  const table = await tableOf(t)
  await sides.service.apply.query(`INSERT INTO ${table.name} VALUES (15, 'in the way', 'mine')`)
  for (let id = 1; id <= 30; id++) {
    await legacySql(`INSERT INTO ${table.name} VALUES (${id}, 'c${id}', 'new')`)
  }
  const run = await table.bed.start()
  t.match(await run.ended, { code: 'DIVERGED', message: /id=15/ })
  const before = (await table.rows()).split(', ')
  t.ok(
    before.every(row => Number(row.split(' ')[0]) <= 15),
    'nothing that comes after it',
  )
  await run.stop()
  await sides.service.apply.query(`DELETE FROM ${table.name} WHERE id = 15`)
  const again = await table.bed.start()
  await again.caughtUp()
  const all = Array.from({ length: 30 }, (_, i) => `${i + 1} new`).join(', ')
  t.equal(await table.rows(), all)
})

await t.test('a successor takes the stream, and its predecessor writes no more', async t => {
  const table = await tableOf(t)
  const name = formatStream(table.bed.stream)
  const first = await table.bed.start({ clock: STOPPED })
  await legacySql(`INSERT INTO ${table.name} VALUES (1, 'a', 'first')`)
  await first.caughtUp()
  const position = await table.bed.position()
  const session = await connect({
    url: sides.service.applyUrl,
    applicationName: 'test',
    pipeline: true,
  })
  t.teardown(() => session.end())
  const successor = await Writer.takeOver(session, name, randomUUID())
  t.equal(successor.position, position, 'it begins where the other stood')
  await legacySql(`INSERT INTO ${table.name} VALUES (2, 'b', 'zombie')`)
  t.match(await first.ended, { code: 'STREAM_TAKEN', rule: { exit: 3 } })
  t.equal(await table.rows(), '1 first')
  t.equal(await table.bed.position(), position)
  await first.stop()
  const again = await table.bed.start()
  await again.caughtUp()
  t.equal(await table.rows(), '1 first, 2 zombie', 'what it read is the next one’s to write')
})

const insert = (table: string, id: number): Statement => ({
  text: `INSERT INTO ${table} VALUES ($1)`,
  values: [String(id)],
  rows: 1,
  about: { op: 'c', table, key: `id=${id}` },
})

await t.test('progress', async t => {
  const slice = await sides.slice()
  const stream = { from: 'legacy', to: 'rooms', what: slice.name }
  const name = formatStream(stream)
  const writerOf = async (worker: string) => {
    const session = await connect({
      url: sides.service.applyUrl,
      applicationName: 'test',
      rawText: true,
      pipeline: true,
    })
    t.teardown(() => session.end())
    return { session, take: () => Writer.takeOver(session, name, worker) }
  }
  const worker = randomUUID()
  const [one, two] = [await writerOf(worker), await writerOf(worker)]
  const count = async () =>
    (await query<{ n: number }>(serviceUrl, `SELECT count(*)::int AS n FROM ${slice.table}`))[0]!.n
  const stored = async () => {
    const rows = await query<{ p: string }>(
      serviceUrl,
      'SELECT position::text AS p FROM banyan.progress WHERE stream = $1',
      [name],
    )
    return rows[0] && parseLsn(rows[0].p)
  }
  const at = (n: bigint) => n as Lsn

  await t.test('is a row that the copy has made: without one nobody applies', async t => {
    await t.rejects(one.take(), { code: 'STREAM_UNKNOWN' })
    await sides.service.apply.query(
      'INSERT INTO banyan.progress (stream, worker, position) VALUES ($1, $2, $3)',
      [name, randomUUID(), formatLsn(at(100n))],
    )
  })

  const writer = await one.take()
  await t.test('moves with the rows, in one transaction, and before them', async t => {
    t.equal(writer.position, 100n)
    writer.begin(at(200n))
    await writer.write(insert(slice.table, 1))
    t.equal(writer.position, 100n, 'not before it is durable')
    await writer.commit()
    t.equal(writer.position, 200n)
    t.same([await stored(), await count()], [200n, 1])
    const same = `SELECT (SELECT xmin::text FROM banyan.progress WHERE stream = '${name}') =
      (SELECT xmin::text FROM ${slice.table}) AS same, (SELECT cmin::text FROM ${slice.table}) AS command`
    t.match(
      await query(serviceUrl, same),
      [{ same: true, command: '1' }],
      'the second command of it',
    )
  })

  await t.test('stands still with a transaction that fails', async t => {
    writer.begin(at(300n))
    await writer.write(insert(slice.table, 2))
    await writer.write(insert(slice.table, 1))
    await t.rejects(writer.commit(), { code: 'DIVERGED' })
    t.same([writer.position, await stored(), await count()], [200n, 200n, 1])
    writer.begin(at(300n))
    await writer.write(insert(slice.table, 2))
    await writer.commit()
    t.same(
      [writer.position, await stored(), await count()],
      [300n, 300n, 2],
      'and the next one can',
    )
  })

  await t.test('is compared: a twin of the same name that stands elsewhere is refused', async t => {
    const twin = await two.take()
    t.equal(twin.position, 300n)
    writer.begin(at(400n))
    await writer.write(insert(slice.table, 3))
    await writer.commit()
    twin.begin(at(400n))
    await twin.write(insert(slice.table, 4))
    await t.rejects(twin.commit(), { code: 'STREAM_TAKEN' })
    t.same([await stored(), await count()], [400n, 3], 'nothing of the twin’s is there')
  })

  await t.test('is taken over only between two transactions', async t => {
    writer.begin(at(500n))
    await writer.write(insert(slice.table, 5))
    await one.session.query('SELECT 1')
    const taking = two.take()
    const waiting = `SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'UPDATE banyan.progress%'`
    while ((await query(serviceUrl, waiting)).length === 0);
    await writer.commit()
    t.equal((await taking).position, 500n, 'it waits for the one under way, and begins behind it')
  })
})
