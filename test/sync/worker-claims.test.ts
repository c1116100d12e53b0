/** Only the worker that has the claim tries a stream; whoever has lost it stops, and one that still reads is left alone. */
import pg from 'pg'
import t, { type Test } from 'tap'
import type { Stage } from '../../model/stage.ts'
import { pause } from '../../model/pause.ts'
import { createSyncStore } from '../../control/sync-store.ts'
import { settlementOf } from '../../control/cutover-runner.ts'
import { append } from '../../control/store/journal.ts'
import { readSlices } from '../../control/store/slices.ts'
import type { StreamContext } from '../../sync/stream-run.ts'
import { runWorker } from '../../sync/worker.ts'
import { must } from '../../model/errors.ts'
import { query } from '../support/cluster.ts'
import { flip, inStep, until } from '../support/flipping.ts'
import { type MovingSlice, movingSlice } from '../support/moving-slice.ts'

const STREAM = 'legacy>rooms:visits'

async function eventually(what: string, condition: () => boolean): Promise<void> {
  const late = performance.now() + 15_000
  while (!condition()) {
    if (performance.now() > late) throw new Error(`never: ${what}`)
    await pause(5, new AbortController().signal)
  }
}

await t.test('each attempt asks for the claim first', async t => {
  let mine = true
  const asked: boolean[] = []
  let failures = 0
  const nowhere = 'postgres://nobody@127.0.0.1:1/none'
  const urls = { setup: nowhere, apply: nowhere, capture: nowhere }
  const slice = {
    name: 'visits',
    service: 'rooms',
    tables: { visits: { to: 'visit', columns: {}, left: [] } },
  }
  const project = { slices: [slice], banyan: { services: { rooms: { copies: [] } } } }
  const store: Partial<StreamContext['store']> = {
    stages: async () => new Map<string, Stage>([['visits', 'shadow']]),
    claim: async name => {
      if (name === STREAM) asked.push(mine)
      return mine
    },
    predecessorSilent: async () => false,
    state: async name => void (name === STREAM && (failures += 1)),
    known: async () => [],
  }
  const stop = new AbortController()
  const worker = runWorker(
    {
      wiring: { project, legacy: urls, services: { rooms: urls } },
      store,
      log: { info: () => undefined, warn: () => undefined },
      delayMs: 0,
    } as unknown as StreamContext,
    stop.signal,
  )
  t.teardown(async () => {
    stop.abort()
    await worker
  })
  await eventually('three attempts', () => failures >= 3)
  mine = false
  asked.length = 0
  await eventually('the claim is asked for', () => asked.length >= 3)
  const before = failures
  asked.length = 0
  await eventually('it stands by', () => asked.length >= 3)
  t.equal(failures, before, 'nothing is tried without it')
  mine = true
  await eventually('it tries again', () => failures > before)
})

async function streaming(t: Test, moving: MovingSlice): Promise<void> {
  await until(moving, 'the slice', async () => (await readSlices(moving.store.pool)).length > 0)
  t.match(await flip(moving, 'sync'), { outcome: 'done', error: null })
  await inStep(moving)
}

const workerOf = async (moving: MovingSlice) =>
  (
    await query<{ worker: string }>(
      moving.service,
      'SELECT worker::text FROM banyan.progress WHERE stream = $1',
      [STREAM],
    )
  )[0]?.worker

await t.test(
  'a worker that has lost its claim stops, and goes on once it has it again',
  async t => {
    const moving = await movingSlice(t)
    await streaming(t, moving)
    const other = new pg.Client(moving.store.url)
    await other.connect()
    t.teardown(() => other.end())
    const taken = async () => {
      await other.query(
        `SELECT pg_terminate_backend(pid, 5000) FROM pg_locks
       WHERE locktype = 'advisory' AND classid = ${0x424e5953}::oid AND pid <> pg_backend_pid()`,
      )
      const { rows } = await other.query<{ got: boolean }>(
        `SELECT pg_try_advisory_lock(${0x424e5953}, hashtext($1)) AS got`,
        [STREAM],
      )
      return rows[0]!.got
    }
    await until(moving, 'the claim is ours', taken)
    const reader = async () =>
      (
        await query<{ pid: number | null }>(
          moving.legacy,
          `SELECT active_pid AS pid FROM pg_replication_slots WHERE slot_name = 'banyan_visits_forward'`,
        )
      )[0]?.pid
    await until(moving, 'nobody reads the slot', async () => (await reader()) === null)
    await other.query('SELECT pg_advisory_unlock_all()')
    await until(moving, 'it is read again', async () => (await reader()) !== null)
    await inStep(moving)

    await t.test('what one that stood still has left open is ended by its successor', async t => {
      await until(moving, 'the claim is ours', taken)
      await until(moving, 'nobody reads the slot', async () => (await reader()) === null)
      const left = new pg.Client({
        connectionString: moving.wiring.services['rooms']!.apply,
        application_name: `banyan ${STREAM}`,
      })
      left.on('error', () => undefined)
      await left.connect()
      const gone = new Promise<void>(resolve => void left.once('end', resolve))
      await left.query('BEGIN')
      await left.query('SELECT 1 FROM banyan.progress WHERE stream = $1 FOR UPDATE', [STREAM])
      await append(moving.store.pool, {
        ...{ actor: 'worker', slice: null, kind: 'silent worker ended' },
      })
      await other.query('SELECT pg_advisory_unlock_all()')
      await gone
      await until(moving, 'it is read again', async () => (await reader()) !== null)
      await inStep(moving)
      t.pass('it goes on')
    })
  },
)

await t.test('whoever has the claim leaves alone what another still reads', async t => {
  const moving = await movingSlice(t)
  await streaming(t, moving)
  const first = await workerOf(moving)
  const stop = new AbortController()
  const busy: unknown[] = []
  const store = createSyncStore(moving.store, moving.wiring)
  const second = runWorker(
    {
      wiring: moving.wiring,
      store: { ...store, claim: async name => name === STREAM },
      log: {
        info: () => undefined,
        warn: fields => void busy.push((fields as { err?: { code?: string } }).err?.code),
      },
      delayMs: 0,
      settlement: (task, sessions) => settlementOf(must(task.slice, 'slice'), sessions, 1000),
    },
    stop.signal,
  )
  t.teardown(async () => {
    stop.abort()
    await second
    await store[Symbol.asyncDispose]()
  })
  await eventually('an attempt has ended', () => busy.length > 0)
  t.equal(busy[0], 'SLOT_BUSY')
  t.equal(await workerOf(moving), first)
})
