import t, { type Test } from 'tap'
import { connect } from '../../postgres/connection.ts'
import { readCatalog, rowKey } from '../../postgres/catalog.ts'
import { query, testCluster } from '../support/cluster.ts'

const cluster = await testCluster(t)
let databases = 0

async function catalogOf(t: Test, sql: string, tables: string[], user?: string) {
  const name = `c${(databases += 1)}`
  const url = await cluster.createDatabase(name)
  await query(url, sql)
  const client = await connect({ url: cluster.url(name, user), applicationName: 'test' })
  t.teardown(() => client.end())
  return readCatalog(client, tables)
}

await t.test('columns are read with what their types are made of', async t => {
  const catalog = await catalogOf(
    t,
    `CREATE SCHEMA app; CREATE TYPE app.mood AS ENUM ('sad', 'ok'); CREATE DOMAIN app.moods AS app.mood[];
     CREATE TYPE app.pair AS (a int, b int); CREATE DOMAIN app.positive AS numeric(10,2) CHECK (VALUE > 0);
     CREATE TABLE app.things (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, fee app.positive NOT NULL DEFAULT 1,
       moods app.moods, pair app.pair, span int4range, gone int,
       name varchar(20) DEFAULT 'x', twice text GENERATED ALWAYS AS (name || '!') STORED);
     ALTER TABLE app.things DROP COLUMN gone`,
    ['app.things', 'app.missing'],
  )
  t.strictSame([...catalog.keys()], ['app.things'])
  const columns = catalog.get('app.things')!.columns
  const base = (name: string, kind = 'base', labels: string[] = []) => ({ name, kind, labels })
  const plain = { notNull: false, default: null, generated: null, identity: null }
  const known = columns.map(({ typeOid: _, ...column }) => column)
  t.strictSame(known, [
    { ...plain, name: 'id', type: 'bigint', base: base('int8'), notNull: true, identity: 'always' },
    {
      ...plain,
      ...{ name: 'fee', type: 'app.positive', base: base('numeric'), notNull: true, default: '1' },
    },
    { ...plain, name: 'moods', type: 'app.moods', base: base('app.mood', 'enum', ['sad', 'ok']) },
    { ...plain, name: 'pair', type: 'app.pair', base: base('app.pair', 'composite') },
    { ...plain, name: 'span', type: 'int4range', base: base('int4range', 'range') },
    {
      ...plain,
      ...{ name: 'name', type: 'character varying(20)', base: base('varchar') },
      default: `'x'::character varying`,
    },
    { ...plain, name: 'twice', type: 'text', base: base('text'), generated: 'stored' },
  ])
})

await t.test('keys say which of them can find a row', async t => {
  const catalog = await catalogOf(
    t,
    `CREATE TABLE a (id int, part text, PRIMARY KEY (part, id) INCLUDE (id));
     CREATE TABLE b (code text UNIQUE, no int NOT NULL, email text NOT NULL);
     CREATE UNIQUE INDEX b_no ON b (no); CREATE UNIQUE INDEX b_lower ON b (lower(email));
     CREATE UNIQUE INDEX b_some ON b (email) WHERE no > 1; ALTER TABLE b REPLICA IDENTITY USING INDEX b_no;
     CREATE TABLE c (id int PRIMARY KEY); ALTER TABLE c REPLICA IDENTITY NOTHING; CREATE TABLE d (id int);
     CREATE TABLE e (id int PRIMARY KEY DEFERRABLE)`,
    ['public.a', 'public.b', 'public.c', 'public.d', 'public.e'],
  )
  const key = (name: string) => rowKey(catalog.get(`public.${name}`)!)
  t.strictSame([key('a'), key('b')], [['part', 'id'], ['no']])
  t.strictSame([key('c'), key('d'), key('e')], [null, null, null])
  const usable = catalog.get('public.b')!.keys.map(each => [each.name, each.usable])
  t.strictSame(usable, [
    ['b_code_key', false],
    ['b_no', true],
    ['b_some', false],
  ])
})

