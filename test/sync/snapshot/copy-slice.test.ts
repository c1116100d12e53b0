import t, { type Test } from 'tap'
import type { TableMapping } from '../../../model/mapping.ts'
import { parseLsn } from '../../../model/position.ts'
import { connect } from '../../../postgres/connection.ts'
import { openStream } from '../../../postgres/replication.ts'
import { createSlot, dropSlot } from '../../../postgres/slot.ts'
import { type CopyProgress, copySlice } from '../../../sync/snapshot/copy-slice.ts'
import type { CopySliceOptions } from '../../../sync/snapshot/copy-slice.ts'
import { query, testCluster } from '../../support/cluster.ts'
import { applyNaively } from '../../support/naive-apply.ts'
import { startWriters, WRITTEN_TABLES } from '../../support/random-writers.ts'
import { StreamReader } from '../../support/stream-reader.ts'

const SEED = Number(process.env['SEED'] ?? 5)
const cluster = await testCluster(t)
await cluster.createRole('capture', { traits: 'REPLICATION' })
await cluster.createRole('apply')
const [server] = await query<{ version: number }>(
  cluster.url(),
  `SELECT current_setting('server_version_num')::int AS version`,
)
await query(
  cluster.url(),
  server!.version >= 150_000
    ? 'GRANT SET ON PARAMETER session_replication_role TO apply'
    : 'ALTER ROLE apply SUPERUSER',
)
const GRANTS = `GRANT SELECT ON ALL TABLES IN SCHEMA public TO capture;
  GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA public TO apply`
/** What a closed gate does, here for everybody but the apply role. */
const GATE = `CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN IF session_user <> 'apply' THEN RAISE 'closed'; END IF; RETURN NULL; END $$`
const gated = (
  table: string,
) => `CREATE TRIGGER gate BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON ${table}
  FOR EACH STATEMENT EXECUTE FUNCTION gate(); ALTER TABLE ${table} ENABLE ALWAYS TRIGGER gate`

let databases = 0

interface Sides {
  readonly source: string
  readonly target: string
  readonly options: Pick<CopySliceOptions, 'source' | 'target' | 'slot' | 'signal' | 'analyze'>
}

async function sides(t: Test, ddl: { source: string; target: string }): Promise<Sides> {
  const n = (databases += 1)
  const make = async (side: 'source' | 'target') => {
    const url = await cluster.createDatabase(`s${n}_${side}`)
    await query(url, `${ddl[side]}; ${GRANTS}`)
    return url
  }
  const [source, target] = [await make('source'), await make('target')]
  const { signal } = new AbortController()
  const slot = `slot_${n}`
  t.teardown(() => dropSlot({ url: source, slot, signal }))
  const urls = {
    source: cluster.url(`s${n}_source`, 'capture'),
    target: cluster.url(`s${n}_target`, 'apply'),
    analyze: target,
  }
  return { source, target, options: { ...urls, slot, signal } }
}

function mapping(table: string, to: string, columns: string): TableMapping {
  const pairs = columns.split(' ').map(each => each.split('>'))
  const names = new Map(pairs.map(([from, other]) => [from!, other ?? from!]))
  return { table: `public.${table}`, to: `public.${to}`, columns: names }
}

async function rowsOf(url: string, table: string, columns: Iterable<string>): Promise<unknown[]> {
  return query(url, `SELECT ROW(${[...columns].join(', ')})::text AS r FROM ${table} ORDER BY 1`)
}

