import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'
import type pg from 'pg'
import t from 'tap'
import { connect, cut, pool, systemOf } from '../../postgres/connection.ts'
import { explain, placeOf, sqlState } from '../../postgres/explain.ts'
import { query, testCluster } from '../support/cluster.ts'

const cluster = await testCluster(t)
const url = await cluster.createDatabase('clinic')
const applicationName = 'banyan test'

// All that a role, a database or a server may have set against us.
await cluster.createRole('contrary', { traits: 'REPLICATION' })
for (const setting of [
  `statement_timeout = '1s'`,
  `lock_timeout = '1s'`,
  `idle_in_transaction_session_timeout = '1s'`,
  `idle_session_timeout = '1s'`,
  `synchronous_commit = off`,
  `default_transaction_isolation = 'serializable'`,
  `default_transaction_read_only = on`,
  `search_path = pg_temp, public`,
  `DateStyle = 'German'`,
  `IntervalStyle = 'iso_8601'`,
  `TimeZone = 'Asia/Kathmandu'`,
  `bytea_output = 'escape'`,
  `extra_float_digits = 0`,
  `row_security = on`,
  `array_nulls = off`,
  `transform_null_equals = on`,
]) {
  await query(cluster.url(), `ALTER ROLE contrary SET ${setting}`)
}
const contrary = cluster.url('clinic', 'contrary')

const EXPECTED: Readonly<Record<string, string>> = {
  statement_timeout: '0',
  lock_timeout: '0',
  idle_in_transaction_session_timeout: '0',
  idle_session_timeout: '0',
  synchronous_commit: 'on',
  transaction_isolation: 'read committed',
  transaction_read_only: 'off',
  search_path: '',
  DateStyle: 'ISO, MDY',
  IntervalStyle: 'postgres',
  TimeZone: 'UTC',
  bytea_output: 'hex',
  extra_float_digits: '1',
  client_encoding: 'UTF8',
  row_security: 'off',
  array_nulls: 'on',
  transform_null_equals: 'off',
  application_name: applicationName,
}

async function settingsOf(client: pg.ClientBase): Promise<Record<string, unknown>> {
  const names = Object.keys(EXPECTED)
  const columns = names.map(name => `current_setting('${name}') AS "${name}"`)
  const { rows } = await client.query(`SELECT ${columns.join(', ')}`)
  return rows[0] as Record<string, unknown>
}

void t.test('a session’s settings are ours, whatever role, URL or server say', async t => {
  const loud = `${contrary}?application_name=other&options=-c%20statement_timeout%3D999`
  const client = await connect({ url: loud, applicationName })
  t.teardown(() => client.end())
  t.same(await settingsOf(client), EXPECTED)
  const { rows } = await client.query(
    `SELECT current_setting('client_connection_check_interval') v`,
  )
  if (process.platform === 'linux') t.equal(rows[0].v, '200ms')
})

void t.test('a pool’s sessions are pinned the same, before anybody gets one', async t => {
  const clients = pool({ url: contrary, applicationName, max: 2 })
  t.teardown(() => clients.end())
  const two = await Promise.all([clients.connect(), clients.connect()])
  for (const client of two) t.same(await settingsOf(client), EXPECTED)
  for (const client of two) client.release()
})

void t.test('a replication session prints values as any other does', async t => {
  const client = await connect({ url: contrary, applicationName, replication: true })
  t.teardown(() => client.end())
  const { synchronous_commit: _, ...settings } = await settingsOf(client)
  const { synchronous_commit: __, ...expected } = EXPECTED
  t.same(settings, { ...expected, search_path: '""' })
  const { rows } = await client.query('IDENTIFY_SYSTEM')
  t.match(rows[0], { timeline: 1, dbname: 'clinic' })
})

void t.test('time limits that are asked for are in force', async t => {
  const timeouts = { statementMs: 30, lockMs: 20, idleInTransactionMs: 5000 }
  const client = await connect({ url, applicationName, timeouts })
  t.teardown(() => client.end())
  await t.rejects(client.query('SELECT pg_sleep(10)'), { code: '57014' })
  const { rows } = await client.query(`SELECT current_setting('lock_timeout') v`)
  t.equal(rows[0].v, '20ms')
})