await t.test('foreign keys, triggers, rules and sequences are read from both ends', async t => {
  const catalog = await catalogOf(
    t,
    `CREATE TABLE parents (a int, b int, PRIMARY KEY (a, b));
     CREATE SEQUENCE shared MAXVALUE 900 CYCLE;
     CREATE TABLE children (id bigserial PRIMARY KEY, b int, a int, no int DEFAULT nextval('shared'),
       FOREIGN KEY (a, b) REFERENCES parents ON DELETE CASCADE DEFERRABLE);
     INSERT INTO children DEFAULT VALUES;
     CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
     CREATE TRIGGER touched BEFORE INSERT OR UPDATE ON children FOR EACH ROW EXECUTE FUNCTION touch();
     CREATE RULE quiet AS ON DELETE TO children DO INSTEAD NOTHING;
     CREATE PUBLICATION p FOR TABLE children`,
    ['public.parents', 'public.children'],
  )
  const child = catalog.get('public.children')!
  t.strictSame(child.foreignKeys, [
    {
      name: 'children_a_b_fkey',
      table: 'public.children',
      columns: ['a', 'b'],
      parent: 'public.parents',
      parentColumns: ['a', 'b'],
      onDelete: 'cascade',
      onUpdate: 'no action',
      validated: true,
      deferrable: true,
    },
  ])
  t.strictSame(catalog.get('public.parents')!.referencedBy, child.foreignKeys)
  t.strictSame(child.triggers, [
    {
      name: 'touched',
      function: 'public.touch',
      when: 'before',
      each: 'row',
      events: ['insert', 'update'],
      enabled: 'origin',
    },
  ])
  t.strictSame(child.rules, [{ name: 'quiet', event: 'delete' }])
  t.strictSame(child.publications, ['p'])
  const numbers = { lastValue: '1', increment: '1', min: '1' }
  t.strictSame(child.sequences, [
    {
      ...{ name: 'public.children_id_seq', column: 'id', owned: true, type: 'bigint' },
      ...{ ...numbers, max: '9223372036854775807', cycle: false },
    },
    {
      ...{ name: 'public.shared', column: 'no', owned: false, type: 'bigint' },
      ...{ ...numbers, max: '900', cycle: true },
    },
  ])
})

await t.test(
  'partitions, inheritance, persistence, row security and views are told apart',
  async t => {
    const catalog = await catalogOf(
      t,
      `CREATE TABLE root (id int, PRIMARY KEY (id)) PARTITION BY RANGE (id);
     CREATE TABLE leaf1 PARTITION OF root FOR VALUES FROM (0) TO (10);
     CREATE TABLE middle PARTITION OF root FOR VALUES FROM (10) TO (20) PARTITION BY RANGE (id);
     CREATE TABLE leaf2 PARTITION OF middle FOR VALUES FROM (10) TO (15);
     CREATE TABLE base (id int PRIMARY KEY); CREATE TABLE derived () INHERITS (base);
     CREATE UNLOGGED TABLE fast (id int PRIMARY KEY); ALTER TABLE fast FORCE ROW LEVEL SECURITY;
     ALTER TABLE fast ENABLE ROW LEVEL SECURITY; CREATE VIEW seen AS SELECT 1 AS one`,
      ['root', 'leaf2', 'base', 'derived', 'fast', 'seen'].map(name => `public.${name}`),
    )
    const table = (name: string) => catalog.get(`public.${name}`)!
    t.match(table('root'), { kind: 'partitioned', partitionOf: null })
    t.strictSame(table('root').leaves, [
      { name: 'public.leaf1', kind: 'table' },
      { name: 'public.leaf2', kind: 'table' },
    ])
    t.match(table('leaf2'), { kind: 'table', partitionOf: 'public.middle', leaves: [] })
    t.strictSame(table('base').inheritedBy, ['public.derived'])
    t.strictSame(table('derived').inheritsFrom, ['public.base'])
    t.match(table('fast'), { persistence: 'unlogged', rowSecurity: true, rowSecurityForced: true })
    t.equal(table('seen').kind, 'view')
  },
)

await t.test('an ordinary role reads all of it, and what it may do itself', async t => {
  await cluster.createRole('reader')
  const catalog = await catalogOf(
    t,
    `CREATE TABLE notes (id serial PRIMARY KEY); INSERT INTO notes DEFAULT VALUES; GRANT SELECT ON notes TO reader`,
    ['public.notes'],
    'reader',
  )
  const notes = catalog.get('public.notes')!
  const no = { insert: false, update: false, delete: false, truncate: false }
  t.strictSame(notes.may, { select: true, ...no })
  t.equal(notes.sequences[0]?.lastValue, null, 'no privilege on the sequence')
  t.strictSame(notes.subscriptions, [])
})
