import { createServer, connect as dial, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import type { Lsn } from '../../model/position.ts'
import { openStream, type StreamOptions } from '../../postgres/replication.ts'
import { createSlot } from '../../postgres/slot.ts'
import { query, testCluster } from '../support/cluster.ts'
import { StreamReader } from '../support/stream-reader.ts'
import { silent, streamSource } from '../support/stream-source.ts'

const cluster = await testCluster(t)
await cluster.createRole('capture', { traits: 'REPLICATION' })
const source = (t: Test) => streamSource(t, cluster)

await t.test('a stream is not opened where changes would be missing', async t => {
  const db = await source(t)
  const from = await db.slot('start')
  const code = (code: string) => ({ name: 'BanyanError', code })
  await t.rejects(db.open({ slot: 'nobody', from }), code('SLOT_MISSING'))
  const publications = ['p', 'r']
  await t.rejects(db.open({ slot: 'start', from, publications }), {
    code: 'PUBLICATION_MISSING',
    details: ['r'],
  })
  await t.rejects(db.open({ slot: 'start', from: (from - 1n) as Lsn }), code('SLOT_AHEAD'))
  const future = (from + (1n << 40n)) as Lsn
  await t.rejects(db.open({ slot: 'start', from: future }), code('SOURCE_REWOUND'))
  await db.open({ slot: 'start', from })
  await t.rejects(db.open({ slot: 'start', from }), { code: 'SLOT_BUSY', rule: { retry: true } })
})

await t.test('a slot that the server has given up is told from one that is missing', async t => {
  const db = await source(t)
  const from = await db.slot('lost')
  await db.sql(`ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'`)
  t.teardown(() => db.sql('ALTER SYSTEM RESET max_slot_wal_keep_size'))
  await db.sql('SELECT pg_reload_conf()')
  t.teardown(() => db.sql('SELECT pg_reload_conf()'))
  for (let i = 0; i < 4; i++)
    await db.sql(`INSERT INTO other VALUES (${i}); SELECT pg_switch_wal()`)
  await db.sql('CHECKPOINT')
  await t.rejects(db.open({ slot: 'lost', from }), { code: 'SLOT_LOST' })
})

await t.test(
  'a lost connection, a dropped publication and an abort end the events, each in its way',
  async t => {
    const db = await source(t)
    const from = await db.slot('ends')
    const lost = new StreamReader(await db.open({ slot: 'ends', from }))
    await db.sql(
      `SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = 'ends'`,
    )
    t.match(await lost.end(), { code: 'STREAM_LOST', rule: { retry: true } })

    const stop = new AbortController()
    const aborted = await db.open({ slot: 'ends', from, signal: stop.signal })
    const reader = new StreamReader(aborted)
    const reason = new Error('enough')
    stop.abort(reason)
    t.equal(await reader.end(), reason)
    await aborted[Symbol.asyncDispose]()
    await t.rejects(db.open({ slot: 'ends', from, signal: stop.signal }), { message: 'enough' })

    const [version] = await db.sql('SHOW server_version_num')
    if (Number(version!['server_version_num']) >= 180_000) return // it warns, and skips
    const dropped = new StreamReader(await db.open({ slot: 'ends', from }))
    await db.sql('DROP PUBLICATION p')
    await db.sql('INSERT INTO notes VALUES (1)')
    t.match(await dropped.end(), { code: 'PUBLICATION_MISSING' })
  },
)

/** A cluster to stop, with one transaction in an open stream. */
async function ownCluster(t: Test, options: Partial<StreamOptions> = {}) {
  const own = await testCluster(t)
  const url = own.url()
  await query(url, 'CREATE TABLE notes (id int PRIMARY KEY); CREATE PUBLICATION p FOR TABLE notes')
  const { signal } = new AbortController()
  const { consistentPoint: from } = await createSlot({ url, slot: 's', signal })
  const all = { url, slot: 's', publications: ['p'], from, signal, log: silent, ...options }
  const stream = await openStream(all)
  t.teardown(() => stream[Symbol.asyncDispose]())
  await query(url, 'INSERT INTO notes SELECT generate_series(1, 5000)')
  return { own, stream, options: all }
}

await t.test(
  'a server that stops ends the stream, which goes on from there afterwards',
  async t => {
    const { own, stream, options } = await ownCluster(t)
    const reader = new StreamReader(stream)
    await reader.until(r => r.transactions.length === 1, 'the transaction')
    const end = reader.transactions[0]!.end as Lsn
    stream.acknowledge(end)
    await own.stop('fast')
    t.match(await reader.end(), { code: 'STREAM_LOST' })
    await own.restart()
    const next = await openStream({ ...options, from: end })
    t.teardown(() => next[Symbol.asyncDispose]())
    await query(own.url(), 'DELETE FROM notes WHERE id = 7')
    const again = new StreamReader(next)
    await again.until(r => r.transactions.length > 0, 'the next transaction')
    t.strictSame(
      again.changes.map(each => [each.op, each.before?.get('id')]),
      [['d', '7']],
    )
  },
)

await t.test(
  'a consumer that acknowledges nothing does not keep the server from stopping',
  async t => {
    const { own, stream } = await ownCluster(t)
    const reader = new StreamReader(stream)
    await reader.until(r => r.transactions.length === 1, 'the transaction')
    await own.stop('fast')
    t.match(await reader.end(), { code: 'STREAM_LOST', message: /stopping/ })
  },
)

await t.test('nor does one that has stopped reading', async t => {
  const { own, stream } = await ownCluster(t, { stallMs: 100, highWaterMark: 2 })
  const events = stream.events()[Symbol.asyncIterator]()
  while ((await events.next()).value?.kind !== 'begin');
  await own.stop('fast')
  await t.rejects(events.next(), { code: 'STREAM_LOST', message: /stopping/ })
})

await t.test('a connection that falls silent counts as lost', async t => {
  const db = await source(t)
  const from = await db.slot('silent')
  const sockets: Socket[] = []
  const server = createServer(client => {
    const upstream = dial(cluster.port, '127.0.0.1')
    sockets.push(client, upstream)
    for (const socket of [client, upstream]) socket.on('error', () => undefined)
    client.pipe(upstream).pipe(client)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy()
    await new Promise(resolve => server.close(resolve))
  })
  const { port } = server.address() as { port: number }
  const url = db.capture.replace(`:${cluster.port}/`, `:${port}/`)
  const options = { slot: 'silent', from, url, statusIntervalMs: 20, silenceMs: 200 }
  const reader = new StreamReader(await db.open(options))
  await reader.until(r => r.events.length > 3, 'idle events')
  for (const socket of sockets) socket.unpipe()
  t.match(await reader.end(), { code: 'STREAM_LOST', rule: { retry: true } })
})