void t.test('raw text is what PostgreSQL prints; nothing becomes a Date or a Number', async t => {
  const client = await connect({ url, applicationName, rawText: true })
  t.teardown(() => client.end())
  const { rows } = await client.query(
    `SELECT 1::int4 i, 1.5::float8 f, true b, '2026-01-31 10:00:00.123456+02'::timestamptz ts,
            '{1,NULL}'::int[] a, '{"x":1.0}'::jsonb j, '\\x00ff'::bytea h, NULL::int n, 1.10::numeric d`,
  )
  t.same(rows[0], {
    i: '1',
    f: '1.5',
    b: 't',
    ts: '2026-01-31 08:00:00.123456+00',
    a: '{1,NULL}',
    j: '{"x": 1.0}',
    h: '\\x00ff',
    n: null,
    d: '1.10',
  })
})

void t.test('a policy that would hide rows from us is an error, not silence', async t => {
  await query(
    url,
    `CREATE TABLE secret (n int); INSERT INTO secret VALUES (1); GRANT SELECT ON secret TO contrary;
     ALTER TABLE secret ENABLE ROW LEVEL SECURITY`,
  )
  t.same(await query(contrary, 'SELECT * FROM public.secret'), [], 'others are shown nothing')
  const client = await connect({ url: contrary, applicationName })
  t.teardown(() => client.end())
  await t.rejects(client.query('SELECT * FROM public.secret'), { code: '42501' })
})

void t.test(
  'an idle connection that is ended by the server is told once, and crashes nothing',
  async t => {
    const lost: Error[] = []
    const onLost = (error: Error): void => void lost.push(error)
    const client = await connect({ url, applicationName: 'victim', onLost })
    const ended = new Promise<void>(resolve => client.once('end', resolve))
    await query(url, terminate('victim'))
    await ended
    t.match(lost, [{ code: 'CONNECTION_LOST', message: new RegExp(`127.0.0.1:${cluster.port} `) }])
    t.equal(lost.length, 1)
  },
)

void t.test('a connection that dies in somebody’s hands crashes nothing', async t => {
  const clients = pool({ url, applicationName: 'pooled victim' })
  t.teardown(() => clients.end())
  const client = await clients.connect()
  const ended = new Promise<void>(resolve => client.once('end', resolve))
  await query(url, terminate('pooled victim'))
  await ended
  const failed: unknown = await client.query('SELECT 1').catch((error: unknown) => error)
  t.match(explain(failed, url), { code: 'CONNECTION_LOST' })
  client.release(true)
  t.same((await clients.query('SELECT 1 AS n')).rows, [{ n: 1 }], 'the pool makes a new one')
})

void t.test('what is cut is rolled back', async t => {
  await query(url, 'CREATE TABLE half (n int)')
  const client = await connect({ url, applicationName: 'cut' })
  await client.query('BEGIN; INSERT INTO public.half VALUES (1)')
  const { rows } = await client.query('SELECT pg_backend_pid() AS pid')
  cut(client)
  cut(client)
  const lives = 'SELECT FROM pg_stat_activity WHERE pid = $1'
  while ((await query(url, lives, [rows[0].pid])).length > 0) await sleep(5)
  t.same(await query(url, 'SELECT * FROM half'), [])
})

void t.test('an attempt ends when it is called off, and when nobody answers', async t => {
  const silent = createServer().listen(0, '127.0.0.1')
  await once(silent, 'listening')
  t.teardown(() => silent.close())
  const { port } = silent.address() as AddressInfo
  const mute = `postgres://ada:hunter2@127.0.0.1:${port}/clinic`
  const off = new AbortController()
  const reason = new Error('called off')
  silent.once('connection', () => off.abort(reason))
  await t.rejects(connect({ url: mute, applicationName, signal: off.signal }), reason)
  await t.rejects(connect({ url: mute, applicationName, connectTimeoutMs: 50 }), {
    code: 'UNREACHABLE',
    message: `no PostgreSQL answers at 127.0.0.1:${port} (no answer within 50 ms)`,
  })
  await t.rejects(connect({ url, applicationName, signal: AbortSignal.abort(reason) }), reason)
})

