import t, { type Test } from 'tap'
import { connect, cut } from '../../postgres/connection.ts'
import { binaryFits, copyRows, type CopyOptions } from '../../postgres/copy.ts'
import { query, testCluster } from '../support/cluster.ts'

const cluster = await testCluster(t)
let databases = 0

const COLUMNS = `id bigint PRIMARY KEY, n numeric, at timestamptz, d date, span interval, data bytea, list text[],
  f float8, j json, jb jsonb, u uuid, ip inet, ok boolean, t varchar(40), c char(4), mood mood, moods mood[], r tstzrange`
const DDL = `CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TABLE kinds (${COLUMNS})`
const ROWS = `INSERT INTO kinds VALUES
  (9007199254740993, 1.10, 'infinity', '-infinity', '1 day -02:03', '\\x00ff5c4e', ARRAY['a,b', NULL, '"', '\\N', ''],
   0.1, '{"b": 1,  "a": 1.0}', '{"b": 1, "a": 1.0}', gen_random_uuid(), '10.0.0.1/8', true, '\\N', 'ab', 'ok', '{ok,sad}',
   '[2024-01-01,)'),
  (-9223372036854775808, 'NaN', '0044-03-15 12:00:00+00 BC', '5874897-12-31', '-178000000 years', '', '{}',
   '-0', 'null', 'null', NULL, NULL, false, '', '', 'sad', '{}', 'empty'),
  (3, -0.000000000000000000001, '2024-06-11 12:00:00.000001+05:45', NULL, NULL, NULL, NULL, 'Infinity', NULL, NULL,
   NULL, '::1', NULL, E'tab\\tline\\nback\\\\slash', 'ü🌳', NULL, NULL, NULL);
  INSERT INTO kinds (id) VALUES (4)`

interface Sides {
  readonly urls: { readonly source: string; readonly target: string }
  readonly options: Omit<CopyOptions, 'columns'>
}

async function sides(t: Test, ddl: { source: string; target: string }): Promise<Sides> {
  const n = (databases += 1)
  const one = async (side: 'source' | 'target') => {
    const url = await cluster.createDatabase(`c${n}_${side}`)
    await query(url, ddl[side])
    const client = await connect({ url, applicationName: 'test' })
    t.teardown(() => cut(client))
    return { url, client }
  }
  const source = await one('source')
  const target = await one('target')
  const { signal } = new AbortController()
  const names = { table: 'public.kinds', to: 'public.kinds' }
  const clients = { source: source.client, target: target.client }
  return {
    urls: { source: source.url, target: target.url },
    options: { ...clients, ...names, format: 'text', signal },
  }
}

const same = (names: string) => new Map(names.split(' ').map(name => [name, name]))
const ALL = 'id n at d span data list f j jb u ip ok t c mood moods r'

await t.test('values arrive as they were, down to the last digit', async t => {
  const { urls, options } = await sides(t, { source: `${DDL}; ${ROWS}`, target: DDL })
  t.equal(await copyRows({ ...options, columns: same(ALL) }), 4)
  const text = 'SELECT k::text FROM kinds k ORDER BY id'
  t.strictSame(await query(urls.target, text), await query(urls.source, text))
})

await t.test(
  'the binary form carries the same values where the types are PostgreSQL’s own',
  async t => {
    const { urls, options } = await sides(t, { source: `${DDL}; ${ROWS}`, target: DDL })
    const builtIn = ALL.replace(' mood moods', '')
    t.equal(await copyRows({ ...options, columns: same(builtIn), format: 'binary' }), 4)
    const text = `SELECT ROW(${builtIn.split(' ').join(', ')})::text FROM kinds ORDER BY id`
    t.strictSame(await query(urls.target, text), await query(urls.source, text))
    t.equal(binaryFits({ typeOid: 20 }, { typeOid: 20 }), true)
    t.equal(binaryFits({ typeOid: 20 }, { typeOid: 23 }), false)
    t.equal(
      binaryFits({ typeOid: 16_400 }, { typeOid: 16_400 }),
      false,
      'oids of others are chance',
    )
  },
)

