import t, { type Test } from 'tap'
import { type Lsn, parseLsn } from '../../model/position.ts'
import { testCluster } from '../support/cluster.ts'
import { StreamReader } from '../support/stream-reader.ts'
import { streamSource } from '../support/stream-source.ts'

const cluster = await testCluster(t)
await cluster.createRole('capture', { traits: 'REPLICATION' })
const source = (t: Test) => streamSource(t, cluster)

await t.test('an idle stream says how far it is, in order, without any traffic', async t => {
  const db = await source(t)
  const from = await db.slot('idle')
  const reader = new StreamReader(await db.open({ slot: 'idle', from, statusIntervalMs: 20 }))
  await reader.until(r => r.events.some(each => each.kind === 'idle'), 'a first idle event')
  const [row] = await db.sql(
    `INSERT INTO notes VALUES (1); INSERT INTO other VALUES (1); SELECT pg_current_wal_flush_lsn()::text AS lsn`,
  )
  const token = parseLsn(row!['lsn'] as string)
  const reached = (r: StreamReader) =>
    r.events.some(each => each.kind === 'idle' && each.position >= token)
  await reader.until(reached, 'an idle event past the token')
  const positions = reader.events.flatMap(each => ('position' in each ? [each.position] : []))
  t.strictSame(
    positions,
    [...positions].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0)),
  )
  const kinds = reader.events.map(each => each.kind)
  t.ok(kinds.indexOf('commit') < kinds.lastIndexOf('idle'))
  t.equal(await db.confirmed('idle'), from, 'idle alone lets the server forget nothing')
})

await t.test('what is not acknowledged comes again, what is does not', async t => {
  const db = await source(t)
  const from = await db.slot('acks')
  const first = await db.open({ slot: 'acks', from, statusIntervalMs: 20 })
  const reader = new StreamReader(first)
  for (const id of [1, 2, 3]) await db.sql(`INSERT INTO notes VALUES (${id})`)
  await reader.until(r => r.transactions.length === 3, 'three transactions')
  const begin = reader.transactions[1]!.commitLsn
  first.acknowledge((begin + 1n) as Lsn)
  t.throws(() => first.acknowledge((reader.transactions[2]!.end + 10_000n) as Lsn), RangeError)
  await first[Symbol.asyncDispose]()
  t.equal(await reader.end(), null, 'disposal is an orderly end')
  t.equal(await db.confirmed('acks'), begin + 1n, 'the last acknowledgement was sent')

  await t.rejects(db.open({ slot: 'acks', from }), { code: 'SLOT_AHEAD' })
  const again = new StreamReader(await db.open({ slot: 'acks', from: (begin + 1n) as Lsn }))
  await again.until(r => r.transactions.length === 1, 'the third transaction')
  t.strictSame(
    again.changes.map(each => each.after?.get('id')),
    ['3'],
  )
})

await t.test(
  'a sentinel lets the server forget idle stretches, but nothing that it has not acknowledged',
  async t => {
    const db = await source(t)
    const from = await db.slot('sentinel')
    const options = { slot: 'sentinel', from, statusIntervalMs: 20, advanceIdle: true }
    const stream = await db.open(options)
    const reader = new StreamReader(stream)
    const idles = () => reader.events.filter(each => each.kind === 'idle').length
    await db.sql(`INSERT INTO other VALUES (1)`)
    while ((await db.confirmed('sentinel')) === from) {
      const seen = idles()
      await reader.until(() => idles() > seen, 'another idle event')
    }
    await db.sql(`INSERT INTO notes VALUES (1)`)
    await reader.until(r => r.transactions.length === 1, 'the transaction')
    await db.sql(`INSERT INTO other VALUES (2)`)
    const seen = idles()
    await reader.until(() => idles() > seen + 3, 'idle events after it')
    const { commitLsn, end } = reader.transactions[0]!
    t.ok((await db.confirmed('sentinel')) <= commitLsn, 'it stands before the commit')
    stream.acknowledge(end as Lsn)
    while ((await db.confirmed('sentinel')) <= end) {
      const before = idles()
      await reader.until(() => idles() > before, 'another idle event')
    }
    t.pass('and passes it once it is acknowledged')
  },
)

await t.test(
  'a slow consumer holds the server back, keeps its memory and its connection',
  async t => {
    const db = await source(t)
    const from = await db.slot('slow')
    const stream = await db.open({ slot: 'slow', from, statusIntervalMs: 50, highWaterMark: 16 })
    await db.sql(`INSERT INTO notes SELECT i, repeat('x', 1000) FROM generate_series(1, 30000) i`)
    const events = stream.events()[Symbol.asyncIterator]()
    while ((await events.next()).value?.kind !== 'begin');
    const before = process.memoryUsage()
    // The server ends a connection whose replies stay away: they don't wait for the consumer.
    const replies = new Set<unknown>()
    while (replies.size < 10) {
      const [row] = await db.sql(`SELECT reply_time::text, sent_lsn::text FROM pg_stat_replication`)
      t.ok(row, 'connected')
      replies.add(row?.['reply_time'])
    }
    const after = process.memoryUsage()
    const grown = after.arrayBuffers + after.heapUsed - before.arrayBuffers - before.heapUsed
    t.ok(grown < 15e6, `memory grew by ${grown} bytes while 30 MB waited`)
    let changes = 0
    for (;;) {
      const { value } = await events.next()
      if (value?.kind === 'change') changes += 1
      if (value?.kind === 'commit') break
    }
    t.equal(changes, 30_000)
  },
)
