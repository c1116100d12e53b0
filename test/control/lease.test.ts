/** One controller at a time, also when its holder is killed, or stands still and keeps its session. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import pg from 'pg'
import t, { type Test } from 'tap'
import { readController, takeLease } from '../../control/lease.ts'
import { endSilent, HOLDER_SILENT_MS } from '../../control/silent.ts'
import { readJournal } from '../../control/store/journal.ts'
import type { Store } from '../../control/store/store.ts'
import { controlMigrations } from '../../migrations/control/control.ts'
import { migrateUp } from '../../migrations/runner.ts'
import { pause } from '../../model/pause.ts'
import { query, testCluster } from '../support/cluster.ts'

/** What operators are told; printed beside what was measured, and not judged on a machine that others use too. */
const BUDGET_MS = 2_000
/** Nobody waits longer for what must come. */
const LATE_MS = 30_000

interface Holder {
  readonly child: ChildProcess
  /** Resolves at the word, also when it was said before; milliseconds of `performance.now()`. */
  said(word: string): Promise<number>
}

function holder(t: Test, url: string, name: string): Holder {
  const program = join(import.meta.dirname, '../support/lease-process.js')
  const child = fork(program, [url, name], { execArgv: [] })
  const words = new Map<string, number>()
  child.on('message', word => void words.set(word as string, performance.now()))
  t.teardown(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  })
  return {
    child,
    async said(word) {
      const late = AbortSignal.timeout(LATE_MS)
      while (!words.has(word)) await once(child, 'message', { signal: late })
      return words.get(word)!
    },
  }
}

const cluster = await testCluster(t)

async function control(t: Test, name: string): Promise<Store> {
  const url = await cluster.createDatabase(name)
  await migrateUp(url, controlMigrations())
  const pool = new pg.Pool({ connectionString: url, max: 2 })
  t.teardown(() => pool.end())
  return { url, pool }
}

const kinds = async (store: Store) =>
  (await readJournal(store, { limit: 10 })).map(each => each.kind)

// They wait for silence: side by side that takes no longer than one of them.
t.jobs = 4
const beside = { buffered: true }

void t.test('a holder that is killed: the next one has the lease at once', beside, async t => {
  const store = await control(t, 'killed')
  const first = holder(t, store.url, 'first')
  await first.said('held')
  const second = holder(t, store.url, 'second')
  await second.said('begun')
  t.match(await readController(store), { alive: true, configPath: 'first' })
  const killedAt = performance.now()
  first.child.kill('SIGKILL')
  const ms = Math.round((await second.said('held')) - killedAt)
  t.comment(`taken over after ${ms} ms; the budget is ${BUDGET_MS} ms`)
  t.match(await readController(store), { alive: true, configPath: 'second' })
  t.strictSame(await kinds(store), [], 'it was not silent, it was gone')
})

void t.test('a holder that stands still is ended, and finds its place taken', beside, async t => {
  const store = await control(t, 'stopped')
  const first = holder(t, store.url, 'first')
  await first.said('held')
  const second = holder(t, store.url, 'second')
  await second.said('begun')
  first.child.send('publish')
  await first.said('published')
  const stoppedAt = performance.now()
  first.child.kill('SIGSTOP')
  const ms = Math.round((await second.said('held')) - stoppedAt)
  t.ok(ms > HOLDER_SILENT_MS - 1_000, `a short pause is nobody's business: ${ms} ms`)
  t.comment(`taken over after ${ms} ms, ${HOLDER_SILENT_MS} ms of them silence`)
  t.strictSame(await kinds(store), ['silent controller ended'])
  first.child.send('publish')
  first.child.kill('SIGCONT')
  await first.said('refused')
  await first.said('lost')
  t.match(await readController(store), { alive: true, configPath: 'second' })
})

void t.test('one that stands still is away, and a command takes its place', beside, async t => {
  const store = await control(t, 'alone')
  const first = holder(t, store.url, 'first')
  await first.said('held')
  const options = { configPath: 'command', wait: false, signal: new AbortController().signal }
  t.equal(await takeLease(store, options), undefined, 'while it works it is left alone')
  first.child.kill('SIGSTOP')
  const late = performance.now() + LATE_MS
  while ((await readController(store))?.alive && performance.now() < late) await pause(50)
  await using lease = await takeLease(store, options)
  t.ok(lease, 'it is taken without waiting')
  t.match(await readController(store), { alive: true, configPath: 'command' })
  first.child.kill('SIGCONT')
  await first.said('lost')
})

void t.test("a session of another role isn't ours to end", beside, async t => {
  const store = await control(t, 'foreign')
  await cluster.createRole('stranger')
  const stranger = new pg.Client(cluster.url('foreign', 'stranger'))
  await stranger.connect()
  t.teardown(() => stranger.end())
  await query(store.url, 'GRANT ALL ON SCHEMA banyan TO stranger')
  const owner = new pg.Client(store.url)
  await owner.connect()
  t.teardown(() => owner.end())
  await owner.query('SELECT pg_advisory_lock(42)')
  await pause(HOLDER_SILENT_MS)
  t.equal(await endSilent(stranger, { classId: 0, objId: 42 }), false)
  await owner.query('SELECT 1')
})
