/** The monolith as a process: migrates, seeds the same rows each time, says that it listens, ends calmly. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import pg from 'pg'
import t from 'tap'
import type { Test } from 'tap'
import { WebSocket } from 'ws'
import { testCluster } from '../../support/cluster.ts'

const MONOLITH = fileURLToPath(new URL('../../../examples/clinic/monolith.js', import.meta.url))
const cluster = await testCluster(t)
await cluster.createRole('clinic')

function start(t: Test, env: Record<string, string>, ...args: string[]) {
  const child = spawn(process.execPath, [MONOLITH, ...args], {
    env: { PATH: process.env.PATH ?? '', PORT: '0', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return {
    child,
    exit: once(child, 'exit'),
    stderr: text(child.stderr),
    line: async () => JSON.parse(String((await lines.next()).value)) as Record<string, unknown>,
  }
}

const newDatabase = async (name: string): Promise<string> => {
  await cluster.createDatabase(name, { owner: 'clinic' })
  return cluster.url(name, 'clinic')
}

await t.test('it serves, and ends with its watchers told', async t => {
  const DATABASE_URL = await newDatabase('serve')
  const monolith = start(t, { DATABASE_URL, MIGRATE: '1' })
  const migrated = (await monolith.line()).migrated as string[]
  t.equal(migrated.length, 5)
  const { listening } = await monolith.line()
  const url = `127.0.0.1:${Number(listening)}`
  t.equal((await fetch(`http://${url}/ready`)).status, 200)
  const watcher = new WebSocket(`ws://${url}/live`)
  await once(watcher, 'message')
  const closed = once(watcher, 'close')
  monolith.child.kill('SIGTERM')
  t.equal((await closed)[0], 1001)
  t.strictSame(await monolith.exit, [0, null])
  t.equal(await monolith.stderr, '')
})

await t.test('it lives without a database, and says that it is not ready', async t => {
  const DATABASE_URL = 'postgres://clinic@127.0.0.1:9/clinic'
  const monolith = start(t, { DATABASE_URL })
  const { listening } = await monolith.line()
  const url = `http://127.0.0.1:${Number(listening)}`
  const headers = { cookie: 'clinic_sid=00' }
  t.equal((await fetch(`${url}/health`, { headers })).status, 200)
  t.equal((await fetch(`${url}/ready`, { headers })).status, 503)
  t.equal((await fetch(`${url}/api/patients`, { headers })).status, 500)
})

await t.test('a seed makes the same rows each time, another seed makes others', async t => {
  const digests: string[] = []
  for (const [index, seed] of ['1', '1', '2'].entries()) {
    const DATABASE_URL = await newDatabase(`seed_${index}`)
    const size = ['--patients', '60', '--appointments', '400', '--seed', seed]
    const monolith = start(t, { DATABASE_URL, MIGRATE: '1' }, 'seed', ...size)
    await monolith.line()
    t.match(await monolith.line(), { seeded: { patients: 60, appointments: 400 } })
    t.strictSame(await monolith.exit, [0, null])
    digests.push(await digest(cluster.url(`seed_${index}`)))
  }
  t.equal(digests[0], digests[1])
  t.not(digests[0], digests[2])
})

await t.test('seeded rows add up, and the next one finds its number free', async t => {
  const client = new pg.Client(cluster.url('seed_0'))
  await client.connect()
  t.teardown(() => client.end())
  const { rows } = await client.query(
    `select (select sum(taken) from slots)::int as taken,
       (select max(octet_length(notes)) from appointments) as longest_note,
       (select count(*)::int from appointments a where not exists
         (select 1 from slots s where s.practitioner_id = a.practitioner_id and s.starts_at = a.starts_at)) as homeless,
       (select pg_relation_size(reltoastrelid)::int from pg_class where relname = 'appointments') as toast`,
  )
  t.match(rows[0], { taken: 400, homeless: 0 })
  t.ok(rows[0].longest_note > 8192 && rows[0].toast > 0, 'some notes are stored out of line')
  const next = await client.query(
    `select nextval('appointments_id_seq')::int as appointment, nextval('patients_id_seq')::int as patient`,
  )
  t.strictSame(next.rows, [{ appointment: 401, patient: 61 }])
})

await t.test('it never seeds over what is there', async t => {
  const monolith = start(t, { DATABASE_URL: cluster.url('seed_0', 'clinic') }, 'seed')
  t.strictSame(await monolith.exit, [1, null])
  t.match(await monolith.stderr, 'the clinic has patients already')
})

/** Of every row of every table, but for the migrations' own. */
async function digest(url: string): Promise<string> {
  const client = new pg.Client(url)
  await client.connect()
  const tables = await client.query(
    `select tablename as name from pg_tables where schemaname = 'public' and tablename not like 'knex%' order by 1`,
  )
  const digests: unknown[] = []
  for (const { name } of tables.rows) {
    const { rows } = await client.query(
      `select md5(string_agg(md5(t::text), '' order by t::text)) as digest from ${name} t`,
    )
    digests.push([name, rows[0]?.digest])
  }
  await client.end()
  return JSON.stringify(digests)
}
