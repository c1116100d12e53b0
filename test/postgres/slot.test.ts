import pg from 'pg'
import t, { type Test } from 'tap'
import { openStream } from '../../postgres/replication.ts'
import { createSlot, createSlotWithSnapshot, dropSlot, listSlots } from '../../postgres/slot.ts'
import { query, testCluster } from '../support/cluster.ts'
import { StreamReader } from '../support/stream-reader.ts'

const cluster = await testCluster(t)
const { signal } = new AbortController()

async function database(t: Test, name: string): Promise<string> {
  const url = await cluster.createDatabase(name)
  await query(url, 'CREATE TABLE notes (id int PRIMARY KEY); CREATE PUBLICATION p FOR TABLE notes')
  return url
}

async function session(t: Test, url: string): Promise<pg.Client> {
  const client = new pg.Client(url)
  await client.connect()
  t.teardown(() => client.end())
  return client
}

await t.test('snapshot and stream of a slot meet without a gap or an overlap', async t => {
  const url = await database(t, 'meet')
  await query(url, 'INSERT INTO notes VALUES (1)')
  const made = await createSlotWithSnapshot({ url, slot: 'meet', signal })
  await query(url, 'INSERT INTO notes VALUES (2)')
  const importer = await session(t, url)
  await importer.query('BEGIN ISOLATION LEVEL REPEATABLE READ')
  await importer.query(`SET TRANSACTION SNAPSHOT '${made.snapshot}'`)
  await made.release()
  await query(url, 'INSERT INTO notes VALUES (3)')
  const { rows } = await importer.query('SELECT id FROM notes')
  t.strictSame(rows, [{ id: 1 }], 'an importer keeps what the snapshot saw')

  const late = await session(t, url)
  await late.query('BEGIN ISOLATION LEVEL REPEATABLE READ')
  await t.rejects(late.query(`SET TRANSACTION SNAPSHOT '${made.snapshot}'`), 'nobody else can')

  const log = { info() {} }
  const options = { url, slot: 'meet', publications: ['p'], from: made.consistentPoint }
  const stream = await openStream({ ...options, signal, log })
  const reader = new StreamReader(stream)
  await reader.until(r => r.transactions.length === 2, 'two transactions')
  t.strictSame(
    reader.changes.map(each => each.after?.get('id')),
    ['2', '3'],
  )
  await stream[Symbol.asyncDispose]()
  t.equal(await dropSlot({ url, slot: 'meet', signal }), true)
})

await t.test('a slot waits for open writers; cancelled, it leaves nothing behind', async t => {
  const url = await database(t, 'waits')
  const writer = await session(t, url)
  await writer.query('BEGIN; INSERT INTO notes VALUES (1)')
  const stop = new AbortController()
  const making = createSlotWithSnapshot({ url, slot: 'waits', signal: stop.signal })
  making.catch(() => undefined)
  const watcher = await session(t, url)
  const waiting = async () => {
    const { rows } = await watcher.query(
      `SELECT 1 FROM pg_stat_activity WHERE application_name = 'banyan waits' AND wait_event_type = 'Lock'`,
    )
    return rows.length > 0
  }
  while (!(await waiting()));
  stop.abort(new Error('enough'))
  await t.rejects(making, { message: 'enough' })
  t.strictSame(await listSlots(watcher, 'waits'), [])
  await writer.query('ROLLBACK')
})

await t.test('a slot in use is dropped once its reader has gone, not before', async t => {
  const url = await database(t, 'drop')
  const { consistentPoint: from } = await createSlot({ url, slot: 'drop', signal })
  const log = { info() {} }
  const options = { url, slot: 'drop', publications: ['p'], from, signal, log }
  const stream = await openStream(options)
  const impatient = AbortSignal.timeout(150)
  await t.rejects(dropSlot({ url, slot: 'drop', signal: impatient }), { code: 'SLOT_BUSY' })
  const dropping = dropSlot({ url, slot: 'drop', signal })
  await stream[Symbol.asyncDispose]()
  t.equal(await dropping, true)
  t.equal(await dropSlot({ url, slot: 'drop', signal }), false, 'there is none any more')
})

await t.test('slots are listed with what they keep', async t => {
  const url = await database(t, 'list')
  const { consistentPoint } = await createSlot({ url, slot: 'list_a', signal })
  await createSlot({ url, slot: 'list_b', signal })
  await query(url, 'INSERT INTO notes SELECT generate_series(1, 1000)')
  const client = await session(t, url)
  const slots = await listSlots(client, 'list_')
  t.match(slots, [{ slot: 'list_a' }, { slot: 'list_b' }])
  const [first] = slots
  t.match(first, { database: 'list', activePid: null, walStatus: 'reserved', safeWalBytes: null })
  t.equal(first?.confirmed, consistentPoint)
  t.ok(first!.restart! <= consistentPoint)
  t.ok(first!.heldBytes! > 1000)
  for (const slot of ['list_a', 'list_b']) await dropSlot({ url, slot, signal })
})

await t.test('why a slot can not be made has a code each', async t => {
  const url = await database(t, 'taken')
  await createSlot({ url, slot: 'taken', signal })
  await t.rejects(createSlot({ url, slot: 'taken', signal }), { code: 'SLOT_EXISTS' })
  await dropSlot({ url, slot: 'taken', signal })
  await cluster.createRole('plain')
  const plain = cluster.url('taken', 'plain')
  await t.rejects(createSlot({ url: plain, slot: 'mine', signal }), { code: 'PRIVILEGE_MISSING' })

  const full = await testCluster(t, { settings: { max_replication_slots: '1' } })
  await createSlot({ url: full.url(), slot: 'one', signal })
  await t.rejects(createSlot({ url: full.url(), slot: 'two', signal }), {
    code: 'SLOTS_EXHAUSTED',
    details: [`127.0.0.1:${full.port}`, '1', '1', '1'],
  })
  const replica = await testCluster(t, { settings: { wal_level: 'replica' } })
  await t.rejects(createSlot({ url: replica.url(), slot: 'one', signal }), { code: 'WAL_LEVEL' })
})
