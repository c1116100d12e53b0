/** Who meets at the gate: open writers, a fence that dies, a crash between word and row, two that decide at once. */
import type pg from 'pg'
import t from 'tap'
import { connect } from '../../postgres/connection.ts'
import { decide, prepare, setGate, takeFence, type Verdict } from '../../postgres/gate.ts'
import { overdue, settle } from '../../postgres/settle.ts'
import { LOCK_CLASS } from '../../postgres/sql.ts'
import { query } from '../support/cluster.ts'
import {
  gateSides,
  known,
  outcome,
  preparation,
  put,
  read,
  settlementOf,
  type SideHandle,
  type TestSlice,
} from './gate-sides.ts'

const sides = await gateSides(t, { max_prepared_transactions: '4' })
const { legacy, service, system } = sides
const LATER_MS = Date.parse('2100-01-01T00:00:00Z')
const fence = (slice: TestSlice, epoch: number) => ({
  slice: slice.name,
  epoch,
  deadlineMs: LATER_MS,
  legacy: system,
  service: system,
})

/** Resolves once the session waits for a lock. */
async function waits(at: SideHandle, client: pg.Client): Promise<void> {
  const { processID: pid } = client as unknown as { processID: number }
  const waiting = `SELECT 1 FROM pg_stat_activity WHERE pid = ${pid} AND wait_event_type = 'Lock'`
  const deadline = performance.now() + 10_000
  while ((await at.root.query(waiting)).rows.length === 0) {
    if (performance.now() > deadline) throw new Error('it never waited')
  }
}

/** A fence with the patience of the flip's. */
async function tryFence(slice: TestSlice, epoch: number): Promise<unknown> {
  await legacy.apply.query(`SET lock_timeout = '50ms'`)
  try {
    return await takeFence(legacy.apply, fence(slice, epoch))
  } finally {
    await legacy.apply.query('SET lock_timeout = 0')
  }
}

void t.test('a write that began before the fence keeps it out, and commits', async t => {
  const slice = await sides.slice()
  const writer = await legacy.app()
  await writer.query(`BEGIN; INSERT INTO ${slice.table} (note) VALUES ('early')`)
  await t.rejects(tryFence(slice, 1), { code: 'LOCK_TIMEOUT', rule: { retry: true } })
  t.equal(await read(legacy, slice), 'open 0', 'nothing changed')
  await writer.query(`INSERT INTO ${slice.table} (note) VALUES ('early too'); COMMIT`)
  await tryFence(slice, 1)
  t.equal(await read(legacy, slice), 'closed 1, FENCED 1')
  t.equal((await legacy.root.query(`SELECT FROM ${slice.table}`)).rowCount, 2)
})

void t.test('who queues behind a fence is refused by it, and isn’t taken for a writer', async t => {
  const slice = await sides.slice()
  const [first, late] = [await legacy.app(), await legacy.app()]
  await first.query(`BEGIN; INSERT INTO ${slice.table} (note) VALUES ('first')`)
  const fenced = takeFence(legacy.apply, fence(slice, 1))
  await waits(legacy, legacy.apply)
  const refused = outcome(late.query(`INSERT INTO ${slice.table} (note) VALUES ('late')`))
  await waits(legacy, late)
  await first.query('COMMIT')
  await fenced
  t.equal(await refused, 'BNY01')
})

void t.test('an old snapshot reads today’s word', async t => {
  const slice = await sides.slice()
  const reader = await legacy.app()
  await reader.query(`BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM ${slice.table}`)
  await tryFence(slice, 1)
  t.equal(await outcome(reader.query(`DELETE FROM ${slice.table}`)), 'BNY01')
  await reader.query('ROLLBACK')
})