void t.test('each way not to get in has its code, and none tells the password', async t => {
  const closed = createServer().listen(0, '127.0.0.1')
  await once(closed, 'listening')
  const { port } = closed.address() as AddressInfo
  closed.close()
  await query(cluster.url(), 'CREATE ROLE locked LOGIN')
  const at = `127.0.0.1:${cluster.port}`
  const cases: readonly (readonly [string, string])[] = [
    [`postgres://ada:hunter2@127.0.0.1:${port}/clinic`, 'UNREACHABLE'],
    [`postgres://ada:hunter2@localhost:${port}/clinic`, 'UNREACHABLE'],
    ['postgres://ada:hunter2@host.invalid/clinic', 'UNREACHABLE'],
    [`postgres://ada:hunter2@${at}/clinic`, 'AUTH_FAILED'],
    [`postgres://locked@${at}/clinic`, 'AUTH_FAILED'],
    [cluster.url('hunter2-is-no-database'), 'DATABASE_MISSING'],
    [`postgres://ada:hunter2@${at}/clinic?sslmode=verify-full`, 'TLS_REFUSED'],
    ['mysql://ada:hunter2@127.0.0.1/clinic', 'DATABASE_URL_INVALID'],
    ['postgres://ada:hunter2@[bad/clinic', 'DATABASE_URL_INVALID'],
    ['hunter2', 'DATABASE_URL_INVALID'],
  ]
  for (const [address, code] of cases) {
    const error: unknown = await connect({ url: address, applicationName }).catch((e: unknown) => e)
    t.match(error, { code, hint: /`banyan doctor <slice>`$/ }, code)
    if (code === 'DATABASE_MISSING') continue
    t.notMatch(
      inspect(error, { depth: 10, showHidden: true }),
      /hunter2/,
      `${code} keeps the secret`,
    )
  }
})

void t.test('a place is host and port, never more', async t => {
  t.equal(placeOf('postgres://ada:hunter2@db.example/clinic'), 'db.example:5432')
  t.equal(placeOf('postgresql://ada:hunter2@[::1]:6000/clinic?x=1'), '[::1]:6000')
  t.equal(placeOf('postgres:///clinic?host=/run/postgresql'), '/run/postgresql:5432')
  t.equal(placeOf('127.0.0.1:5432'), '127.0.0.1:5432')
  t.equal(placeOf('legacy'), 'legacy')
  t.equal(placeOf('ada:hunter2@db'), 'the database')
})

void t.test('a failed statement names what and where, and quotes no row', async t => {
  const client = await connect({ url, applicationName })
  t.teardown(() => client.end())
  await client.query('CREATE TABLE public.patient (email text CONSTRAINT once UNIQUE)')
  const insert = `INSERT INTO public.patient VALUES ('ada@example.org')`
  await client.query(insert)
  const failures: readonly (readonly [string, string, RegExp])[] = [
    [insert, 'STATEMENT_FAILED', /SQLSTATE 23505, table public\.patient, constraint once$/],
    [`SELECT 'ada'::int`, 'STATEMENT_FAILED', /SQLSTATE 22P02$/],
    [`SELECT ada FROM public.patient`, 'STATEMENT_FAILED', /column "ada" does not exist/],
    [`SELEKT 'ada'`, 'STATEMENT_FAILED', /SQLSTATE 42601$/],
    [`DO $$ BEGIN RAISE 'ada'; END $$`, 'STATEMENT_FAILED', /SQLSTATE P0001$/],
    [`SET statement_timeout = 5; SELECT pg_sleep(5)`, 'STATEMENT_CUT', /57014/],
  ]
  for (const [sql, code, says] of failures) {
    const raw: unknown = await client.query(sql).catch((error: unknown) => error)
    const error = explain(raw, url)
    t.match(error, { code, message: says, cause: raw }, sql)
    t.equal(sqlState(error), (raw as pg.DatabaseError).code)
  }
})

void t.test('what isn’t the database’s stays what it is', async t => {
  const bug = new TypeError('x is not a function')
  t.equal(explain(bug, url), bug)
  t.equal(sqlState(bug), null)
  const ours: unknown = await query(
    url,
    `DO $$ BEGIN RAISE 'closed' USING ERRCODE = 'BNY01'; END $$`,
  ).catch((error: unknown) => error)
  t.equal(explain(ours, url), ours, 'a gate’s refusal is its own to explain')
})

void t.test('a server knows its identifier and timeline', async t => {
  const client = await connect({ url, applicationName })
  t.teardown(() => client.end())
  const system = await systemOf(client)
  t.match(system, { identifier: /^\d{10,20}$/, timeline: 1 })
  const [row] = await query(url, 'SELECT system_identifier::text AS id FROM pg_control_system()')
  t.equal(system.identifier, row?.id)
  const other = await testCluster(t)
  const elsewhere = await connect({ url: other.url(), applicationName })
  t.teardown(() => elsewhere.end())
  t.not((await systemOf(elsewhere)).identifier, system.identifier, 'no two clusters share one')
})

function terminate(name: string): string {
  return `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '${name}'`
}
