import t from 'tap'
import { connect } from '../../postgres/connection.ts'
import { probe } from '../../postgres/probes.ts'
import { dropRoleSteps, rolesSql, scramVerifier, type RolesWanted } from '../../postgres/roles.ts'
import { query, testCluster } from '../support/cluster.ts'

const cluster = await testCluster(t)
await cluster.createRole('clinic')
const url = await cluster.createDatabase('legacy', { owner: 'clinic' })
const app = cluster.url('legacy', 'clinic')
await query(
  app,
  `CREATE TABLE patient (id serial PRIMARY KEY, name text);
   CREATE TABLE visit (patient_id int REFERENCES patient);
   INSERT INTO patient (name) VALUES ('Ada')`,
)
const wanted: RolesWanted = {
  database: 'legacy',
  owner: 'clinic',
  schema: 'public',
  setup: { name: 'banyan_setup', password: `it's "set" up` },
  apply: { name: 'Banyan apply', password: 'apply €' },
  capture: { name: 'banyan_capture', password: 'capture' },
}
for (const statement of [...rolesSql(wanted), ...rolesSql(wanted)]) await query(url, statement)

function urlOf({ name, password }: { name: string; password: string }): string {
  const at = `127.0.0.1:${cluster.port}/legacy`
  return `postgres://${encodeURIComponent(name)}:${encodeURIComponent(password)}@${at}`
}
const setup = urlOf(wanted.setup)
const apply = urlOf(wanted.apply)
const capture = urlOf(wanted.capture)
// PostgreSQL 14 can't let a role set one parameter, and lets everybody make tables in `public`.
const since15 = Number.parseInt(cluster.cluster.version) >= 15
const DENIED = { code: '42501' }

void t.test(
  'apply writes rows, also of tables that come later, and changes nothing else',
  async t => {
    await query(app, 'CREATE TABLE later (id serial PRIMARY KEY)')
    await query(
      apply,
      `INSERT INTO patient (name) VALUES ('Grace'); UPDATE patient SET name = name`,
    )
    await query(apply, 'INSERT INTO later DEFAULT VALUES')
    await t.rejects(query(apply, `SELECT setval('later_id_seq', 1000)`), DENIED)
    await query(apply, 'DELETE FROM later; TRUNCATE later')
    if (since15) await t.rejects(query(apply, 'CREATE TABLE public.mine (n int)'), DENIED)
    await t.rejects(query(apply, 'ALTER TABLE patient DISABLE TRIGGER ALL'), DENIED)
    await t.rejects(query(apply, 'CREATE SCHEMA mine'), DENIED)
  },
)

void t.test('apply fires no triggers and checks no keys where it says so', async t => {
  if (!since15) {
    return t.rejects(query(apply, 'SET session_replication_role = replica'), DENIED)
  }
  const { rows } = await withClient(apply, async client => {
    await client.query('SET session_replication_role = replica')
    return client.query('INSERT INTO public.visit VALUES (-1) RETURNING patient_id')
  })
  t.same(rows, [{ patient_id: -1 }])
  await t.rejects(query(capture, 'SET session_replication_role = replica'), DENIED)
  await t.rejects(query(app, 'SET session_replication_role = replica'), DENIED)
})

void t.test('setup sees what others run, so that its functions can name who blocks', async t => {
  const others = `SELECT query FROM pg_stat_activity WHERE usename = 'clinic'`
  await withClient(app, async client => {
    await client.query('SELECT 42')
    t.same(await query(setup, others), [{ query: 'SELECT 42' }])
    t.same(await query(apply, others), [{ query: '<insufficient privilege>' }])
  })
})

void t.test('capture reads rows and the stream, and writes nothing', async t => {
  t.ok((await query(capture, 'SELECT * FROM patient')).length > 0)
  await t.rejects(query(capture, `INSERT INTO patient (name) VALUES ('x')`), DENIED)
  await t.rejects(query(capture, 'DELETE FROM patient'), DENIED)
  const walsender = await connect({ url: capture, applicationName: 'test', replication: true })
  t.teardown(() => walsender.end())
  const made = await walsender.query(`CREATE_REPLICATION_SLOT "s" TEMPORARY LOGICAL pgoutput`)
  t.match(made.rows[0], { slot_name: 's' })
  await t.rejects(connect({ url: apply, applicationName: 'test', replication: true }), {
    code: 'PRIVILEGE_MISSING',
  })
})

void t.test('setup changes the owner’s tables and makes a schema and a publication', async t => {
  await query(setup, 'CREATE SCHEMA banyan; CREATE TABLE banyan.fence (n int)')
  await query(setup, 'CREATE PUBLICATION mine FOR TABLE patient, banyan.fence')
  await query(setup, 'ALTER TABLE patient REPLICA IDENTITY FULL')
  await t.rejects(query(setup, 'CREATE DATABASE other'), DENIED)
  await t.rejects(query(setup, 'CREATE ROLE other'), DENIED)
})

void t.test('policies hide nothing from apply and capture', async t => {
  await query(
    app,
    `CREATE TABLE hidden (n int); INSERT INTO hidden VALUES (1);
     ALTER TABLE hidden ENABLE ROW LEVEL SECURITY; ALTER TABLE hidden FORCE ROW LEVEL SECURITY`,
  )
  t.same(await query(app, 'SELECT * FROM hidden'), [])
  for (const role of [apply, capture]) {
    const { rows } = await withClient(role, client => client.query('SELECT * FROM public.hidden'))
    t.same(rows, [{ n: 1 }])
  }
})

void t.test('none of the three is a superuser, and a probe tells what each may', async t => {
  const facts = await withClient(apply, probe)
  t.match(facts.role, { superuser: false, replication: false, bypassRls: true })
  t.match(facts.role, { seesActivity: false, setReplica: since15 })
  const reader = await withClient(capture, probe)
  t.match(reader.role, { superuser: false, replication: true, setReplica: false })
  t.match((await withClient(setup, probe)).role, {
    ...{ superuser: false, createSchema: true, seesActivity: true },
  })
})

void t.test('a password is sent as a verifier that can’t be read back', async t => {
  const text = rolesSql(wanted).join('\n')
  for (const { password } of [wanted.setup, wanted.apply]) t.notOk(text.includes(password))
  const salt = Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64')
  t.equal(
    scramVerifier('pencil', salt),
    'SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$' +
      'WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=',
    'the example of RFC 7677',
  )
})

void t.test('tables that a superuser owns are refused', async t => {
  const [refusal = ''] = rolesSql({ ...wanted, owner: 'postgres' })
  await t.rejects(query(url, refusal), { code: 'P0001', message: 'the owner is a superuser' })
})

void t.test('the roles go without trace', async t => {
  await query(setup, 'DROP PUBLICATION mine; DROP SCHEMA banyan CASCADE')
  const names = [wanted.setup, wanted.apply, wanted.capture].map(({ name }) => name)
  const [s = '', a = '', c = ''] = names
  const drop = dropRoleSteps({ owner: 'clinic', setup: s, apply: a, capture: c })
  for (const statement of drop.flatMap(step => step.statements)) await query(url, statement)
  t.same(await query(url, 'SELECT FROM pg_roles WHERE rolname = ANY ($1)', [names]), [])
  t.ok((await query(app, 'SELECT * FROM patient')).length > 0, 'the application is unharmed')
})

async function withClient<T>(
  address: string,
  act: (client: Awaited<ReturnType<typeof connect>>) => Promise<T>,
): Promise<T> {
  const client = await connect({ url: address, applicationName: 'test' })
  try {
    return await act(client)
  } finally {
    await client.end()
  }
}
