/** The gate itself: whom it refuses, by whatever way they write, what it tells them, and what is left of it. */
import { pipeline } from 'node:stream/promises'
import { Readable } from 'node:stream'
import type pg from 'pg'
import { from as copyFrom } from 'pg-copy-streams'
import t from 'tap'
import { must } from '../../model/errors.ts'
import { connect } from '../../postgres/connection.ts'
import { readGate, setGate } from '../../postgres/gate.ts'
import { installGate } from '../../postgres/gate-install.ts'
import { openStream } from '../../postgres/replication.ts'
import { createSlot } from '../../postgres/slot.ts'
import { StreamReader } from '../support/stream-reader.ts'
import { query } from '../support/cluster.ts'
import { gateSides, outcome, put, type SideHandle, type TestSlice } from './gate-sides.ts'

const sides = await gateSides(t)
const { legacy, service, system } = sides
const slice = await sides.slice()
const { table } = slice
const [server] = await query<{ version: number }>(
  service.rootUrl,
  `SELECT current_setting('server_version_num')::int AS version`,
)
const hasMerge = must(server, 'version').version >= 150_000

const refusedBy = async (at: SideHandle, of: TestSlice = slice): Promise<number> =>
  must(await readGate(at.root, of.name), of.name).refused

async function copyInto(client: pg.Client, rows: string): Promise<void> {
  await pipeline(Readable.from([rows]), client.query(copyFrom(`COPY ${table} (note) FROM STDIN`)))
}

const ROUNDABOUT = `
  CREATE TABLE public.boss (id int PRIMARY KEY);
  CREATE TABLE public.outside (id int);
  ALTER TABLE ${table} ADD boss int REFERENCES public.boss ON DELETE CASCADE ON UPDATE SET NULL;
  CREATE VIEW public.seen AS SELECT id, note FROM ${table};
  CREATE FUNCTION public.write() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'INSERT INTO ${table} (note) VALUES (1)';
  CREATE FUNCTION public.spread() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN INSERT INTO ${table} (note) VALUES (NEW.id); RETURN NEW; END';
  CREATE TRIGGER spread AFTER INSERT ON public.outside FOR EACH ROW EXECUTE FUNCTION public.spread();
  INSERT INTO public.boss VALUES (1), (2)`

/** All of them touch a row, or none at all: the gate is asked once a statement, before any row. */
const WRITES: readonly (readonly [way: string, sql: string])[] = [
  ['INSERT', `INSERT INTO ${table} (note) VALUES ('x')`],
  ['UPDATE', `UPDATE ${table} SET note = 'x' WHERE id = 1`],
  ['UPDATE of no row', `UPDATE ${table} SET note = 'x' WHERE false`],
  ['DELETE', `DELETE FROM ${table} WHERE id = 1`],
  ['DELETE of no row', `DELETE FROM ${table} WHERE false`],
  ['TRUNCATE', `TRUNCATE ${table}`],
  ['TRUNCATE of a parent', `TRUNCATE public.boss CASCADE`],
  ['an upsert', `INSERT INTO ${table} VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET note = 'x'`],
  ['an upsert that does nothing', `INSERT INTO ${table} VALUES (1) ON CONFLICT DO NOTHING`],
  ['a CTE', `WITH gone AS (DELETE FROM ${table} RETURNING id) SELECT count(*) FROM gone`],
  ['a view', `UPDATE public.seen SET note = 'x'`],
  ['a foreign key that cascades', `DELETE FROM public.boss WHERE id = 1`],
  ['a foreign key that sets null', `UPDATE public.boss SET id = 3 WHERE id = 1`],
  ['a function of its definer', `SELECT public.write()`],
  ['a trigger of another table', `INSERT INTO public.outside VALUES (1)`],
]
const MERGE = `MERGE INTO ${table} t USING (VALUES (1)) v(id) ON t.id = v.id WHEN MATCHED THEN UPDATE SET note = 'x'`
const ALL = hasMerge ? [...WRITES, ['MERGE', MERGE] as const] : WRITES

