import t, { type Test } from 'tap'
import { installSlice } from '../../control/install.ts'
import { settlementOf } from '../../control/cutover-runner.ts'
import { readSlices } from '../../control/store/slices.ts'
import { must } from '../../model/errors.ts'
import { CensusCount } from '../../sync/apply/census.ts'
import { switchCensus } from '../../sync/census-switch.ts'
import type { StreamTask } from '../../sync/plan.ts'
import type { Census } from '../../sync/ports.ts'
import type { SyncStore } from '../../sync/store.ts'
import { endStream } from '../../sync/stream-begin.ts'
import { runStream, type StreamContext } from '../../sync/stream-run.ts'
import { familyOf } from '../../sync/writer-name.ts'
import { connect } from '../../postgres/connection.ts'
import { query } from '../support/cluster.ts'
import { until } from '../support/flipping.ts'
import { movingSlice, type MovingSlice } from '../support/moving-slice.ts'

void t.test('a name without what differs between processes', async t => {
  const FAMILIES: readonly (readonly [string, string])[] = [
    ['', ''],
    ['clinic', 'clinic'],
    ['noshow-batch', 'noshow-batch'],
    ['clinic-17', 'clinic-*'],
    ['web12', 'web*'],
    ['puma: cluster worker 3: 8123 [clinic]', 'puma: cluster worker *: * [clinic]'],
    ['app - 10.0.0.7:51234', 'app - *.*.*.*:*'],
    ['web-7d9f8b6c5-x2x9q', 'web-*'],
    ['web-7d9f8b6c5x-kxlqz', 'web-*'],
    ['req 0f8fad5b-d9cb-469f-a165-70867728950e', 'req *'],
    ['req 9f86d081884c7d65', 'req *'],
    // Letters around one number are a name.
    ['s3sync', 's*sync'],
    ['nightly-export', 'nightly-export'],
  ]
  for (const [name, family] of FAMILIES) {
    t.equal(familyOf(name), family, name)
    t.equal(familyOf(family), family, 'a family is its own')
  }
})

const wrote = (application: string, slice = 'visits') =>
  JSON.stringify({ slice, role: 'app', application })

void t.test('what is counted', async t => {
  const count = new CensusCount('visits', new Set(['public.visits', 'public.seats']))

  await t.test('is nothing while nobody writes the slice', async t => {
    count.change('public.bills')
    count.commit()
    count.writer(wrote('clinic', 'another'))
    t.equal(count.take(), undefined, 'the gates of other slices speak in the same stream')
  })

  await t.test('is each other table once for each transaction', async t => {
    for (const table of ['public.bills', 'public.visits', 'public.bills', 'public.seats'])
      count.change(table)
    count.commit()
    count.change('public.bills')
    count.commit()
    t.match(count.take(), { transactions: 1, tables: new Map([['public.bills', 1]]) })
    t.equal(count.take(), undefined, 'and told once')
  })

  await t.test('is bounded, whatever applications call themselves', async t => {
    const letters = (n: number) =>
      String(n).replaceAll(/\d/g, digit => 'abcdefghij'[Number(digit)]!)
    for (let n = 0; n < 1000; n += 1) {
      count.writer(wrote(`clinic-${n}`))
      count.writer(wrote(letters(n)))
    }
    const writers = count.take()?.writers ?? []
    t.ok(writers.length <= 101, `${writers.length} writers`)
    t.match(writers[0], { application: 'clinic-*', transactions: 1000 })
    const all = writers.reduce((sum, each) => sum + each.transactions, 0)
    t.equal(all, 2000, 'none is left out')
    t.ok(writers.some(each => each.application === '(others)'))
  })
})

const never = new AbortController().signal
const SLICE = { from: 'legacy', to: 'rooms', what: 'visits' } as const

/** A store that keeps nothing: what a stream needs of it, and what it counted. */
function memoryStore() {
  const counted: Census[] = []
  let heard: () => void = () => undefined
  /** Resolves when the next stream streams. */
  const streaming = () => new Promise<void>(resolve => (heard = resolve))
  const store: SyncStore = {
    stages: async () => new Map(),
    claim: async () => true,
    predecessorSilent: async () => false,
    state: async (_stream, _slice, state) => {
      if (state === 'streaming') heard()
    },
    progress: () => undefined,
    streaming: async () => false,
    known: async () => [],
    forget: async () => undefined,
    rogue: async () => undefined,
    refused: async () => undefined,
    census: (_slice, census) => void counted.push(census),
    verifications: async () => [],
    verified: async () => undefined,
    outdate: async () => undefined,
    returned: async () => undefined,
    copied: async () => undefined,
    cascades: async () => new Map(),
  }
  return { store, counted, streaming }
}