await t.test('names are mapped and quoted, rows chosen, computed columns left alone', async t => {
  const odd = `CREATE SCHEMA "Odd"; CREATE TABLE "Odd"."a ""b""" ("Id" int, "sel ect" text, twice int
    GENERATED ALWAYS AS ("Id" * 2) STORED)`
  const { urls, options } = await sides(t, {
    source: `${odd}; INSERT INTO "Odd"."a ""b""" VALUES (1, 'one'), (2, 'two'), (3, 'three')`,
    target: `CREATE TABLE plain (id int GENERATED ALWAYS AS IDENTITY, word text, twice int
      GENERATED ALWAYS AS (id * 2) STORED)`,
  })
  const columns = new Map([
    ['Id', 'id'],
    ['sel ect', 'word'],
  ])
  const names = { table: 'Odd.a "b"', to: 'public.plain' }
  t.equal(await copyRows({ ...options, ...names, columns, where: '"Id" > 1' }), 2)
  t.strictSame(await query(urls.target, 'SELECT * FROM plain ORDER BY id'), [
    { id: 2, word: 'two', twice: 4 },
    { id: 3, word: 'three', twice: 6 },
  ])
})

const BIG = `CREATE TABLE kinds (id int PRIMARY KEY, t text);
  INSERT INTO kinds SELECT i, repeat('x', 1000) FROM generate_series(1, 20000) i`
const SMALL = 'CREATE TABLE kinds (id int PRIMARY KEY, t text)'

await t.test('a target that refuses a row, and one that drops rows, are told apart', async t => {
  const refuses = await sides(t, {
    source: BIG,
    target: `${SMALL}; INSERT INTO kinds VALUES (19999)`,
  })
  await t.rejects(copyRows({ ...refuses.options, columns: same('id t') }), {
    code: 'COPY_FAILED',
    message: /^copying public.kinds to public.kinds failed: .*kinds_pkey/,
  })
  t.strictSame(await query(refuses.urls.target, 'SELECT count(*)::int AS n FROM kinds'), [{ n: 1 }])

  const drops = await sides(t, {
    source: BIG,
    target: `${SMALL}; CREATE FUNCTION odd_only() RETURNS trigger LANGUAGE plpgsql AS
      'BEGIN IF NEW.id % 2 = 0 THEN RETURN NULL; END IF; RETURN NEW; END';
      CREATE TRIGGER odd_only BEFORE INSERT ON kinds FOR EACH ROW EXECUTE FUNCTION odd_only()`,
  })
  await t.rejects(copyRows({ ...drops.options, columns: same('id t') }), {
    code: 'COPY_COUNT',
    details: ['public.kinds', '20000', '10000', 'public.kinds'],
  })
})

await t.test(
  'a missing table, a lost connection and an abort end a copy, each in its way',
  async t => {
    const { options } = await sides(t, { source: SMALL, target: 'CREATE TABLE other (id int)' })
    await t.rejects(copyRows({ ...options, columns: same('id t') }), { code: 'COPY_FAILED' })

    for (const side of ['source', 'target'] as const) {
      const lost = await sides(t, { source: BIG, target: SMALL })
      const lock = await lockTarget(lost)
      const copying = copyRows({ ...lost.options, columns: same('id t') })
      copying.catch(() => undefined)
      await waitsForLock(lost)
      const pid = `SELECT pid FROM pg_stat_activity WHERE query LIKE 'COPY%' AND datname = current_database()`
      await query(lost.urls[side], `SELECT pg_terminate_backend(pid) FROM (${pid}) p`)
      // While the target doesn't read, nobody reads the source, nor learns that it has gone.
      await lock[Symbol.asyncDispose]()
      await t.rejects(copying, { code: 'CONNECTION_LOST', rule: { retry: true } }, side)
    }

    const aborted = await sides(t, { source: BIG, target: SMALL })
    await using _ = await lockTarget(aborted)
    const stop = new AbortController()
    const copying = copyRows({ ...aborted.options, columns: same('id t'), signal: stop.signal })
    copying.catch(() => undefined)
    await waitsForLock(aborted)
    stop.abort(new Error('enough'))
    await t.rejects(copying, { message: 'enough' })
  },
)

/** A copy into the table waits until this is disposed. */
async function lockTarget({ urls }: Sides): Promise<AsyncDisposable> {
  const holder = await connect({ url: urls.target, applicationName: 'test' })
  await holder.query('BEGIN; LOCK TABLE public.kinds')
  return { [Symbol.asyncDispose]: () => holder.end() }
}

async function waitsForLock({ urls }: Sides): Promise<void> {
  const waiting = `SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'COPY%'
    AND datname = current_database()`
  while ((await query(urls.target, waiting)).length === 0);
}