void t.test('a table lock that no gate has seen keeps the fence out, with its name', async t => {
  const slice = await sides.slice()
  const lock = `BEGIN; LOCK TABLE ${slice.table} IN ROW EXCLUSIVE MODE`
  const holder = await legacy.app()
  await holder.query(lock)
  await t.rejects(tryFence(slice, 1), {
    code: 'WRITERS_OPEN',
    message: /clinic as app, transaction open for .*: BEGIN; LOCK TABLE/,
    rule: { retry: true },
  })
  await holder.query(`PREPARE TRANSACTION 'held'`)
  await t.rejects(tryFence(slice, 1), { code: 'WRITERS_OPEN', message: /prepared transaction/ })
  t.equal(await read(legacy, slice), 'open 0', 'nothing changed')
  await holder.query(`ROLLBACK PREPARED 'held'`)
  const applier = await legacy.session()
  await applier.query(lock)
  await tryFence(slice, 1)
  t.equal(await read(legacy, slice), 'closed 1, FENCED 1', 'the applier keeps nobody out')
  await applier.query('ROLLBACK')
})

void t.test('a prepared transaction that has written keeps the fence out', async t => {
  const slice = await sides.slice()
  const writer = await legacy.app()
  await writer.query(
    `BEGIN; INSERT INTO ${slice.table} (note) VALUES ('x'); PREPARE TRANSACTION 'w'`,
  )
  await t.rejects(tryFence(slice, 1), { code: 'LOCK_TIMEOUT' })
  await writer.query(`COMMIT PREPARED 'w'`)
  await tryFence(slice, 1)
  t.equal(await read(legacy, slice), 'closed 1, FENCED 1')
})

void t.test('a table that isn’t what it was keeps the fence out', async t => {
  const slice = await sides.slice()
  const owner = await legacy.app()
  const changes: [sql: string, message: RegExp][] = [
    [`ALTER TABLE ${slice.table} ADD extra int`, /columns of public.t\d+: was .*, is .*extra/],
    [`ALTER TABLE ${slice.table} DISABLE TRIGGER banyan_gate`, /gate on public.t\d+: .*enabled D/],
    [`TRUNCATE ${slice.table}`, /table public.t\d+: was oid/],
    [`ALTER PUBLICATION banyan_${slice.name} DROP TABLE ${slice.table}`, /publication of/],
  ]
  for (const [sql, message] of changes) {
    await (sql.startsWith('ALTER PUBLICATION') ? query(legacy.setupUrl, sql) : owner.query(sql))
    await t.rejects(tryFence(slice, 1), { code: 'FINGERPRINT', message }, sql)
    t.equal(await read(legacy, slice), 'open 0')
    await legacy.apply.query('SELECT banyan.accept_fingerprint($1)', [slice.name])
  }
})

void t.test('a fence that is rolled back leaves its word behind: it died, and settles', async t => {
  const slice = await sides.slice()
  const settlement = settlementOf(slice, legacy.apply, service.apply)
  const dying = await legacy.session()
  await dying.query('BEGIN')
  await takeFence(dying, fence(slice, 1))
  t.equal(await overdue(settlement, 1), false, 'while it holds the lock it may still commit')
  await dying.query('ROLLBACK')
  t.equal(await read(legacy, slice), 'closed 1', 'a sequence doesn’t roll back')
  t.equal(await outcome(tryFence(slice, 2)), 'WORD_REFUSED')
  t.equal(await outcome(setGate(legacy.apply, slice.name, 1)), 'EVIDENCE_MISSING')
  t.equal(await overdue(settlement, 1), true, 'anybody may settle it')
  t.same(await settle(settlement, 1), { verdict: 'ABORTED', complete: true })
  t.equal(await read(legacy, slice), 'open 1, ABORTED 1')
  t.equal(await read(service, slice), 'closed 0, ABORTED 1')
  await tryFence(slice, 2)
  t.equal(await read(legacy, slice), known('closed 2, ABORTED 1, FENCED 2'), 'life goes on')
})

