/** The least that each role needs, and anything beyond it: one at a time, and the statement that doctor prints mends it. */
import pg from 'pg'
import t from 'tap'
import { legacyMigrations } from '../../migrations/legacy/ownership.ts'
import { migrateUp } from '../../migrations/runner.ts'
import { Closers } from '../../model/closers.ts'
import { connect } from '../../postgres/connection.ts'
import { installGate } from '../../postgres/gate-install.ts'
import { readPrivileges } from '../../postgres/privileges.ts'
import { rolesSql } from '../../postgres/roles.ts'
import { problemsOf } from '../../scripts/doctor-checks.ts'
import type { Problem } from '../../scripts/context.ts'
import { rightsChecks } from '../../scripts/doctor-roles.ts'
import { lookAtSide, type SideWanted } from '../../scripts/doctor-side.ts'
import { query, testCluster } from '../support/cluster.ts'

// A test's clusters don't wait for the disk, and doctor says so.
const cluster = await testCluster(t, { settings: { fsync: 'on' } })
const major = Number.parseInt(cluster.cluster.version)
await cluster.createRole('app')
await cluster.createRole('staff')
// Its owner would have what setup needs, and setup would inherit it.
const root = new pg.Client({ connectionString: await cluster.createDatabase('legacy') })
await root.connect()
t.teardown(() => root.end())
await root.query('GRANT ALL ON SCHEMA public TO app')
await query(
  cluster.url('legacy', 'app'),
  `CREATE TABLE doctors (id bigint PRIMARY KEY);
   CREATE TABLE visits (id bigserial PRIMARY KEY, note text);
   CREATE TABLE seats (id bigint PRIMARY KEY); ALTER TABLE seats ENABLE ROW LEVEL SECURITY;
   GRANT INSERT ON visits TO staff; GRANT USAGE ON SEQUENCE visits_id_seq TO staff`,
)
const role = (name: string) => ({ name: `banyan_${name}`, password: 'secret' })
const roles = { setup: role('setup'), apply: role('apply'), capture: role('capture') }
for (const statement of rolesSql({
  database: 'legacy',
  owner: 'app',
  schema: 'public',
  ...roles,
})) {
  // These are for what comes later; what is missing then, is named then.
  const later = /^ALTER DEFAULT|ON ALL SEQUENCES/.test(statement)
  if (!later) await root.query(statement)
}
// What everybody may anyway would hide that a role may not.
await root.query(
  'REVOKE ALL ON SCHEMA public FROM PUBLIC; REVOKE ALL ON DATABASE legacy FROM PUBLIC',
)
await root.query('GRANT CONNECT ON DATABASE legacy TO staff; GRANT USAGE ON SCHEMA public TO staff')
const url = (name: string) => `postgres://banyan_${name}:secret@127.0.0.1:${cluster.port}/legacy`
const urls = { setup: url('setup'), apply: url('apply'), capture: url('capture') }
await migrateUp(urls.setup, legacyMigrations({ apply: 'banyan_apply', capture: 'banyan_capture' }))
const setup = await connect({ url: urls.setup, applicationName: 'test' })
await installGate(setup, {
  ...{ slice: 'visits', number: 1, side: 'legacy', goTo: 'the service', publication: undefined },
  relations: ['public.visits', 'public.seats'],
  applyRole: 'banyan_apply',
})
await setup.end()

const wanted: SideWanted = {
  ...{ side: 'legacy', name: 'legacy', urls, slots: [], folder: t.testdir() },
  tables: ['public.visits', 'public.seats'],
  copies: ['public.doctors'],
}

async function look(more: Partial<SideWanted> = {}): Promise<Problem[]> {
  await using opened = new Closers()
  const { checks } = await lookAtSide({ ...wanted, ...more }, opened)
  return problemsOf(checks)
}

/** The same for rights alone, over one session of whichever role: the reader needs none of its own. */
const reader = await connect({ url: urls.capture, applicationName: 'test' })
t.teardown(() => reader.end())
async function lookAtRights(): Promise<Problem[]> {
  const names = { setup: 'banyan_setup', apply: 'banyan_apply', capture: 'banyan_capture' }
  const seen = await readPrivileges(reader, names, { schemas: ['public'], side: 'legacy' })
  return problemsOf(rightsChecks('legacy', seen))
}

