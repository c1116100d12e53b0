import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { startCluster, type Cluster, type ClusterWanted } from '../../postgres/embedded.ts'
import { query } from '../support/cluster.ts'
import { copyTemplate, testBinaries } from '../support/cluster-template.ts'

const binaries = await testBinaries()

// One folder for all: each test leaves it with a cluster that is down and whole.
const dataDir = await copyTemplate()
t.teardown(() => rm(dataDir, { recursive: true, force: true }))

async function start(t: Test, wanted: Partial<ClusterWanted> = {}): Promise<Cluster> {
  const settings = { fsync: 'off', ...wanted.settings }
  const cluster = await startCluster({ dataDir, name: 'test', binaries, ...wanted, settings })
  t.teardown(() => cluster.stop('immediate'))
  return cluster
}

void t.test(
  'a folder that is missing becomes a cluster that keeps what it acknowledged',
  async t => {
    const folder = join(dataDir, 'new', 'cluster')
    const cluster = await startCluster({ dataDir: folder, name: 'new', binaries })
    t.teardown(() => cluster.stop('immediate'))
    const [row] = await query(
      cluster.url(),
      `SELECT current_setting('wal_level') wal, current_setting('fsync') fsync,
            current_setting('full_page_writes') fpw, current_setting('synchronous_commit') sync,
            current_setting('max_replication_slots') slots, current_setting('max_wal_senders') senders,
            current_setting('TimeZone') zone, current_setting('server_encoding') encoding,
            current_setting('listen_addresses') listens, current_setting('unix_socket_directories') socket,
            current_setting('data_checksums') checksums, lower('ÄÖ') AS lower`,
    )
    t.match(row, { wal: 'logical', fsync: 'on', fpw: 'on', sync: 'on', slots: '20', senders: '20' })
    t.match(row, {
      zone: 'UTC',
      encoding: 'UTF8',
      listens: '127.0.0.1',
      socket: '',
      checksums: 'on',
    })
    if (binaries.major >= 17) t.equal(row?.lower, 'äö', 'letters are known without a locale')
    const mode = (await stat(join(folder, 'password'))).mode & 0o777
    t.equal(mode, 0o600, 'the password is for its owner')
    const stranger = cluster.url().replace(/:[^:@]+@/, ':wrong@')
    await t.rejects(query(stranger, 'SELECT 1'), { code: '28P01' }, 'a password is asked for')
  },
)

void t.test('a restart finds its rows, on the same port', async t => {
  const first = await start(t)
  await query(first.url(), 'CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)')
  await first.stop()
  t.same(await first.exited, { code: 0, expected: true })
  await first.stop()
  const second = await start(t)
  t.equal(second.port, first.port)
  t.same(await query(second.url(), 'SELECT n FROM kept'), [{ n: 7 }])
  t.not(second.pid, first.pid)
})

void t.test('a port that is taken meanwhile is changed, unless it was asked for', async t => {
  const first = await start(t)
  await first.stop()
  const squatter = createServer().listen(first.port, '127.0.0.1')
  await once(squatter, 'listening')
  t.teardown(() => squatter.close())
  const moved = await start(t)
  t.not(moved.port, first.port)
  await moved.stop()
  await t.rejects(start(t, { port: first.port }), {
    code: 'PORT_IN_USE',
    message: `port ${first.port} of 127.0.0.1 is in use by another program`,
  })
})

void t.test('data of another major version is refused, untouched', async t => {
  const file = join(dataDir, 'pgdata', 'PG_VERSION')
  const version = await readFile(file, 'utf8')
  await writeFile(file, '11\n')
  t.teardown(() => writeFile(file, version))
  await t.rejects(start(t), {
    code: 'DATA_VERSION',
    message: new RegExp(`written by PostgreSQL 11; .* is ${binaries.version.replace('.', '\\.')}`),
    hint: /pg_upgrade/,
  })
  t.equal(await readFile(file, 'utf8'), '11\n')
})

void t.test('a folder with something else in it is refused, untouched', async t => {
  const folder = join(dataDir, 'thesis')
  await mkdir(folder)
  await writeFile(join(folder, 'chapter-1.txt'), 'It was a dark and stormy night')
  await t.rejects(start(t, { dataDir: folder }), { code: 'DATA_UNKNOWN' })
  t.same(await readdir(folder), ['chapter-1.txt'])
})

