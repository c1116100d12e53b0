/** What a change does in the target when the stream doesn't send all of the row, or the tables aren't quite the same. */
import t, { type Test } from 'tap'
import { type Change, type Row, UNCHANGED, type Value } from '../../../model/change.ts'
import { describeKey, statementsOf } from '../../../sync/apply/statements.ts'
import type { AppliedTable } from '../../../sync/apply/table.ts'
import { query } from '../../support/cluster.ts'
import { type Bed, type Carried, gateSides, type Running, streamBed } from './stream-bed.ts'

const sides = await gateSides(t)
const { rootUrl: legacyUrl } = sides.legacy
const { rootUrl: serviceUrl } = sides.service
const legacySql = (sql: string) => query(sides.cluster.url('legacy', 'app'), sql)

interface Pair {
  readonly bed: Bed
  readonly run: Running
  /** Runs it in legacy, waits, and compares `rows` (its query in legacy; in the service, if another) on both sides. */
  does(sql: string, rows: string, inService?: string): Promise<void>
}

async function pair(
  t: Test,
  ddl: { legacy: string; service: string },
  carried: readonly Carried[],
): Promise<Pair> {
  const slice = await sides.slice({
    ddl,
    relations: {
      legacy: carried.map(each => each.table),
      service: carried.map(({ table, to = table }) => to),
    },
  })
  const stream = { from: 'legacy', to: 'rooms', what: slice.name }
  const bed = await streamBed(t, sides, stream, carried)
  const run = await bed.start()
  return {
    bed,
    run,
    async does(sql, rows, inService = rows) {
      await legacySql(sql)
      await run.caughtUp()
      t.strictSame(await query(serviceUrl, inService), await query(legacyUrl, rows), sql)
    },
  }
}
const both = (ddl: string) => ({ legacy: ddl, service: ddl })

await t.test('a value that the stream didn’t send stays as it is', async t => {
  const ddl = `CREATE TABLE public.notes (id bigint PRIMARY KEY, body text, other text, n int);
    ALTER TABLE public.notes ALTER body SET STORAGE EXTERNAL, ALTER other SET STORAGE EXTERNAL`
  const { does } = await pair(t, both(ddl), [{ table: 'public.notes' }])
  const rows = 'SELECT id, md5(body) AS body, md5(other) AS other, n FROM public.notes ORDER BY id'
  await does(
    `INSERT INTO public.notes SELECT i, repeat('body ' || i, 5000), repeat('other ' || i, 5000), 0 FROM generate_series(1, 3) i`,
    rows,
  )
  await does('UPDATE public.notes SET n = n + 1', rows)
  await does(`UPDATE public.notes SET body = 'short' WHERE id = 1`, rows)
  await does('UPDATE public.notes SET body = NULL WHERE id = 2', rows)
  await does('UPDATE public.notes SET id = id + 100', rows)
  await does(`UPDATE public.notes SET id = id + 100, other = repeat('new', 5000), n = n + 1`, rows)
})

await t.test('rows are found by whatever identifies them at the source', async t => {
  const ddl = `CREATE TABLE public.full_row (id int PRIMARY KEY, v text);
    ALTER TABLE public.full_row REPLICA IDENTITY FULL;
    CREATE TABLE public.by_index (id int, code text NOT NULL, part int NOT NULL, v text);
    CREATE UNIQUE INDEX by_index_key ON public.by_index (part, code);
    ALTER TABLE public.by_index REPLICA IDENTITY USING INDEX by_index_key`
  const carried = [{ table: 'public.full_row' }, { table: 'public.by_index' }]
  const { does } = await pair(t, both(ddl), carried)
  for (const table of ['public.full_row', 'public.by_index']) {
    const rows = `SELECT * FROM ${table} ORDER BY id`
    const columns = table === 'public.full_row' ? 'i, null' : `i, 'c' || i, 1, null`
    await does(`INSERT INTO ${table} SELECT ${columns} FROM generate_series(1, 4) i`, rows)
    await does(`UPDATE ${table} SET v = 'x' WHERE id < 3`, rows)
    await does(`UPDATE ${table} SET id = id + 10, v = null WHERE id > 1`, rows)
    await does(`DELETE FROM ${table} WHERE id IN (1, 12)`, rows)
  }
  const rows = 'SELECT * FROM public.by_index ORDER BY id'
  await does(`UPDATE public.by_index SET code = code || 'x', part = part + 1`, rows)
})

