import t, { type Test } from 'tap'
import type { BanyanError } from '../../model/errors.ts'
import { NOTHING_LEFT, type TableRenames } from '../../model/mapping.ts'
import { connect } from '../../postgres/connection.ts'
import { preflight } from '../../sync/preflight.ts'
import { oneWayBlockers } from '../../sync/preflight-columns.ts'
import { type PreflightFacts, readPreflight } from '../../sync/preflight-facts.ts'
import { query, testCluster } from '../support/cluster.ts'

const cluster = await testCluster(t)
const [server] = await query<{ version: number }>(
  cluster.url(),
  `SELECT current_setting('server_version_num')::int AS version`,
)
await cluster.createRole('capture', { traits: 'REPLICATION' })
await cluster.createRole('apply')
if (server!.version >= 150_000) {
  await query(cluster.url(), 'GRANT SET ON PARAMETER session_replication_role TO apply')
}
const GRANTS = `GRANT SELECT ON ALL TABLES IN SCHEMA public TO capture;
  GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA public TO apply;`
let databases = 0

interface Case {
  readonly source: string
  readonly target: string
  readonly renames?: Record<string, string>
  readonly left?: readonly string[]
  readonly direction?: 'forward' | 'back'
  /** After the grants. */
  readonly after?: { readonly source?: string; readonly target?: string }
  readonly viaRoot?: boolean
}

/** One table `things` in legacy, `thing` in the service. */
async function factsOf(t: Test, wanted: Case): Promise<PreflightFacts> {
  const n = (databases += 1)
  const side = async (name: string, ddl: string, after = '') => {
    const database = `p${n}_${name}`
    await query(await cluster.createDatabase(database), `${ddl}; ${GRANTS} ${after}`)
    const as = async (user: string) => {
      const client = await connect({ url: cluster.url(database, user), applicationName: 'test' })
      t.teardown(() => client.end())
      return client
    }
    return { name, where: cluster.url(), capture: await as('capture'), apply: await as('apply') }
  }
  const table: TableRenames = {
    table: 'public.things',
    to: 'public.thing',
    renames: new Map(Object.entries(wanted.renames ?? {})),
    left: { ...NOTHING_LEFT, table: new Set(wanted.left ?? []) },
  }
  return readPreflight({
    source: await side('legacy', wanted.source, wanted.after?.source),
    target: await side('service', wanted.target, wanted.after?.target),
    tables: [table],
    direction: wanted.direction ?? 'forward',
    viaRoot: wanted.viaRoot ?? false,
  })
}

function codes(blockers: readonly BanyanError[]): string[] {
  return blockers.map(each => each.code)
}

const COLUMNS = `id bigint PRIMARY KEY, practitioner_id bigint NOT NULL, at timestamptz, fee numeric(10,2),
  tags text[] NOT NULL DEFAULT '{}', details jsonb, mood mood, span tstzrange, mail mail, ip inet`
const TYPES = `CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN mail AS text CHECK (VALUE LIKE '%@%')`
const things = `${TYPES}; CREATE TABLE things (${COLUMNS}, search text GENERATED ALWAYS AS (fee::text) STORED)`
const thing = `${TYPES}; CREATE TABLE thing (${COLUMNS.replace('practitioner_id', 'doctor_id')},
  search text GENERATED ALWAYS AS (fee::text) STORED, note text)`
const renames = { practitioner_id: 'doctor_id' }

await t.test('a slice that can be kept in step has no blockers, in either direction', async t => {
  for (const direction of ['forward', 'back'] as const) {
    const facts = await factsOf(t, { source: things, target: thing, renames, direction })
    t.strictSame(preflight(facts).map(String), [])
  }
})

await t.test('everything that is wrong is said at once, with its remedy', async t => {
  const facts = await factsOf(t, {
    source: `CREATE TABLE things (code text NOT NULL, price money, doc oid, at timestamp);
      CREATE UNIQUE INDEX things_code ON things (code);
      CREATE RULE quiet AS ON DELETE TO things DO INSTEAD NOTHING`,
    target: `CREATE TABLE thing (code text, price money, doc oid, at timestamptz, kind text NOT NULL);
      REVOKE ALL ON thing FROM apply`,
    after: { target: 'REVOKE DELETE, TRUNCATE ON thing FROM apply' },
    renames: { gone: 'kind' },
  })
  const blockers = preflight(facts)
  t.strictSame(codes(blockers), [
    ...['NO_IDENTITY', 'RULE_WRITES', 'GRANT_MISSING', 'COLUMN_MISSING'],
    ...['COLUMN_UNSUPPORTED', 'COLUMN_UNSUPPORTED', 'COLUMN_TYPE', 'COLUMN_REQUIRED'],
  ])
  t.match(blockers[0]?.hint, /ALTER TABLE public.things REPLICA IDENTITY USING INDEX things_code/)
  t.match(blockers[2]?.hint, /GRANT DELETE, TRUNCATE ON public.thing TO "apply"/)
  t.match(blockers[6]?.hint, /ALTER TABLE public.thing ALTER COLUMN at TYPE timestamp without/)
})