void t.test('on the side that is not the owner', async t => {
  const owner = await service.app()
  await owner.query(ROUNDABOUT)
  await service.apply.query(`INSERT INTO ${table} (note, boss) VALUES ('kept', 1), ('kept', 2)`)
  const rows = `SELECT count(*)::int AS n FROM ${table} WHERE note = 'kept' AND boss IS NOT NULL`

  await t.test('every way to write is refused, and stores nothing', async t => {
    for (const [way, sql] of ALL) t.equal(await outcome(owner.query(sql)), 'BNY01', way)
    t.equal(await outcome(copyInto(owner, 'x\n')), 'BNY01', 'COPY')
    t.equal(
      await outcome(owner.query(`INSERT INTO ${table} SELECT generate_series(10, 2000)`)),
      'BNY01',
      'the connection lives on',
    )
    t.same((await service.root.query(rows)).rows, [{ n: 2 }])
  })

  await t.test('reading is nobody’s business', async t => {
    t.equal((await owner.query(`SELECT FROM ${table}`)).rowCount, 2)
    t.equal((await owner.query(`SELECT FROM ${table} FOR UPDATE`)).rowCount, 2)
  })

  await t.test('a superuser passes neither as replica nor in the apply role’s clothes', async t => {
    const write = `INSERT INTO ${table} (note) VALUES ('x')`
    for (const clothes of ['session_replication_role = replica', 'ROLE banyan_apply']) {
      await service.root.query(`SET ${clothes}`)
      t.equal(await outcome(service.root.query(write)), 'BNY01', clothes)
      await service.root.query('RESET session_replication_role; RESET ROLE')
    }
  })

  await t.test('the apply role passes, by every way', async t => {
    for (const [way, sql] of ALL) {
      if (sql.includes('public.boss') || sql.includes('public.outside')) continue
      await service.apply.query(`BEGIN; ${sql}; ROLLBACK`)
      t.pass(way)
    }
    await service.apply.query('BEGIN')
    await copyInto(service.apply, 'x\ny\n')
    await service.apply.query('ROLLBACK')
    t.same((await service.root.query(rows)).rows, [{ n: 2 }])
  })
})

void t.test('on the owner’s side everything is written as ever', async t => {
  const owner = await legacy.app()
  await owner.query(ROUNDABOUT)
  for (const [way, sql] of ALL) {
    await owner.query(`BEGIN; ${sql}; ROLLBACK`)
    t.pass(way)
  }
  await owner.query('BEGIN')
  await copyInto(owner, 'x\n')
  await owner.query('ROLLBACK')
  t.equal(await refusedBy(legacy), 0)
})

void t.test('a refusal says what was not done, who owns it and where to go', async t => {
  const other = await sides.slice()
  const app = await service.app()
  const name = other.table.replace('public.', '')
  await t.rejects(app.query(`INSERT INTO ${other.table} (note) SELECT generate_series(1, 1000)`), {
    code: 'BNY01',
    severity: 'ERROR',
    message: `table ${name} is not written here: slice ${other.name} has another owner`,
    hint: `slice "${other.name}" is written at legacy; nothing was stored, send it there`,
  })
  t.equal(await refusedBy(service, other), 1, 'once a statement, not once a row')
})

void t.test('a refusal outlives its transaction: counted, and told to the stream', async t => {
  const other = await sides.slice()
  const signal = AbortSignal.timeout(60_000)
  const url = sides.cluster.url('rooms')
  const slot = 'refusals'
  const { consistentPoint } = await createSlot({ url, slot, signal })
  const app = await service.app()
  await app.query('BEGIN; SAVEPOINT here')
  t.equal(await outcome(app.query(`DELETE FROM ${other.table}`)), 'BNY01')
  await app.query('ROLLBACK TO here')
  t.equal(await outcome(app.query(`TRUNCATE ${other.table}`)), 'BNY01')
  await app.query('ROLLBACK')
  t.equal(await refusedBy(service, other), 2)

  const stop = new AbortController()
  const stream = await openStream({
    url,
    slot,
    publications: [`banyan_${other.name}`],
    from: consistentPoint,
    signal: stop.signal,
    log: { info: () => undefined },
  })
  const reader = new StreamReader(stream)
  const told = () =>
    reader.events.flatMap(event =>
      event.kind === 'message' && event.prefix === 'banyan.refused'
        ? [JSON.parse(event.content) as Record<string, unknown>]
        : [],
    )
  await reader.until(() => told().length >= 2, 'two refusals')
  const who = { slice: other.name, table: other.table, role: 'app', application: 'clinic' }
  t.match(told(), [
    { ...who, operation: 'DELETE', at: /^20\d\d-/ },
    { ...who, operation: 'TRUNCATE', at: /^20\d\d-/ },
  ])
  t.same(reader.transactions, [], 'and nothing else happened')
  await stream[Symbol.asyncDispose]()
})

