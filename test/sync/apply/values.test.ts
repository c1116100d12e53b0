/** Every kind of value and key arrives as the very same text, by insert, update and delete, over a real stream. */
import t, { type Test } from 'tap'
import { query } from '../../support/cluster.ts'
import { type Carried, gateSides, streamBed, type Bed } from './stream-bed.ts'

const sides = await gateSides(t)

/** The same tables on both sides unless `service` says otherwise, and a forward stream between them. */
async function bedOf(
  t: Test,
  ddl: string | { legacy: string; service: string },
  carried: readonly Carried[],
): Promise<Bed> {
  const slice = await sides.slice({
    ddl: typeof ddl === 'string' ? { legacy: ddl, service: ddl } : ddl,
    relations: {
      legacy: carried.map(each => each.table),
      service: carried.map(({ table, to = table }) => to),
    },
  })
  return streamBed(t, sides, { from: 'legacy', to: 'rooms', what: slice.name }, carried)
}

/** All rows as PostgreSQL prints them, by settings that lose nothing. */
async function rowsOf(url: string, table: string): Promise<string[]> {
  const rows = await query<{ r: string }>(
    url,
    `SET DateStyle = ISO; SET TimeZone = 'UTC'; SET IntervalStyle = postgres; SET bytea_output = hex;
     SET extra_float_digits = 1; SELECT ROW(t.*)::text AS r FROM ${table} t ORDER BY 1`,
  )
  return rows.map(row => row.r)
}

// What the two databases would print by themselves, and not alike.
await query(
  sides.cluster.url(),
  `ALTER DATABASE legacy SET DateStyle = 'German'; ALTER DATABASE legacy SET TimeZone = 'Asia/Kolkata';
   ALTER DATABASE legacy SET bytea_output = escape; ALTER DATABASE legacy SET IntervalStyle = iso_8601;
   ALTER DATABASE legacy SET extra_float_digits = -5; ALTER DATABASE rooms SET DateStyle = 'SQL, DMY';
   ALTER DATABASE rooms SET TimeZone = 'America/New_York'; ALTER DATABASE rooms SET IntervalStyle = sql_standard;
   ALTER DATABASE rooms SET array_nulls = off; ALTER DATABASE rooms SET standard_conforming_strings = off`,
)

const legacySql = (sql: string) => query(sides.cluster.url('legacy', 'app'), sql)
const { rootUrl: legacyUrl } = sides.legacy
const { rootUrl: serviceUrl } = sides.service