void t.test('two that decide at once agree', async t => {
  const first = async (end: 'COMMIT' | 'ROLLBACK', wanted: Verdict, second: Verdict) => {
    const slice = await sides.slice()
    await put(legacy, slice, system, 'closed 1, FENCED 1')
    const [one, other] = [await legacy.session(), await legacy.session()]
    await one.query('BEGIN')
    t.equal(await decide(one, slice.name, 1, wanted), wanted)
    const answer = decide(other, slice.name, 1, second)
    await waits(legacy, other)
    await one.query(end)
    return { answer: await answer, after: await read(legacy, slice) }
  }
  for (const wanted of ['PROMOTED', 'ABORTED'] as const) {
    const second = wanted === 'PROMOTED' ? 'ABORTED' : 'PROMOTED'
    t.same(await first('COMMIT', wanted, second), {
      answer: wanted,
      after: known(`closed 1, FENCED 1, ${wanted} 1`),
    })
    t.same(await first('ROLLBACK', wanted, second), {
      answer: second,
      after: known(`closed 1, FENCED 1, ${second} 1`),
    })
  }

  const slice = await sides.slice()
  await put(legacy, slice, system, 'closed 1, FENCED 1')
  const sessions = await Promise.all(Array.from({ length: 16 }, () => legacy.session()))
  const answers = await Promise.all(
    sessions.map((client, i) =>
      decide(client, slice.name, 1, i % 2 === 0 ? 'PROMOTED' : 'ABORTED'),
    ),
  )
  t.equal(new Set(answers).size, 1, 'sixteen read one verdict')
  t.equal(await read(legacy, slice), known(`closed 1, FENCED 1, ${answers[0]} 1`))
})

/** Both calls have begun before either may act: somebody holds the slice's lock until both wait for it. */
async function atOnce(slice: TestSlice, call: (client: pg.Client) => Promise<unknown>) {
  const clients = [await service.session(), await service.session()]
  const holder = await service.session()
  await holder.query('BEGIN')
  await holder.query('SELECT pg_advisory_xact_lock_shared($1, $2)', [LOCK_CLASS, slice.number])
  const answers = clients.map(client => outcome(call(client)))
  for (const client of clients) await waits(service, client)
  await holder.query('ROLLBACK')
  return Promise.all(answers)
}

void t.test('two that prepare at once both find it prepared', async t => {
  const slice = await sides.slice()
  await put(service, slice, system, 'closed 0, REACHED 1@A, progress 0@A')
  const what = preparation('service', slice, 1)
  t.same(await atOnce(slice, client => prepare(client, what)), ['done', 'done'])
  t.match(await read(service, slice), 'PREPARED 1@A')
})

void t.test('two that open at once both find it open', async t => {
  const slice = await sides.slice()
  await put(service, slice, system, 'closed 0, PREPARED 1@A, PROMOTED 1')
  t.same(await atOnce(slice, client => setGate(client, slice.name, 1)), ['done', 'done'])
  t.match(await read(service, slice), 'open 1')
})

// Last: the sessions of all that stands above die with the server.
void t.test('a crash between word and row: whatever the word is, settling opens it', async t => {
  // A commit of anybody's takes the word to disk before its row could get there.
  const cases = [
    { slice: await sides.slice(), flushed: true, left: ['closed 1'] },
    { slice: await sides.slice(), flushed: false, left: ['closed 1', 'open 0'] },
  ]
  let root = legacy.root
  for (const { slice, flushed, left } of cases) {
    const dying = await legacy.session()
    await dying.query('BEGIN')
    await takeFence(dying, fence(slice, 1))
    if (flushed) await root.query('CREATE TABLE public.flushed ()')
    await sides.cluster.stop('immediate')
    await sides.cluster.restart()
    root = await connect({ url: legacy.rootUrl, applicationName: 'test' })
    t.teardown(() => root.end())
    const knows = () => read({ ...legacy, root }, slice)
    const found = await knows()
    t.comment(`${flushed ? 'flushed' : 'not flushed'}, after the crash: ${found}`)
    t.ok(left.includes(found), `closed without a row, or as if there had been no fence: ${found}`)
    t.equal((await settle(settlementOf(slice, root, undefined), 1)).verdict, 'ABORTED')
    t.match(await knows(), /^open [01], ABORTED 1$/)
  }
})