void t.test('partitions and heirs have their own names, and their own gates', async t => {
  const app = await service.app()
  await app.query(
    `CREATE TABLE public.parts (k int, v int) PARTITION BY LIST (k);
     CREATE TABLE public.parts_1 PARTITION OF public.parts FOR VALUES IN (1) PARTITION BY LIST (v);
     CREATE TABLE public.parts_1_1 PARTITION OF public.parts_1 FOR VALUES IN (1);
     CREATE TABLE public.kin (k int); CREATE TABLE public.heir () INHERITS (public.kin)`,
  )
  const setup = await connect({ url: service.setupUrl, applicationName: 'test setup' })
  t.teardown(() => setup.end())
  const install = () =>
    installGate(setup, {
      slice: 'wide',
      number: 900,
      side: 'service',
      relations: ['public.parts', 'public.kin'],
      applyRole: 'banyan_apply',
      goTo: 'legacy',
      publication: undefined,
    })
  await install()
  const family = ['parts', 'parts_1', 'parts_1_1', 'kin', 'heir']
  for (const name of family) {
    const columns = ['kin', 'heir'].includes(name) ? '(k) VALUES (1)' : '(k, v) VALUES (1, 1)'
    t.equal(await outcome(app.query(`INSERT INTO public.${name} ${columns}`)), 'BNY01', name)
    t.equal(await outcome(app.query(`TRUNCATE public.${name}`)), 'BNY01', `TRUNCATE ${name}`)
  }
  await app.query('CREATE TABLE public.parts_2 PARTITION OF public.parts FOR VALUES IN (2)')
  t.equal(
    await outcome(app.query('INSERT INTO public.parts VALUES (2, 1)')),
    'BNY01',
    'by its root',
  )
  await install()
  t.equal(
    await outcome(app.query('INSERT INTO public.parts_2 VALUES (2, 1)')),
    'BNY01',
    'by itself',
  )
})

void t.test(
  'nobody moves the word but the protocol’s functions, and the apply role them',
  async t => {
    const other = await sides.slice()
    await put(legacy, other, system, 'closed 1, FENCED 1, REACHED 1@A, progress 0@A')
    const app = await legacy.app()
    const word = `SELECT setval('banyan.gate_${other.number}', 3)`
    const calls = [
      word,
      `SELECT nextval('banyan.gate_${other.number}')`,
      `INSERT INTO banyan.decision (slice, epoch, verdict) VALUES ('${other.name}', 1, 'PROMOTED')`,
      `UPDATE banyan.decision SET verdict = 'PROMOTED'`,
      `DELETE FROM banyan.fence`,
      `DELETE FROM banyan.evidence`,
      `UPDATE banyan.slice SET number = 1000 + number`,
    ]
    for (const sql of calls) {
      t.equal(await outcome(legacy.apply.query(sql)), '42501', `the apply role: ${sql}`)
      t.equal(await outcome(app.query(sql)), '42501', `the application: ${sql}`)
    }
    t.equal(await outcome(setGate(app, other.name, 1)), '42501', 'the application: set_gate')
    for (const sql of [
      `SELECT banyan.decide('${other.name}', 1, 'ABORTED')`,
      `SELECT banyan.fence('${other.name}', 2, gen_random_uuid(), now(), '', 1, '', 1)`,
      `SELECT banyan.prepare('${other.name}', 1, 's', '[]', 0)`,
      `SELECT banyan.accept_fingerprint('${other.name}')`,
    ]) {
      t.equal(await outcome(app.query(sql)), '42501', `the application: ${sql}`)
    }
  },
)