/** The statement in a hint, as somebody copies it. */
function statementOf({ hint }: Problem): string {
  return hint
    .replace(/^(there, )?(as a superuser: )?/, '')
    .replace(/( there)?[;,] then run `banyan .*$/, '')
}

const text = (problems: readonly Problem[]) =>
  problems.map(each => `${each.code} ${each.message}`).sort()

type Case = readonly [sql: string, ...says: readonly RegExp[]]

const MISSING: readonly Case[] = [
  ['REVOKE CREATE ON DATABASE legacy FROM banyan_setup', /"banyan_setup" may not create anything/],
  ['REVOKE app FROM banyan_setup', /"banyan_setup" may not act as "app"/],
  ['REVOKE CONNECT ON DATABASE legacy FROM banyan_setup', /"banyan_setup" may not connect/],
  ['REVOKE pg_read_all_stats FROM banyan_setup', /"banyan_setup" may not see who holds/],
  ['REVOKE CONNECT ON DATABASE legacy FROM banyan_apply', /"banyan_apply" may not connect/],
  ['REVOKE CONNECT ON DATABASE legacy FROM banyan_capture', /"banyan_capture" may not connect/],
  ['ALTER ROLE banyan_apply NOLOGIN', /"banyan_apply" may not log in/],
  ['ALTER ROLE banyan_capture NOREPLICATION', /"banyan_capture" lacks REPLICATION/],
  [
    'ALTER ROLE banyan_apply NOBYPASSRLS',
    /seats has row-level security, and the role "banyan_apply"/,
  ],
  [
    'ALTER ROLE banyan_capture NOBYPASSRLS',
    /seats has row-level security, and the role "banyan_capture"/,
  ],
  [
    'REVOKE USAGE ON SCHEMA public FROM banyan_apply',
    /"banyan_apply" may not USAGE SCHEMA "public"/,
  ],
  [
    'REVOKE USAGE ON SCHEMA public FROM banyan_capture',
    /"banyan_capture" may not USAGE SCHEMA "public"/,
  ],
  ...['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE'].map((right): Case => [
    `REVOKE ${right} ON visits FROM banyan_apply`,
    new RegExp(`"banyan_apply" may not ${right} public.visits`),
  ]),
  ['REVOKE SELECT ON visits FROM banyan_capture', /"banyan_capture" may not SELECT public.visits/],
  [
    'REVOKE SELECT ON doctors FROM banyan_capture',
    /"banyan_capture" may not SELECT public.doctors/,
  ],
  ...(major >= 15
    ? [
        [
          'REVOKE SET ON PARAMETER session_replication_role FROM banyan_apply',
          /"banyan_apply" may not SET session_replication_role/,
        ] satisfies Case,
      ]
    : []),
  ['REVOKE USAGE ON SCHEMA banyan FROM banyan_apply', /"banyan_apply" may not USAGE SCHEMA banyan/],
  [
    'REVOKE USAGE ON SCHEMA banyan FROM banyan_capture',
    /"banyan_capture" may not USAGE SCHEMA banyan/,
  ],
  [
    `REVOKE SELECT ON banyan.slice, banyan.relation, banyan.fence, banyan.progress, banyan.evidence, banyan.decision,
       banyan.fingerprint FROM banyan_apply, banyan_capture`,
    ...['apply', 'capture'].map(
      which =>
        new RegExp(
          `"banyan_${which}" may not SELECT banyan.decision, banyan.evidence, banyan.fence, banyan.fingerprint, banyan.progress, banyan.relation, banyan.slice`,
        ),
    ),
  ],
  ...['INSERT', 'UPDATE', 'DELETE'].map((right): Case => [
    `REVOKE ${right} ON banyan.progress FROM banyan_apply`,
    new RegExp(`"banyan_apply" may not ${right} banyan.progress`),
  ]),
  [
    'REVOKE INSERT ON banyan.evidence FROM banyan_apply',
    /"banyan_apply" may not INSERT banyan.evidence/,
  ],
  [
    'REVOKE SELECT ON banyan.gate_1, banyan.refused_1 FROM banyan_apply',
    /"banyan_apply" may not SELECT SEQUENCE banyan.gate_1, banyan.refused_1/,
  ],
  ['REVOKE UPDATE ON banyan.census_1 FROM banyan_apply', /may not UPDATE SEQUENCE banyan.census_1/],
  [
    'REVOKE EXECUTE ON FUNCTION banyan.fence, banyan.decide FROM banyan_apply',
    /"banyan_apply" may not EXECUTE FUNCTION banyan.decide, banyan.fence/,
  ],
]

const EXCESS: readonly Case[] = [
  ...[
    ['setup', 'SUPERUSER', 'is a superuser'],
    ['setup', 'CREATEROLE', 'may make and change roles'],
    ['setup', 'CREATEDB', 'may make databases'],
    ['setup', 'REPLICATION', 'may read the change stream'],
    ['setup', 'BYPASSRLS', 'passes row-level policies'],
    ['apply', 'CREATEROLE', 'may make and change roles'],
    ['apply', 'CREATEDB', 'may make databases'],
    ['apply', 'REPLICATION', 'may read the change stream'],
    ['capture', 'SUPERUSER', 'is a superuser'],
    ['capture', 'CREATEROLE', 'may make and change roles'],
    ['capture', 'CREATEDB', 'may make databases'],
    ...(major >= 15 ? [['apply', 'SUPERUSER', 'is a superuser']] : []),
  ].map(([which, trait, says]): Case => [
    `ALTER ROLE banyan_${which} ${trait}`,
    new RegExp(`${which} \\("banyan_${which}"\\) ${says}`),
  ]),
  ...['setup', 'apply', 'capture'].flatMap((which): Case[] => [
    [`GRANT staff TO banyan_${which}`, new RegExp(`${which} .* is a member of "staff"`)],
    // Not by session_user, which is what a gate looks at, but with its rights: it could open a gate.
    [`GRANT banyan_${which} TO staff`, new RegExp(`"staff" may act as ${which} `)],
  ]),
  ['GRANT banyan_apply TO app', /"app" may act as apply /],
  [
    major >= 16
      ? 'GRANT banyan_apply TO app WITH ADMIN TRUE, INHERIT FALSE, SET FALSE'
      : 'GRANT banyan_apply TO app WITH ADMIN OPTION',
    ...(major >= 16 ? [] : [/"app" may act as apply/]),
    /"app", who owns tables, may make itself a member of "banyan_apply"/,
  ],
  ...(major < 16
    ? [
        [
          'ALTER ROLE app CREATEROLE',
          /"app", who owns tables, may change the passwords/,
        ] satisfies Case,
      ]
    : []),
  [
    'CREATE TABLE mine (n int PRIMARY KEY); ALTER TABLE mine OWNER TO banyan_apply',
    /apply .* owns table public.mine/,
  ],
  ['ALTER TABLE mine OWNER TO banyan_capture', /capture .* owns table public.mine/],
  ['GRANT CREATE ON SCHEMA public TO banyan_apply', /apply .* may make objects in SCHEMA public/],
  [
    'GRANT CREATE ON DATABASE legacy TO banyan_capture',
    /capture .* may make objects in DATABASE legacy/,
  ],
  [
    'GRANT INSERT ON visits TO banyan_capture',
    /capture \("banyan_capture"\) may INSERT on public.visits/,
  ],
  ['GRANT UPDATE (note) ON visits TO banyan_capture', /capture .* may UPDATE on public.visits/],
  [
    'GRANT DELETE ON visits, seats, doctors, mine TO banyan_capture',
    /capture .* may DELETE on 4 relations/,
  ],
  [
    'GRANT USAGE ON SEQUENCE visits_id_seq TO banyan_capture',
    /capture .* may USAGE on SEQUENCE public.visits_id_seq/,
  ],
  [
    'GRANT INSERT ON visits TO PUBLIC',
    /everybody \(PUBLIC\), and so capture .* may INSERT on public.visits/,
  ],
  ['GRANT INSERT ON banyan.progress TO banyan_capture', /capture .* may INSERT on banyan.progress/],
  [
    'GRANT EXECUTE ON FUNCTION banyan.fence TO PUBLIC',
    /everybody \(PUBLIC\) may EXECUTE on FUNCTION banyan.fence/,
  ],
  [
    'GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA banyan TO PUBLIC',
    /everybody \(PUBLIC\) may EXECUTE on \d+ objects/,
  ],
  [
    'GRANT EXECUTE ON FUNCTION banyan.decide TO banyan_capture',
    /"banyan_capture" may EXECUTE on FUNCTION banyan.decide/,
  ],
  [
    'GRANT EXECUTE ON FUNCTION banyan.set_gate TO staff',
    /"staff" may EXECUTE on FUNCTION banyan.set_gate/,
  ],
  [
    'GRANT UPDATE ON SEQUENCE banyan.gate_1 TO banyan_apply',
    /"banyan_apply" may UPDATE on SEQUENCE banyan.gate_1/,
  ],
  [
    'GRANT INSERT ON banyan.decision TO banyan_apply',
    /"banyan_apply" may INSERT on banyan.decision/,
  ],
  ['GRANT UPDATE ON banyan.fence TO banyan_apply', /"banyan_apply" may UPDATE on banyan.fence/],
  ['GRANT INSERT ON banyan.progress TO staff', /"staff" may INSERT on banyan.progress/],
  ['GRANT CREATE ON SCHEMA banyan TO staff', /"staff" may CREATE on SCHEMA banyan/],
]

void t.test('the least that is granted is enough', async t => {
  t.same(text(await look()), [])
})

for (const [what, cases, seen] of [
  ['missing', MISSING, look],
  ['too much', EXCESS, lookAtRights],
] as const) {
  void t.test(`what is ${what} is named, and what doctor prints mends it`, async t => {
    for (const [sql, ...says] of cases) {
      await root.query(sql)
      const problems = await seen()
      // Had the one before not been mended, it would be here too.
      const found = text(problems)
      t.equal(found.length, says.length, `${sql}: ${found.join(' and ')}`)
      for (const one of says) {
        t.ok(
          found.some(each => one.test(each)),
          `${sql}: ${String(one)} in ${found.join(' and ')}`,
        )
      }
      for (const each of problems) await root.query(statementOf(each))
    }
    t.same(text(await look()), [])
  })
}

void t.test('an owner that is a superuser, or one of ours', async t => {
  await root.query('ALTER ROLE app SUPERUSER')
  t.match(text(await look()), [
    /ROLE_EXCESS .*member of the superuser "app"/,
    /ROLE_IS_SUPERUSER .*"app"/,
  ])
  await root.query('ALTER ROLE app NOSUPERUSER')
  for (const which of ['setup', 'apply', 'capture'] as const) {
    await root.query(`ALTER TABLE mine OWNER TO banyan_${which}`)
    t.match(text(await look()), [new RegExp(`ROLE_EXCESS .*${which} .* owns table`)])
  }
  await root.query('DROP TABLE mine')
  t.same(text(await look()), [])
})

void t.test('a role that is not there, and slots that are taken', async t => {
  const gone = { ...urls, apply: urls.apply.replace('banyan_apply', 'banyan_gone') }
  const [first] = (await look({ urls: gone })).filter(each => each.code === 'ROLE_LACKS')
  t.match(first, {
    message: /"banyan_gone" may not log in/,
    hint: /`banyan migrate --roles legacy`/,
  })
  const out = (name: string) => url(name).replace(':secret@', ':guessed@')
  const all = { setup: out('setup'), apply: out('apply'), capture: out('capture') }
  const [refused, ...others] = await look({ urls: all })
  t.match(refused, {
    code: 'AUTH_FAILED',
    message: /failed for user "banyan_setup", "banyan_apply", "banyan_capture" /,
    hint: /^if its roles are not made yet: `banyan migrate --roles legacy` prints the SQL; else /,
  })
  t.same(others, [], 'one cause is one problem')
  const folder = t.testdir({ 'for-dba.sql': '' })
  const [init] = await look({ urls: all, folder })
  t.match(
    init?.hint,
    `psql -h 127.0.0.1 -p ${cluster.port} -d legacy -f for-dba.sql, as a superuser;`,
  )
  const [slots] = await look({ slots: Array.from({ length: 30 }, (_, n) => `banyan_s${n}`) })
  t.match(slots, { code: 'SLOTS_EXHAUSTED', hint: /ALTER SYSTEM SET max_replication_slots = 31;/ })
})

void t.test('whoever blocks a fence is named, whatever role it is', async t => {
  const staff = new pg.Client({
    connectionString: cluster.url('legacy', 'staff'),
    application_name: 'noshow',
  })
  await staff.connect()
  await staff.query(`BEGIN; INSERT INTO visits (note) VALUES ('x')`)
  const rows = await query<{ about: string }>(
    urls.apply,
    `SELECT about FROM banyan.writers_of('visits', 'banyan_apply')`,
  )
  t.match(rows, [{ about: /noshow as staff, transaction open for 00:00:\S+: BEGIN; INSERT/ }])
  await staff.end()
})