await t.test('a table that is not there: what to do, by whose database it is', async t => {
  const facts = await factsOf(t, {
    source: 'CREATE TABLE thigns (id int PRIMARY KEY)',
    target: 'CREATE TABLE other (id int PRIMARY KEY)',
  })
  t.match(preflight(facts), [
    {
      code: 'TABLE_MISSING',
      hint: /^correct its name in the files \(did you mean "thigns"\?\), then/,
    },
    {
      code: 'TABLE_MISSING',
      hint: /^make it there with the service's own migrations, or correct its name in the files, then/,
    },
  ])
})

const plain = 'CREATE TABLE thing (id int PRIMARY KEY, v text)'
const KEYED = 'CREATE TABLE things (id int PRIMARY KEY, v text)'

/** What is wrong → the codes that say so. */
const CASES: Record<string, Case & { readonly codes: readonly string[] }> = {
  'no table in legacy': { source: '', target: plain, codes: ['TABLE_MISSING'] },
  'no table in the service': { source: KEYED, target: '', codes: ['TABLE_MISSING'] },
  'an unlogged table': {
    source: KEYED.replace('TABLE', 'UNLOGGED TABLE'),
    target: plain,
    codes: ['TABLE_KIND'],
  },
  'a view': {
    source: 'CREATE VIEW things AS SELECT 1 AS id',
    target: plain,
    codes: ['TABLE_KIND'],
  },
  'a partitioned table whose publication names the partitions': {
    source: `CREATE TABLE things (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)`,
    target: plain,
    codes: ['TABLE_KIND'],
  },
  'a partitioned table published by its root': {
    source: `CREATE TABLE things (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)`,
    target: plain,
    viaRoot: true,
    codes: [],
  },
  'a table with heirs': {
    source: `${KEYED}; CREATE TABLE more () INHERITS (things)`,
    target: plain,
    codes: ['TABLE_KIND'],
  },
  'a replica identity of nothing': {
    source: `${KEYED}; ALTER TABLE things REPLICA IDENTITY NOTHING`,
    target: plain,
    codes: ['NO_IDENTITY'],
  },
  'the whole row as identity, and no key': {
    source: `CREATE TABLE things (id int, v text); ALTER TABLE things REPLICA IDENTITY FULL`,
    target: plain,
    codes: ['NO_IDENTITY'],
  },
  'the whole row as identity, with a key': {
    source: `${KEYED}; ALTER TABLE things REPLICA IDENTITY FULL`,
    target: plain,
    codes: [],
  },
  'another key in the service': {
    source: KEYED,
    target: 'CREATE TABLE thing (id int NOT NULL, v text PRIMARY KEY)',
    codes: ['KEY_MISMATCH'],
  },
  'a key that does not travel': {
    source: 'CREATE TABLE things (id int, part int, PRIMARY KEY (id, part))',
    target: 'CREATE TABLE thing (id int PRIMARY KEY)',
    codes: ['KEY_UNMAPPED'],
  },
  'no identity in the service matters only for the way back': {
    source: KEYED,
    target: 'CREATE TABLE thing (id int NOT NULL UNIQUE, v text)',
    codes: [],
  },
  'no identity in the service, with a way back': {
    source: KEYED,
    target: 'CREATE TABLE thing (id int NOT NULL UNIQUE, v text)',
    direction: 'back',
    codes: ['NO_IDENTITY'],
  },
  'enums with other labels': {
    source: `CREATE TYPE k AS ENUM ('a'); CREATE TABLE things (id int PRIMARY KEY, v k)`,
    target: `CREATE TYPE k AS ENUM ('a', 'b'); CREATE TABLE thing (id int PRIMARY KEY, v k)`,
    codes: ['ENUM_LABELS'],
  },
  'domains of one name over different types': {
    source: `CREATE DOMAIN k AS int; CREATE TABLE things (id int PRIMARY KEY, v k)`,
    target: `CREATE DOMAIN k AS bigint; CREATE TABLE thing (id int PRIMARY KEY, v k)`,
    codes: ['COLUMN_TYPE'],
  },
  'rows inside a column': {
    source: `CREATE TYPE k AS (a int); CREATE TABLE things (id int PRIMARY KEY, v k[])`,
    target: `CREATE TYPE k AS (a int); CREATE TABLE thing (id int PRIMARY KEY, v k[])`,
    codes: ['COLUMN_UNSUPPORTED'],
  },
  'a column computed in legacy alone': {
    source: `CREATE TABLE things (id int PRIMARY KEY, v int GENERATED ALWAYS AS (id * 2) STORED)`,
    target: 'CREATE TABLE thing (id int PRIMARY KEY, v int)',
    codes: ['COLUMN_GENERATED'],
  },
  'a column computed in the service alone': {
    source: 'CREATE TABLE things (id int PRIMARY KEY, v int)',
    target: `CREATE TABLE thing (id int PRIMARY KEY, v int GENERATED ALWAYS AS (id * 2) STORED)`,
    codes: ['COLUMN_GENERATED'],
  },
  'a column that would hide another': {
    source: 'CREATE TABLE things (id int PRIMARY KEY, v text, w text)',
    target: plain,
    renames: { w: 'v' },
    codes: ['MAPPING_CLASH'],
  },
  'a column that stays behind and is not there': {
    source: KEYED,
    target: plain,
    left: ['w'],
    codes: ['COLUMN_MISSING'],
  },
  'a column that stays behind, and that the service needs': {
    source: 'CREATE TABLE things (id int PRIMARY KEY, v text NOT NULL)',
    target: 'CREATE TABLE thing (id int PRIMARY KEY, v text NOT NULL)',
    left: ['v'],
    codes: ['COLUMN_REQUIRED'],
  },
  'a column that is computed in legacy alone, and stays behind': {
    source: `CREATE TABLE things (id int PRIMARY KEY, v int GENERATED ALWAYS AS (id * 2) STORED)`,
    target: plain,
    left: ['v'],
    codes: [],
  },
  'row-level security on either side': {
    source: `${KEYED}; ALTER TABLE things ENABLE ROW LEVEL SECURITY`,
    target: `${plain}; ALTER TABLE thing ENABLE ROW LEVEL SECURITY`,
    codes: ['ROW_SECURITY', 'ROW_SECURITY'],
  },
  'a capture role that may not read': {
    source: KEYED,
    target: plain,
    after: { source: 'REVOKE SELECT ON things FROM capture' },
    codes: ['GRANT_MISSING'],
  },
}