void t.test('two can’t run on the same data', async t => {
  const first = await start(t)
  await t.rejects(start(t, { waitMs: 50 }), {
    code: 'CLUSTER_RUNNING',
    details: [join(dataDir, 'pgdata'), String(first.pid), String(first.port)],
  })
  t.same(await query(first.url(), 'SELECT 1 AS n'), [{ n: 1 }], 'the first is unharmed')
})

void t.test('one that is just stopping is waited for', async t => {
  const first = await start(t)
  const [second] = await Promise.all([start(t), first.stop()])
  t.same(await query(second.url(), 'SELECT 1 AS n'), [{ n: 1 }])
})

void t.test('a process id that another program has by now keeps nobody out', async t => {
  const stale = [process.pid, join(dataDir, 'pgdata'), 1, 5432, '', '127.0.0.1', '', 'ready']
  await writeFile(join(dataDir, 'pgdata', 'postmaster.pid'), stale.join('\n'))
  const cluster = await start(t)
  t.same(await query(cluster.url(), 'SELECT 1 AS n'), [{ n: 1 }])
})

void t.test('a server that dies is noticed, and the next start recovers', async t => {
  const first = await start(t)
  await query(first.url(), 'CREATE TABLE survived (n int)')
  process.kill(first.pid, 'SIGKILL')
  t.match(await first.exited, { expected: false })
  const second = await start(t)
  t.same(await query(second.url(), 'SELECT * FROM survived'), [])
})

void t.test('a setting that PostgreSQL refuses is said, with its own words', async t => {
  await t.rejects(start(t, { settings: { wal_level: 'sideways' } }), {
    code: 'CLUSTER_NOT_STARTED',
    message: /FATAL.*wal_level.*sideways/,
    hint: /server\.log/,
  })
})

void t.test('a start that is called off leaves no process and no half-made data', async t => {
  const folder = join(dataDir, 'called-off')
  const off = new AbortController()
  const reason = new Error('called off')
  const started = startCluster({ dataDir: folder, name: 'off', binaries, signal: off.signal })
  const rejected = t.rejects(started, reason)
  while (!(await readdir(folder).catch(() => [])).some(name => name.startsWith('pgdata.'))) {
    await sleep(1)
  }
  off.abort(reason)
  await rejected
  const left = await readdir(folder).catch(() => [])
  t.same(
    left.filter(name => name !== 'password'),
    [],
  )
})

void t.test(
  'data that can’t be made is said in initdb’s words, and leaves nothing behind',
  async t => {
    const broken = join(dataDir, 'broken')
    await mkdir(broken)
    const script = '#!/bin/sh\necho "initdb: error: No space left on device" >&2\nexit 1\n'
    await writeFile(join(broken, 'initdb'), script, { mode: 0o755 })
    const folder = join(dataDir, 'not-made')
    const wanted = { dataDir: folder, binaries: { ...binaries, folder: broken } }
    await t.rejects(start(t, wanted), { code: 'DATA_NOT_MADE', message: /No space left on device/ })
    t.same(await readdir(folder), ['password'])
  },
)

void t.test('rows never stand in the log', async t => {
  const cluster = await start(t)
  const insert = `INSERT INTO patient VALUES ('ada@example.org')`
  await query(cluster.url(), `CREATE TABLE patient (email text PRIMARY KEY); ${insert}`)
  await t.rejects(query(cluster.url(), insert), { code: '23505' })
  const log = await readFile(join(dataDir, 'server.log'), 'utf8')
  t.match(log, /duplicate key value/)
  t.notMatch(log, /ada/)
})

void t.test('a log that grew too long is cut at the next start', async t => {
  const file = join(dataDir, 'server.log')
  await writeFile(file, 'x'.repeat(11 * 1024 * 1024))
  await start(t)
  t.ok((await stat(file)).size < 100_000)
})

void t.test('URLs name role and database, escaped', async t => {
  const cluster = await start(t)
  const at = `127.0.0.1:${cluster.port}`
  t.match(cluster.url(), new RegExp(`^postgres://postgres:[0-9a-f]{48}@${at}/postgres$`))
  t.equal(cluster.url('a/b', 'c@d'), `postgres://c%40d@${at}/a%2Fb`)
})

void t.test('nothing that we start is in our process group: Ctrl-C is ours alone', async t => {
  const cluster = await start(t)
  const groupOf = async (pid: number): Promise<string> => {
    const { stdout } = await promisify(execFile)('ps', ['-o', 'pgid=', '-p', String(pid)])
    return stdout.trim()
  }
  t.not(await groupOf(cluster.pid), await groupOf(process.pid))
})