await t.test('copy and stream meet without a gap while clients write', async t => {
  t.comment(`seed ${SEED}`)
  const seeded = `${WRITTEN_TABLES}; CREATE PUBLICATION p FOR TABLE notes, places, marks;
    INSERT INTO notes SELECT i, CASE WHEN i % 50 = 0 THEN repeat('old ', 2000) WHEN i % 7 = 0 THEN '' END
      FROM generate_series(1, 20000) i;
    INSERT INTO places SELECT 'c' || i, ('00000000-0000-4000-8000-' || lpad(to_hex(i), 12, '0'))::uuid, i * 1.10,
      '2024-01-01'::timestamptz FROM generate_series(1, 2000) i`
  const db = await sides(t, {
    source: seeded,
    target: WRITTEN_TABLES.replace('TABLE notes (id', 'TABLE note (no')
      .replace('TABLE notes ALTER', 'TABLE note ALTER')
      .replace('REFERENCES notes', 'REFERENCES note'),
  })
  const tables = [
    mapping('notes', 'note', 'id>no body n'),
    mapping('marks', 'marks', 'id note_id tags'),
    mapping('places', 'places', 'code part v at'),
  ]
  const writers = await startWriters(db.source, 3, SEED)
  const limits = { workers: 3, chunkRows: 500, chunkBytes: 128 * 1024 }
  const copied = await copySlice({ ...db.options, ...limits, tables })
  const [there] = await query<{ n: number }>(db.target, 'SELECT count(*)::int AS n FROM note')
  t.equal(copied.rows.get('public.notes'), there!.n, 'the count is exact')
  const committed = await writers.stop()
  t.ok(committed > 10, `${committed} transactions were committed meanwhile`)

  const [now] = await query<{ lsn: string }>(
    db.source,
    'SELECT pg_current_wal_insert_lsn()::text AS lsn',
  )
  const stream = await openStream({
    url: db.options.source,
    slot: copied.slot,
    publications: ['p'],
    from: copied.consistentPoint,
    signal: db.options.signal,
    log: { info() {} },
  })
  const reader = new StreamReader(stream)
  const end = parseLsn(now!.lsn)
  const reached = (r: StreamReader) =>
    r.events.some(each => each.kind === 'idle' && each.position >= end)
  await reader.until(reached, 'the end of the writers')
  await stream[Symbol.asyncDispose]()
  await applyNaively(db.target, reader.changes, tables)
  for (const { table, to, columns } of tables) {
    const source = await rowsOf(db.source, table, columns.keys())
    t.ok(source.length > 0)
    t.strictSame(await rowsOf(db.target, to, columns.values()), source, table)
  }
})

await t.test('the gate lets the copy through, and no foreign key or trigger acts', async t => {
  const db = await sides(t, {
    source: `CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY, a_id int);
      INSERT INTO a VALUES (1), (2); INSERT INTO b VALUES (1, 1), (2, 77); ANALYZE`,
    target: `${GATE}; CREATE TABLE a (id int PRIMARY KEY);
      CREATE TABLE b (id int PRIMARY KEY, a_id int REFERENCES a); CREATE TABLE fired (id int);
      CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO fired VALUES (NEW.id); RETURN NEW; END $$;
      CREATE TRIGGER fire AFTER INSERT ON b FOR EACH ROW EXECUTE FUNCTION fire(); ${gated('a')}; ${gated('b')}`,
  })
  const tables = [mapping('b', 'b', 'id a_id'), mapping('a', 'a', 'id')]
  const progress: CopyProgress[] = []
  const onProgress = (each: CopyProgress) => progress.push(each)
  const copied = await copySlice({ ...db.options, tables, workers: 1, onProgress })
  t.strictSame(
    [...copied.rows],
    [
      ['public.b', 2],
      ['public.a', 2],
    ],
  )
  t.equal(copied.analyzed, true)
  t.strictSame(await query(db.target, 'SELECT * FROM fired'), [])
  t.strictSame(
    progress.map(each => [each.rows, each.estimatedRows, each.chunks]),
    [
      [2, 4, { done: 1, all: 2 }],
      [4, 4, { done: 2, all: 2 }],
    ],
  )
  const [stats] = await query(db.target, `SELECT reltuples FROM pg_class WHERE relname = 'b'`)
  t.match(stats, { reltuples: 2 })
})

await t.test('a partitioned table goes into a plain one, each row once', async t => {
  const db = await sides(t, {
    source: `CREATE TABLE days (id int, v text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
      CREATE TABLE d1 PARTITION OF days FOR VALUES FROM (0) TO (500);
      CREATE TABLE d2 PARTITION OF days FOR VALUES FROM (500) TO (2000) PARTITION BY RANGE (id);
      CREATE TABLE d2a PARTITION OF d2 FOR VALUES FROM (500) TO (600); CREATE TABLE d2b PARTITION OF d2 DEFAULT;
      INSERT INTO days SELECT i, 'v' || i FROM generate_series(0, 1999) i`,
    target: 'CREATE TABLE days (id int PRIMARY KEY, v text)',
  })
  const tables = [mapping('days', 'days', 'id v')]
  const copied = await copySlice({ ...db.options, tables, chunkBytes: 8192, analyze: undefined })
  t.strictSame([...copied.rows], [['public.days', 2000]])
  t.strictSame(
    await rowsOf(db.target, 'days', ['id', 'v']),
    await rowsOf(db.source, 'days', ['id', 'v']),
  )
  t.equal(copied.analyzed, server!.version < 150_000, 'the apply role owns nothing')
})

const KEYED = 'CREATE TABLE a (id int PRIMARY KEY)'

