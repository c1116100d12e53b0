import t from 'tap'
import { connect } from '../../postgres/connection.ts'
import {
  captureBlockers,
  durabilityBlocker,
  mustNotBeSuperuser,
  probe,
  type ServerFacts,
} from '../../postgres/probes.ts'
import { query, testCluster } from '../support/cluster.ts'

const applicationName = 'banyan test'

async function probeAs(url: string, rawText = false): Promise<ServerFacts> {
  const client = await connect({ url, applicationName, rawText })
  try {
    return await probe(client)
  } finally {
    await client.end()
  }
}

void t.test('facts are what the server says', async t => {
  const cluster = await testCluster(t, { settings: { synchronous_commit: 'off' } })
  const url = await cluster.createDatabase('clinic')
  await query(url, `SELECT pg_create_logical_replication_slot('taken', 'pgoutput')`)
  const facts = await probeAs(url)
  t.match(facts, {
    version: cluster.cluster.version,
    system: { identifier: /^\d+$/, timeline: 1 },
    standby: false,
    walLevel: 'logical',
    walLevelPending: false,
    maxReplicationSlots: 20,
    usedSlots: 1,
    maxWalSenders: 20,
    usedSenders: 0,
    maxSlotWalKeepBytes: null,
    maxConnections: 200,
    maxPreparedTransactions: 0,
    fsync: false,
    fullPageWrites: true,
    synchronousCommit: 'off',
    synchronousStandbyNames: '',
    walSenderTimeoutMs: 60_000,
    encoding: 'UTF8',
    database: 'clinic',
  })
  t.equal(Math.floor(facts.versionNumber / 10_000), Number.parseInt(facts.version))
  t.ok(facts.usedConnections >= 1)
  t.same(await probeAs(url, true), { ...facts, usedConnections: 1 }, 'raw text tells the same')
})

void t.test('a role sees what it may, and counts what it may not see', async t => {
  const cluster = await testCluster(t)
  await cluster.createRole('plain')
  await cluster.createRole('reader', { traits: 'REPLICATION' })
  const walsender = await connect({ url: cluster.url(), applicationName, replication: true })
  t.teardown(() => walsender.end())
  await walsender.query(`CREATE_REPLICATION_SLOT "mine" TEMPORARY LOGICAL pgoutput`)
  const plain = await probeAs(cluster.url('postgres', 'plain'))
  t.same(plain.role, {
    name: 'plain',
    superuser: false,
    replication: false,
    bypassRls: false,
    createRole: false,
    createDatabase: false,
    setReplica: false,
    seesActivity: false,
    createSchema: false,
  })
  t.equal(plain.usedSlots, 1)
  t.match((await probeAs(cluster.url('postgres', 'reader'))).role, { replication: true })
  t.match((await probeAs(cluster.url())).role, { superuser: true, setReplica: true })
})

void t.test('all that keeps a server from being captured from is said at once', async t => {
  const settings = { wal_level: 'replica', max_replication_slots: '2', max_wal_senders: '1' }
  const cluster = await testCluster(t, { settings })
  await cluster.createRole('plain')
  const url = cluster.url('postgres', 'plain')
  const facts = await probeAs(url)
  const blockers = captureBlockers(facts, url, { slots: 3, senders: 2 })
  t.same(
    blockers.map(({ code }) => code),
    ['WAL_LEVEL', 'SLOTS_EXHAUSTED', 'SENDERS_EXHAUSTED', 'ROLE_NOT_REPLICATION'],
  )
  const place = `127.0.0.1:${cluster.port}`
  t.equal(
    blockers[0]?.message,
    `PostgreSQL at ${place} has wal_level = replica; changes can only be captured with logical`,
  )
  t.match(blockers[0]?.hint, /^there: ALTER SYSTEM SET wal_level = logical; restart the server /)
  const [set] = captureBlockers({ ...facts, walLevelPending: true }, url, { slots: 0, senders: 0 })
  t.match(set?.hint, /^another one is set there: only the restart of the server is missing; /)
  t.match(blockers[1]?.message, '0 of 2 replication slots in use; 3 more are needed')
  t.match(durabilityBlocker(facts, url), { code: 'NOT_DURABLE', message: / with fsync off: / })
  t.equal(durabilityBlocker({ ...facts, fsync: true }, url), null)
})

void t.test('a server that is ready has no blockers', async t => {
  const cluster = await testCluster(t)
  await cluster.createRole('reader', { traits: 'REPLICATION' })
  const url = cluster.url('postgres', 'reader')
  t.same(captureBlockers(await probeAs(url), url, { slots: 20, senders: 20 }), [])
})

void t.test('a superuser isn’t taken for an application’s role', async t => {
  const cluster = await testCluster(t)
  const { role } = await probeAs(cluster.url())
  t.throws(() => mustNotBeSuperuser(role), { code: 'ROLE_IS_SUPERUSER', details: ['postgres'] })
  t.doesNotThrow(() => mustNotBeSuperuser({ ...role, superuser: false }))
})