// prettier-ignore
const VALUES: readonly (readonly [type: string, ...values: string[]])[] = [
  ['numeric', '123456789012345678901234567890.123456789012345678901234567890', '-0.000000000000000000000000000001', '1.10', 'NaN', 'Infinity', '-Infinity', '1e400'],
  ['numeric(30,10)', '12345678901234567890.0123456789', '0'],
  ['bigint', '9223372036854775807', '-9223372036854775808', '9007199254740993'],
  ['float8', '0.1', '1e-300', 'NaN', '-0', 'Infinity', '-Infinity', '5e-324', '0.30000000000000004'],
  ['float4', '0.1', '3.4028235e38', '-0'],
  ['bytea', '\\x', '\\x00', '\\x00ff5c27', '\\x' + 'ab'.repeat(5000)],
  ['timestamptz', '1899-12-31 23:59:59.999999+00', '0044-03-15 12:00:00+00 BC', 'infinity', '-infinity', '1883-11-18 12:03:58-04:56:02', '294276-12-31 23:59:59.999999+00', '2024-02-29 00:00:00.000001+05:45'],
  ['timestamp', '1500-01-01 00:00:00.000001', 'infinity', '4713-01-01 00:00:00 BC'],
  ['date', '0001-01-01', '5874897-12-31', '-infinity'],
  ['time', '24:00:00', '00:00:00.000001'],
  ['timetz', '23:59:59.999999+15:59', '00:00:00-15:59:59'],
  ['interval', '178000000 years', '-1 mons +2 days -03:04:05.000006', '1 day 25 hours'],
  ['json', '{"b": 1, "a":  [1e400, 123456789012345678901234567890.10], "a": 2}', '"\\u0000"', 'null'],
  ['jsonb', '{"n": 123456789012345678901234567890.123456789, "t": "\\u00e9"}', 'null', '[]', '1e5'],
  ['text', '', '\\N', '\\.', "it's \\ \"quoted\" $1 %s", ' trailing ', 'Zoë 🏥', 'a\nb\tc\rd', '\u0001', 'NULL', '{}'],
  ['varchar(5)', 'abc  ', ''],
  ['char(5)', 'ab'],
  ['name', 'a name'],
  ['uuid', '00000000-0000-0000-0000-000000000000', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'],
  ['bool', 'true', 'false'],
  ['text[]', '{}', '{NULL,"NULL","a,b","{}","\\\\",""}', '{{a,b},{c,d}}', '[2:3]={x,y}'],
  ['int[]', '{1,NULL,-3}'],
  ['numeric[]', '{1.10,NaN}'],
  ['timestamptz[]', '{infinity,"1899-01-01 00:00:00+00"}'],
  ['inet', '10.0.0.1/8', '::1'],
  ['macaddr', '08:00:2b:01:02:03'],
  ['bit(3)', '101'],
  ['varbit', '', '0001'],
  ['int4range', 'empty', '[1,5)', '(,)'],
  ['tstzrange', '[1899-01-01 00:00:00+00,infinity]', '["2020-01-01 00:00:00+00",)'],
  ['tsvector', `'a':1A 'fat cat':2`],
  ['xml', '<a>&amp;<b/></a>'],
  ['public.mood', 'so so', "it's"],
  ['public.moods', '{"so so",glad}'],
]

await t.test('values of every kind', async t => {
  const mood = `CREATE TYPE public.mood AS ENUM ('glad', 'so so', 'it''s'); CREATE DOMAIN public.moods AS public.mood[]`
  const columns = VALUES.map(([type], i) => `c${i} ${type}`).join(', ')
  const ddl = `${mood}; CREATE TABLE public.kinds (id int PRIMARY KEY, ${columns})`
  const bed = await bedOf(t, ddl, [{ table: 'public.kinds' }])
  const run = await bed.start()
  const depth = Math.max(...VALUES.map(([, ...values]) => values.length))
  const rows = Array.from({ length: depth }, (_, n) => VALUES.map(([, ...values]) => values[n]))
  const places = VALUES.map(([type], i) => `$${i + 2}::text::${type}`).join(', ')
  const app = await sides.legacy.app()
  for (const [n, values] of rows.entries()) {
    await app.query(`INSERT INTO public.kinds VALUES ($1, ${places})`, [n, ...values])
  }
  await run.caughtUp()
  const same = async (what: string) =>
    t.strictSame(
      await rowsOf(serviceUrl, 'public.kinds'),
      await rowsOf(legacyUrl, 'public.kinds'),
      what,
    )
  await same('inserted')

  const shifted = VALUES.map(([type, ...values], i) => {
    const texts = [...values, null].map(value => (value === null ? 'NULL' : quoted(value)))
    return `c${i} = ((ARRAY[${texts.join(', ')}]::text[])[1 + (id + 1) % ${values.length + 1}])::${type}`
  })
  await legacySql(`UPDATE public.kinds SET ${shifted.join(', ')}`)
  await run.caughtUp()
  await same('updated, each to another value and to NULL')

  await legacySql('DELETE FROM public.kinds WHERE id % 2 = 0')
  await run.caughtUp()
  await same('deleted')
  t.ok((await rowsOf(serviceUrl, 'public.kinds')).length > 0)
})

function quoted(text: string): string {
  return `E'${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`
}

/** A key's type, three values of it, and one to move the first to. */
// prettier-ignore
const KEYS: readonly (readonly [columns: string, keys: readonly [string, string, string], moved: string])[] = [
  ['a uuid', [`'00000000-0000-4000-8000-000000000001'`, `'00000000-0000-4000-8000-000000000002'`, `gen_random_uuid()`], `gen_random_uuid()`],
  ['a text', [`''`, `'it''s "a" $1 key'`, `E'with\\nbreak'`], `'NULL'`],
  ['a bigint', ['9007199254740993', '9007199254740992', '-1'], '9223372036854775807'],
  ['a numeric', ['1.10', '1.2', `'NaN'`], '123456789012345678901234567890.5'],
  ['a timestamptz', [`'1899-12-31 23:59:59.999999+00'`, `'infinity'`, `now()`], `'-infinity'`],
  ['a bytea', [`'\\x'`, `'\\x00'`, `'\\xff'`], `'\\x5c'`],
  ['a char(4)', [`'ab'`, `'abc'`, `''`], `'d'`],
  ['a float8', ['0.1', `'-0'`, `'NaN'`], '5e-324'],
  ['a date, b text', [`'0001-01-01', ''`, `'0001-01-01', 'x'`, `'infinity', ''`], `'2020-02-29', 'y'`],
  ['a uuid, b bigint, c text', [`'00000000-0000-4000-8000-000000000001', 1, 'x'`, `'00000000-0000-4000-8000-000000000001', 2, 'x'`, `'00000000-0000-4000-8000-000000000001', 1, 'y'`], `'00000000-0000-4000-8000-000000000009', 9, 'z'`],
]

await t.test('keys of every kind find their row, also when they change', async t => {
  const ddl = KEYS.map(([columns], i) => {
    const names = columns.split(', ').map(each => each.split(' ')[0])
    return `CREATE TABLE public.key${i} (${columns}, v int, PRIMARY KEY (${names.join(', ')}))`
  })
  const carried = KEYS.map((_, i) => ({ table: `public.key${i}` }))
  const bed = await bedOf(t, ddl.join(';'), carried)
  const run = await bed.start()
  for (const [i, [columns, keys, moved]] of KEYS.entries()) {
    const table = `public.key${i}`
    const names = columns
      .split(', ')
      .map(each => each.split(' ')[0])
      .join(', ')
    const same = async (what: string) => {
      await run.caughtUp()
      const here = await rowsOf(legacyUrl, table)
      t.strictSame(await rowsOf(serviceUrl, table), here, `${columns}: ${what}`)
      return here.length
    }
    await legacySql(keys.map((key, n) => `INSERT INTO ${table} VALUES (${key}, ${n})`).join(';'))
    t.equal(await same('three rows'), 3)
    await legacySql(`UPDATE ${table} SET v = v + 10`)
    await same('values change')
    await legacySql(`UPDATE ${table} SET (${names}) = ROW(${moved}), v = 7 WHERE v = 10`)
    await same('a key changes, and a value with it')
    await legacySql(`UPDATE ${table} SET v = v + 1 WHERE v = 7; DELETE FROM ${table} WHERE v = 8`)
    t.equal(await same('the moved row changes and goes'), 2)
    await legacySql(`DELETE FROM ${table}`)
    t.equal(await same('all go'), 0)
  }
})