await t.test('what an interrupted copy left is refused, and cleared only when told so', async t => {
  const db = await sides(t, {
    source: `${KEYED}; INSERT INTO a SELECT generate_series(1, 100)`,
    target: `${GATE}; ${KEYED}; ${gated('a')}; CREATE TABLE points (a_id int REFERENCES a)`,
  })
  const tables = [mapping('a', 'a', 'id')]
  await query(db.options.target, 'INSERT INTO a VALUES (7), (7000)')
  await t.rejects(copySlice({ ...db.options, tables }), {
    code: 'TARGET_NOT_EMPTY',
    details: ['public.a'],
  })
  await query(db.options.target, 'DELETE FROM a')
  await createSlot({ url: db.options.source, slot: db.options.slot, signal: db.options.signal })
  await t.rejects(copySlice({ ...db.options, tables }), { code: 'SLOT_EXISTS' })
  const [left] = await query(
    db.source,
    `SELECT slot_name FROM pg_replication_slots WHERE slot_name = '${db.options.slot}'`,
  )
  t.ok(left, 'a slot that it did not make is left alone')
  await query(db.options.target, 'INSERT INTO a VALUES (7), (7000)')
  const copied = await copySlice({ ...db.options, tables, restart: true })
  t.equal(copied.rows.get('public.a'), 100)
  t.strictSame(await query(db.target, 'SELECT count(*)::int AS n, max(id) FROM a'), [
    { n: 100, max: 100 },
  ])
})

await t.test('a copy that fails, or is aborted, takes its slot back and hangs up', async t => {
  const db = await sides(t, {
    source: `${KEYED}; INSERT INTO a SELECT generate_series(1, 1000)`,
    target: `CREATE TABLE a (id int PRIMARY KEY CHECK (id < 1000))`,
  })
  const tables = [mapping('a', 'a', 'id')]
  await t.rejects(copySlice({ ...db.options, tables }), { code: 'COPY_FAILED' })
  const left = async () =>
    query(
      db.source,
      `SELECT slot_name AS what FROM pg_replication_slots WHERE slot_name = '${db.options.slot}'
       UNION ALL SELECT query FROM pg_stat_activity WHERE application_name LIKE 'banyan ${db.options.slot}%'`,
    )
  t.strictSame(await left(), [])

  await query(db.options.target, 'TRUNCATE a')
  const holder = await connect({ url: db.target, applicationName: 'test' })
  t.teardown(() => holder.end())
  await holder.query('BEGIN; LOCK TABLE public.a IN EXCLUSIVE MODE')
  const stop = new AbortController()
  const copying = copySlice({ ...db.options, tables, signal: stop.signal })
  copying.catch(() => undefined)
  const waiting = `SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'COPY%'`
  while ((await query(db.target, waiting)).length === 0);
  await t.rejects(
    query(db.source, `SET lock_timeout = '20ms'; TRUNCATE a`),
    { code: '55P03' },
    'meanwhile nobody can rewrite a table under the copy',
  )
  stop.abort(new Error('enough'))
  await t.rejects(copying, { message: 'enough' })
  await holder.query('ROLLBACK')
  while ((await left()).length > 0);
  t.pass('nothing of it is left')
})

await t.test('a table that is missing is named before anything is made', async t => {
  const db = await sides(t, { source: KEYED, target: KEYED })
  const gone = [mapping('a', 'gone', 'id')]
  await t.rejects(copySlice({ ...db.options, tables: gone }), { code: 'TABLE_MISSING' })
})

await t.test('losing the locks ends the copy', async t => {
  const db = await sides(t, { source: `${KEYED}; INSERT INTO a VALUES (1)`, target: KEYED })
  const holder = await connect({ url: db.target, applicationName: 'test' })
  t.teardown(() => holder.end())
  await holder.query('BEGIN; LOCK TABLE public.a IN EXCLUSIVE MODE')
  const copying = copySlice({ ...db.options, tables: [mapping('a', 'a', 'id')] })
  copying.catch(() => undefined)
  const waiting = `SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'COPY%'`
  while ((await query(db.target, waiting)).length === 0);
  const locks = `SELECT pid FROM pg_stat_activity WHERE application_name = 'banyan ${db.options.slot} copy'
    AND datname = current_database() AND query NOT LIKE 'COPY%' AND state = 'idle in transaction'`
  await query(db.source, `SELECT pg_terminate_backend(pid) FROM (${locks}) p`)
  await t.rejects(copying, { code: 'CONNECTION_LOST', rule: { retry: true } })
})