for (const [what, wanted] of Object.entries(CASES)) {
  await t.test(what, async t => {
    const facts = await factsOf(t, wanted)
    t.strictSame(codes(preflight(facts)), wanted.codes)
  })
}

await t.test(
  'a server that can not be captured from, and a role that can not apply, are said too',
  async t => {
    const facts = await factsOf(t, { source: KEYED, target: plain })
    const broken: PreflightFacts = {
      ...facts,
      source: {
        ...facts.source,
        capture: {
          ...facts.source.capture,
          server: { ...facts.source.capture.server, walLevel: 'replica', usedSlots: 20 },
        },
      },
      target: {
        ...facts.target,
        apply: {
          ...facts.target.apply,
          server: {
            ...facts.target.apply.server,
            encoding: 'SQL_ASCII',
            role: { ...facts.target.apply.server.role, setReplica: false },
          },
        },
      },
    }
    const wanted = ['WAL_LEVEL', 'SLOTS_EXHAUSTED', 'ROLE_REPLICA_DENIED', 'ENCODING']
    t.strictSame(codes(preflight(broken)), wanted)
  },
)

await t.test('two tables can not go to the same one', async t => {
  const facts = await factsOf(t, { source: KEYED, target: plain })
  const tables = [...facts.tables, ...facts.tables]
  t.strictSame(codes(preflight({ ...facts, tables })), ['TARGET_SHARED'])
})

await t.test('a subscription into an owned table is named', async t => {
  const elsewhere = await cluster.createDatabase('elsewhere')
  await query(elsewhere, `${plain}; CREATE PUBLICATION p FOR TABLE thing`)
  await query(elsewhere, `SELECT pg_create_logical_replication_slot('elsewhere', 'pgoutput')`)
  const facts = await factsOf(t, {
    source: KEYED,
    target: `${plain}; CREATE SUBSCRIPTION elsewhere CONNECTION '${elsewhere}' PUBLICATION p
      WITH (create_slot = false, enabled = false)`,
  })
  t.strictSame(codes(preflight(facts)), ['SUBSCRIBED'])
})

await t.test(
  'a column of legacy that the service lacks blocks the move, not the sync, until it is answered',
  async t => {
    const source = `CREATE TABLE things (id int PRIMARY KEY, v text, extra text NOT NULL, kept int NOT NULL DEFAULT 1,
      size int GENERATED ALWAYS AS (id * 2) STORED)`
    const found = async (left: readonly string[]) => {
      const facts = await factsOf(t, { source, target: plain, left, direction: 'back' })
      t.strictSame(codes(preflight(facts)), [])
      const [wanted] = facts.tables
      const from = facts.source.capture.catalog.get('public.things')!
      const to = facts.target.apply.catalog.get('public.thing')!
      return oneWayBlockers({ facts, wanted: wanted!, from, to })
    }
    const open = await found([])
    t.strictSame(
      open.map(each => [each.code, each.details[1]]),
      [
        ['MAPPING_ONE_WAY', 'extra'],
        ['COLUMN_LEFT', 'kept'],
      ],
    )
    t.match(open[1]?.hint, '`things: { to: thing, columns: { kept: false } }`')
    // What legacy needs can't be answered away: no row of the service could come back.
    t.strictSame(codes(await found(['kept', 'extra'])), ['MAPPING_ONE_WAY'])
  },
)
