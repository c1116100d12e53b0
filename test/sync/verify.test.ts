import t from 'tap'
import type { Change } from '../../model/change.ts'
import { LSN_ZERO } from '../../model/position.ts'
import { connect } from '../../postgres/connection.ts'
import { verifySlice } from '../../sync/verify/slice.ts'
import type { ComparedTable } from '../../sync/verify/table.ts'
import { waitedFor } from '../../sync/verify/writers.ts'
import { TouchedKeys } from '../../sync/verify/touched.ts'
import { query, testCluster } from '../support/cluster.ts'

const TABLE: ComparedTable = {
  source: 'public.here',
  target: 'public.there',
  columns: new Map([
    ['id', 'id'],
    ['v', 'w'],
  ]),
  key: [{ column: 'id', type: 'bigint' }],
}

function wrote(id: string): Change {
  return {
    op: 'u',
    schema: 'public',
    table: 'here',
    before: null,
    after: new Map([['id', id]]),
    key: ['id'],
  }
}

void t.test('keys that were written', async t => {
  const cluster = await testCluster(t)
  await query(
    cluster.url(),
    `CREATE TABLE here (id bigint PRIMARY KEY, v text); CREATE TABLE there (id bigint PRIMARY KEY, w text);
     INSERT INTO here VALUES (1, 'a'), (2, 'b'); INSERT INTO there VALUES (1, 'a'), (2, 'other')`,
  )
  const client = await connect({ url: cluster.url(), applicationName: 'test', rawText: true })
  t.teardown(() => client.end())

  await t.test('before a verification are forgotten by it, those after it are not', async t => {
    const touched = new TouchedKeys([TABLE], { max: 100, onForgotten: () => undefined })
    touched.add('public.here', wrote('1'))
    touched.mark()
    touched.add('public.here', wrote('2'))
    touched.forget()
    t.match(await touched.compare(client, client), { keys: 1, differences: 1 })
  })

  await t.test('and are too many, or gone with a TRUNCATE, are told of, once', async t => {
    let told = 0
    const touched = new TouchedKeys([TABLE], { max: 1, onForgotten: () => (told += 1) })
    touched.add('public.here', wrote('1'))
    t.equal(told, 0)
    for (const key of ['2', '3']) touched.add('public.here', wrote(key))
    t.equal(told, 1)
    t.match(await touched.compare(client, client), { keys: 1, forgotten: 2 })
    touched.clear()
    touched.add('public.here', { ...wrote('1'), op: 't', before: null, after: null })
    t.equal(told, 2)
  })

  await t.test('are all kept where the verification came to nothing', async t => {
    const touched = new TouchedKeys([TABLE], { max: 100, onForgotten: () => undefined })
    touched.add('public.here', wrote('1'))
    touched.mark()
    touched.add('public.here', wrote('2'))
    touched.mark()
    t.match(await touched.compare(client, client), { keys: 2, differences: 1 })
  })
})

void t.test('a verification that fails ends, and leaves no slot behind', async t => {
  const cluster = await testCluster(t)
  const url = cluster.url()
  const urls = { setup: url, apply: url, capture: url }
  const stop = new AbortController()
  const result = await verifySlice({
    sides: { source: urls, target: urls },
    tables: [],
    slot: 'banyan_test_verify',
    signal: stop.signal,
    atPosition: () => undefined,
    // The applier comes to the first stop, then ends before the second.
    set: barrier => {
      if (barrier?.at === LSN_ZERO) void barrier.reached().then(() => stop.abort())
    },
  })
  t.match(result, { error: { code: 'VERIFY_FAILED' } })
  t.same(await query(url, 'SELECT slot_name FROM pg_replication_slots'), [])
})

void t.test('a transaction that is open is waited for while the stream goes on', async t => {
  const cluster = await testCluster(t)
  const url = cluster.url()
  const urls = { setup: url, apply: url, capture: url }
  await query(url, 'CREATE TABLE elsewhere (id int)')
  const begun = async () => {
    const client = await connect({ url, applicationName: 'nightly' })
    t.teardown(() => client.end())
    await client.query('BEGIN; INSERT INTO public.elsewhere VALUES (1)')
    return client
  }
  const looking = await connect({ url, applicationName: 'test' })
  t.teardown(() => looking.end())
  const first = await begun()
  let stops = 0
  let second: Awaited<ReturnType<typeof begun>> | undefined
  const verified = verifySlice({
    sides: { source: urls, target: urls },
    tables: [],
    slot: 'banyan_test_verify',
    signal: new AbortController().signal,
    atPosition: () => undefined,
    set: barrier => {
      if (!barrier) return
      stops += 1
      void (async () => {
        // One that begins between the wait and the slot.
        if (stops === 1) second = await begun()
        await barrier.reached()
        if (stops === 1) await second?.query('COMMIT')
      })()
    },
  })
  let who: string | undefined
  while (who === undefined) who = await waitedFor(looking)
  t.match(who, /^pid \d+, nightly as \w+$/)
  t.equal(stops, 0, 'the stream was not asked to stand still')
  await first.query('COMMIT')
  t.match(await verified, { tables: [] })
  t.equal(stops, 3, 'it was let go once, and stood still twice more')
  t.equal(await waitedFor(looking), undefined)
  t.same(await query(url, 'SELECT slot_name FROM pg_replication_slots'), [])
})