async function installed(t: Test): Promise<MovingSlice> {
  const moving = await movingSlice(t)
  const known = async () => (await readSlices(moving.store.pool)).length > 0
  await until(moving, 'the slice is known', known)
  await installSlice(moving, must(moving.wiring.project.slices[0], 'the slice'))
  return moving
}

void t.test('the gate says who writes only while somebody counts', async t => {
  const moving = await installed(t)
  const slice = must(moving.wiring.project.slices[0], 'the slice')
  const { store, counted, streaming } = memoryStore()
  const context: StreamContext = {
    wiring: moving.wiring,
    store,
    log: { info: () => undefined, warn: () => undefined },
    delayMs: 0,
    settlement: (_task, sessions) => settlementOf(slice, sessions, 1000),
  }
  const task: StreamTask = { stream: SLICE, slice, service: 'rooms', census: true }
  const word = async () => {
    const [row] = await query<{ word: number }>(
      moving.legacy,
      'SELECT last_value::int AS word FROM banyan.census_1',
    )
    return row?.word
  }
  const start = async (census: boolean) => {
    const stop = new AbortController()
    const begun = streaming()
    // A copy begins with the slot of the one before.
    await query(
      moving.legacy,
      `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = 'banyan_visits_forward'`,
    )
    const ended = runStream(context, { ...task, census }, stop.signal).then(
      () => 'ended',
      (error: { code?: string }) => error.code ?? 'aborted',
    )
    await Promise.race([begun, ended])
    return { stop, ended }
  }

  await t.test('it is on while the stream counts, and off when it is told to end', async t => {
    t.equal(await word(), 0)
    const run = await start(true)
    t.equal(await word(), 1)
    run.stop.abort()
    await run.ended
    t.equal(await word(), 0)
  })

  await t.test('a transaction says it once, however many statements it sends', async t => {
    counted.length = 0
    const run = await start(true)
    const client = await moving.legacyApp.connect()
    await client.query(`BEGIN;
      INSERT INTO visits (op, doctor_id) SELECT gen_random_uuid(), 1 FROM generate_series(1, 3);
      UPDATE seats SET taken = 1; UPDATE seats SET taken = 2`)
    await client.query('SAVEPOINT s; UPDATE seats SET taken = 3; ROLLBACK TO s; COMMIT')
    // What was undone with its savepoint said nothing, so the next one speaks.
    await client.query('BEGIN; SAVEPOINT s; UPDATE seats SET taken = 4; ROLLBACK TO s')
    await client.query('UPDATE seats SET taken = 5; COMMIT')
    await client.query('BEGIN; UPDATE seats SET taken = 6; ROLLBACK')
    client.release()
    const transactions = () => counted.reduce((sum, each) => sum + each.transactions, 0)
    await until(moving, 'counted', async () => transactions() >= 2)
    run.stop.abort()
    await run.ended
    t.strictSame(
      counted.flatMap(each => each.writers).reduce((sum, each) => sum + each.transactions, 0),
      2,
    )
    t.equal(transactions(), 2)
  })

  await t.test('what another stream brings is not the monolith’s', async t => {
    counted.length = 0
    const run = await start(true)
    // A slice that has moved comes back this way, and what hangs on its rows with it.
    await query(
      moving.wiring.legacy.apply,
      `BEGIN;
       INSERT INTO banyan.progress (stream, worker, position) VALUES ('people>legacy:patients', gen_random_uuid(), '0/1');
       UPDATE public.bills SET amount = 2; INSERT INTO public.bills (amount) VALUES (1);
       DELETE FROM public.visits WHERE id = 1; COMMIT`,
    )
    await query(moving.legacy, 'UPDATE seats SET taken = 7')
    const transactions = () => counted.reduce((sum, each) => sum + each.transactions, 0)
    await until(moving, 'counted', async () => transactions() >= 1)
    run.stop.abort()
    await run.ended
    t.equal(transactions(), 1)
    t.strictSame(
      counted.flatMap(each => [...each.tables]),
      [],
    )
  })

  await t.test('it is off when the stream is lost', async t => {
    const run = await start(true)
    t.equal(await word(), 1)
    await query(
      moving.legacy,
      `SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = 'banyan_visits_forward'`,
    )
    t.equal(await run.ended, 'STREAM_LOST')
    t.equal(await word(), 0)
  })

  await t.test('what a killed worker left on is turned off by the next', async t => {
    const session = await connect({ url: moving.wiring.legacy.apply, applicationName: 'test' })
    t.teardown(() => session.end())
    await switchCensus(session, 'visits', true)
    const run = await start(false)
    t.equal(await word(), 0, 'by a stream that does not count')
    run.stop.abort()
    await run.ended
    await switchCensus(session, 'visits', true)
    await endStream(context, { ...task, slice: undefined, census: false }, never)
    t.equal(await word(), 0, 'by whoever takes the stream down')
  })
})
