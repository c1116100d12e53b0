/** Source transactions stay whole in the target, small ones together, a huge one without being held in memory. */
import type pg from 'pg'
import t, { type Test } from 'tap'
import { formatLsn } from '../../../model/position.ts'
import { query } from '../../support/cluster.ts'
import { type Bed, type Changed, gateSides, streamBed } from './stream-bed.ts'

const sides = await gateSides(t)
const legacySql = (sql: string) => query(sides.cluster.url('legacy', 'app'), sql)
const { rootUrl: serviceUrl } = sides.service
const HUGE = 20_000
/** As far as the applier goes it is no less huge. */
const LARGE = 5_000
/** What sync/apply/ holds at the most: its queue, a batch that has not begun, and answers that are under way. */
const HELD_MAX = 1000 + 1000 + 512
/** By a clock that stands still no idle position is ever due. */
const STOPPED = () => 0
let tables = 0

interface Table {
  readonly name: string
  readonly bed: Bed
}

async function tableOf(t: Test): Promise<Table> {
  const name = `public.rows${(tables += 1)}`
  const ddl = `CREATE TABLE ${name} (id int PRIMARY KEY, v text)`
  const slice = await sides.slice({
    ddl: { legacy: ddl, service: ddl },
    relations: { legacy: [name], service: [name] },
  })
  const stream = { from: 'legacy', to: 'rooms', what: slice.name }
  return { name, bed: await streamBed(t, sides, stream, [{ table: name }]) }
}

const countIn = async ({ name }: Table): Promise<number> => {
  const [row] = await query<{ n: number }>(serviceUrl, `SELECT count(*)::int AS n FROM ${name}`)
  return row!.n
}

/** How many rows each target transaction has brought, in the order of their smallest id. */
async function transactionsOf({ name }: Table): Promise<number[]> {
  const rows = await query<{ n: number }>(
    serviceUrl,
    `SELECT count(*)::int AS n FROM ${name} GROUP BY xmin::text ORDER BY min(id)`,
  )
  return rows.map(row => row.n)
}

/** Counts what the target's session has been sent, and what of it is answered. */
class Meter {
  sent = 0
  answered = 0
  outstandingMax = 0
  /** Called with each statement that is sent; what it returns keeps the answer back. */
  onSent: () => Promise<void> | void = () => undefined

  readonly watch = (client: pg.Client): void => {
    const plain = client.query.bind(client) as (...args: unknown[]) => Promise<unknown>
    const ask = async (...args: unknown[]) => {
      this.sent += 1
      this.outstandingMax = Math.max(this.outstandingMax, this.sent - this.answered)
      try {
        const answer = plain(...args)
        await this.onSent()
        return await answer
      } finally {
        this.answered += 1
      }
    }
    client.query = ask as typeof client.query
  }
}

/** A stream whose every row is noticed as it is judged: `touched` is called once a change, before it is written. */
function metered(): { meter: Meter; read: () => number; heldMax: () => number; options: Changed } {
  const meter = new Meter()
  let read = 0
  let heldMax = 0
  const touched = () => {
    read += 1
    heldMax = Math.max(heldMax, read - meter.answered)
  }
  return {
    meter,
    read: () => read,
    heldMax: () => heldMax,
    options: { onTarget: meter.watch, touched },
  }
}

await t.test('a huge transaction goes through in pieces and appears at once', async t => {
  const table = await tableOf(t)
  await legacySql(`INSERT INTO ${table.name} VALUES (-1, 'before')`)
  await legacySql(
    `INSERT INTO ${table.name} SELECT i, md5(i::text) FROM generate_series(1, ${HUGE}) i`,
  )
  await legacySql(`INSERT INTO ${table.name} VALUES (${HUGE + 1}, 'after')`)
  const { meter, read, heldMax, options } = metered()
  const before = formatLsn(await table.bed.position())
  let readAtFirst = 0
  const seen: [rows: number, position: string][] = []
  meter.onSent = async () => {
    if (readAtFirst === 0 && meter.sent > 10) readAtFirst = read()
    if (meter.sent % (HUGE / 4) === 0) {
      seen.push([await countIn(table), formatLsn(await table.bed.position())])
    }
  }
  const run = await table.bed.start(options)
  await run.caughtUp()
  t.same(await transactionsOf(table), [1, HUGE, 1], 'three transactions, as at the source')
  t.equal(read(), HUGE + 2)
  t.comment(`held at most ${heldMax()}, outstanding at most ${meter.outstandingMax}`)
  t.ok(heldMax() <= HELD_MAX, 'the applier holds a bounded number of changes')
  t.ok(meter.outstandingMax <= 513, 'and a bounded number of answers')
  t.ok(readAtFirst < HUGE / 10, 'it writes long before it has read all')
  t.ok(seen.length >= 3, 'while it was under way somebody looked')
  for (const [rows, position] of seen) {
    t.equal(rows, 1, 'and saw only what was committed before')
    t.not(position, before, 'with the position of that')
    t.equal(position, seen[0]?.[1], 'which stood still')
  }
})