await t.test('columns go by their names, and what has no counterpart stays behind', async t => {
  const ddl = {
    legacy: `CREATE TABLE public."Visits" ("Id" int PRIMARY KEY, "Doctor Id" int, legacy_only text DEFAULT 'mine',
      twice int GENERATED ALWAYS AS ("Doctor Id" * 2) STORED, note text)`,
    service: `CREATE TABLE public.visit (note text, own text DEFAULT 'ours', id int PRIMARY KEY,
      twice int GENERATED ALWAYS AS (physician_id * 2) STORED, physician_id int)`,
  }
  const renames = { Id: 'id', 'Doctor Id': 'physician_id' }
  const { does } = await pair(t, ddl, [{ table: 'public.Visits', to: 'public.visit', renames }])
  const rows = `SELECT "Id" AS id, "Doctor Id" AS d, twice, note, 'ours' AS own FROM public."Visits" ORDER BY 1`
  const inService = 'SELECT id, physician_id AS d, twice, note, own FROM public.visit ORDER BY 1'
  await does(
    `INSERT INTO public."Visits" ("Id", "Doctor Id") VALUES (1, 1), (2, 2)`,
    rows,
    inService,
  )
  await does(`UPDATE public."Visits" SET legacy_only = 'x'`, rows, inService)
  await does(`UPDATE public."Visits" SET "Doctor Id" = 7, note = 'n'`, rows, inService)
  await does(`UPDATE public."Visits" SET "Id" = 3 WHERE "Id" = 1`, rows, inService)
  await does(`DELETE FROM public."Visits" WHERE "Id" = 2`, rows, inService)
})

await t.test('an identity column takes the source’s numbers', async t => {
  const ddl = `CREATE TABLE public.by_default (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, v int);
    CREATE TABLE public.always (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v int)`
  const carried = [{ table: 'public.by_default' }, { table: 'public.always' }]
  const { does } = await pair(t, both(ddl), carried)
  for (const table of ['public.by_default', 'public.always']) {
    const rows = `SELECT * FROM ${table} ORDER BY id`
    await does(`INSERT INTO ${table} (v) SELECT generate_series(1, 3)`, rows)
    await does(`DELETE FROM ${table} WHERE v = 2`, rows)
    await does(`UPDATE ${table} SET v = 10 WHERE v = 1`, rows)
  }
})

await t.test('tables are emptied as they are at the source, in one go', async t => {
  const ddl = `CREATE TABLE public.parent (id int PRIMARY KEY);
    CREATE TABLE public.child (id int PRIMARY KEY, parent int REFERENCES public.parent);
    CREATE TABLE public.alone (id int PRIMARY KEY)`
  const tables = ['public.parent', 'public.child', 'public.alone']
  const carried = tables.map(table => ({ table }))
  const { does } = await pair(t, both(ddl), carried)
  const rows = `SELECT 'p', id FROM public.parent UNION ALL SELECT 'c', id FROM public.child UNION ALL SELECT 'a', id FROM public.alone`
  await does(
    'INSERT INTO public.parent VALUES (1); INSERT INTO public.child VALUES (1, 1); INSERT INTO public.alone VALUES (1)',
    rows,
  )
  await does('BEGIN; TRUNCATE public.alone; INSERT INTO public.alone VALUES (2); COMMIT', rows)
  await does('TRUNCATE public.child', rows)
  await does('TRUNCATE public.parent, public.child', rows)
})

const TABLE: AppliedTable = {
  source: 'public.t',
  target: 'public.t',
  columns: new Map([
    ['id', 'id'],
    ['v', 'w'],
  ]),
  key: ['id'],
  cascades: [],
}
const row = (columns: Record<string, Value | typeof UNCHANGED>): Row =>
  new Map(Object.entries(columns))
const change = (op: Change['op'], before: Row | null, after: Row | null): Change => ({
  op,
  schema: 'public',
  table: 't',
  before,
  after,
  key: ['id'],
})

void t.test('what was not sent is never written as data', async t => {
  const missing = { code: 'VALUE_MISSING' }
  const unsent = row({ id: '1', v: UNCHANGED })
  t.throws(() => statementsOf(change('c', null, unsent), TABLE), missing, 'in a new row')
  const keyless = row({ id: UNCHANGED, v: 'x' })
  t.throws(() => statementsOf(change('u', null, keyless), TABLE), missing, 'in a key')
  t.throws(() => statementsOf(change('d', row({ v: 'x' }), null), TABLE), missing, 'in a gone key')
  t.match(statementsOf(change('u', null, unsent), TABLE), [{ values: ['1', '1'] }])
  t.equal(statementsOf(change('u', null, unsent), TABLE).length, 1)
})

void t.test('a row is found by its old key where the stream sent one', async t => {
  const [moved] = statementsOf(change('u', row({ id: '1' }), row({ id: '2', v: 'x' })), TABLE)
  t.match(moved, { values: ['2', 'x', '1'], rows: 1 })
  t.match(moved?.text, /SET "id" = \$1, "w" = \$2 WHERE "id" = \$3$/)
})

void t.test('a row is described by its key, and by nothing else', async t => {
  const secret = row({ id: '1', v: 'secret' })
  t.equal(describeKey(change('c', null, secret), ['id']), 'id=1')
  t.equal(describeKey(change('u', row({ id: '0' }), secret), ['id']), 'id=0')
  t.equal(describeKey(change('d', row({ id: '1', v: null }), null), ['id', 'v']), 'id=1 v=?')
  t.equal(describeKey(change('t', null, null), ['id']), 'id=?')
})