await t.test('huge updates and deletes are whole as well', async t => {
  const table = await tableOf(t)
  const run = await table.bed.start()
  await legacySql(`INSERT INTO ${table.name} SELECT i, 'old' FROM generate_series(1, ${LARGE}) i`)
  await legacySql(
    `BEGIN; UPDATE ${table.name} SET v = 'new' WHERE id <= ${LARGE / 2};
     DELETE FROM ${table.name} WHERE id > ${LARGE / 2}; INSERT INTO ${table.name} VALUES (0, 'new'); COMMIT`,
  )
  await run.caughtUp()
  t.same(await transactionsOf(table), [LARGE / 2 + 1])
  t.same(await query(serviceUrl, `SELECT DISTINCT v FROM ${table.name}`), [{ v: 'new' }])
})

await t.test('a huge transaction that is stopped half-way leaves nothing', async t => {
  const table = await tableOf(t)
  await legacySql(`INSERT INTO ${table.name} SELECT i, 'v' FROM generate_series(1, ${LARGE}) i`)
  const { meter, options } = metered()
  const stop = new AbortController()
  meter.onSent = () => {
    if (meter.sent > LARGE / 2) stop.abort()
  }
  const before = await table.bed.position()
  const run = await table.bed.start({ ...options, clock: STOPPED, signal: stop.signal })
  t.equal(await run.ended, undefined, 'an orderly end')
  t.equal(await countIn(table), 0)
  t.equal(await table.bed.position(), before)
  await run.stop()
  const again = await table.bed.start()
  await again.caughtUp()
  t.same(await transactionsOf(table), [LARGE], 'its successor does all of it')
})

await t.test(
  'a huge transaction that diverges leaves nothing, and the session is free',
  async t => {
    const table = await tableOf(t)
    await sides.service.apply.query(`INSERT INTO ${table.name} VALUES (2500, 'in the way')`)
    await legacySql(`INSERT INTO ${table.name} SELECT i, 'v' FROM generate_series(1, ${LARGE}) i`)
    const before = await table.bed.position()
    const run = await table.bed.start({ clock: STOPPED })
    t.match(await run.ended, { code: 'DIVERGED', message: /insert of public.rows\d+ \(id=2500\)/ })
    t.equal(await countIn(table), 1)
    t.equal(await table.bed.position(), before)
    const holding = `SELECT 1 FROM pg_locks WHERE relation = '${table.name}'::regclass AND granted AND mode = 'RowExclusiveLock'`
    t.same(await query(serviceUrl, holding), [], 'no lock is left')
    await run.stop()
    await sides.service.apply.query(`DELETE FROM ${table.name}`)
    const again = await table.bed.start()
    await again.caughtUp()
    t.same(await transactionsOf(table), [LARGE])
  },
)

await t.test('small neighbours are joined in order, and none is split', async t => {
  const table = await tableOf(t)
  const app = await sides.legacy.app()
  // 500 transactions of 1, 2 or 3 rows wait for the applier.
  let id = 0
  const sizes = Array.from({ length: 500 }, (_, i) => 1 + (i % 3))
  for (const size of sizes) {
    await app.query(
      `INSERT INTO ${table.name} SELECT i, 'v' FROM generate_series(${id + 1}, ${id + size}) i`,
    )
    id += size
  }
  const run = await table.bed.start()
  await run.caughtUp()
  const joined = await transactionsOf(table)
  t.comment(`${joined.length} target transactions`)
  t.equal(
    joined.reduce((sum, n) => sum + n, 0),
    id,
  )
  t.ok(joined.length < sizes.length, 'fewer commits than at the source')
  let next = 0
  for (const rows of joined) {
    let members = 0
    for (let sum = 0; sum < rows; members++) sum += sizes[next++]!
    t.ok(members <= 64, `${members} at once`)
    const used = sizes.slice(next - members, next).reduce((sum, n) => sum + n, 0)
    if (used !== rows) t.fail(`a source transaction is split: ${rows} rows of ${used}`)
  }
  t.equal(next, sizes.length)
})
