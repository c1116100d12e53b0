/**
 * The batch job does what old jobs do: it writes round the façade, and shows what the database says
 * to that.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { query, testCluster } from '../../support/cluster.ts'
import { closedGate, LEGACY_TABLES } from './ledger-schema.ts'

const cluster = await testCluster(t)
const url = await cluster.createDatabase('legacy')
await query(url, LEGACY_TABLES)

interface Job {
  /** The next line it printed. */
  next(): Promise<Record<string, unknown>>
  say(command: object): void
  endInput(): void
  readonly exited: Promise<number>
}

function startBatch(t: { teardown(action: () => void): void }, ...args: string[]): Job {
  const program = fileURLToPath(new URL('../../../examples/clinic/batch.js', import.meta.url))
  const child = spawn(process.execPath, [program, '--url', url, ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  t.teardown(() => void child.kill('SIGKILL'))
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return {
    next: async () => JSON.parse(String((await lines.next()).value)) as Record<string, unknown>,
    say: command => void child.stdin.write(JSON.stringify(command) + '\n'),
    endInput: () => child.stdin.end(),
    exited: once(child, 'exit').then(([code]) => code as number),
  }
}

const missed = async (): Promise<number> =>
  (await query(url, `SELECT 1 FROM appointments WHERE status = 'no_show'`)).length

await t.test('plain: one transaction, committed', async t => {
  const job = startBatch(t, '--from', '1', '--to', '5')
  t.match(await job.next(), { event: 'begun', mode: 'plain' })
  t.match(await job.next(), { event: 'updated', rows: 5 })
  t.match(await job.next(), { event: 'committed' })
  t.equal(await job.exited, 0)
  t.equal(await missed(), 5)
  t.strictSame(await query(url, 'SELECT DISTINCT version FROM appointments'), [{ version: 1 }])
})

await t.test('open-across: holds its transaction open until it is told to commit', async t => {
  const job = startBatch(t, '--mode', 'open-across', '--from', '11', '--to', '13')
  await job.next()
  t.match(await job.next(), { event: 'updated', rows: 3 })
  t.equal(await missed(), 5, 'nobody else sees it yet')
  const open = `SELECT count(*)::int AS open FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE a.application_name = 'noshow-batch' AND l.relation = 'appointments'::regclass
      AND l.mode = 'RowExclusiveLock'`
  t.strictSame(await query(url, open), [{ open: 1 }])
  job.say({ cmd: 'commit' })
  t.match(await job.next(), { event: 'committed' })
  t.equal(await job.exited, 0)
  t.equal(await missed(), 8)
})

await t.test(
  'open-across: rolls back when told so, and when nobody is left to say commit',
  async t => {
    for (const end of [(job: Job) => job.say({ cmd: 'rollback' }), (job: Job) => job.endInput()]) {
      const job = startBatch(t, '--mode', 'open-across', '--from', '21', '--to', '23')
      await job.next()
      await job.next()
      end(job)
      t.match(await job.next(), { event: 'rolled back' })
      t.equal(await job.exited, 0)
    }
    t.equal(await missed(), 8)
  },
)

await t.test('behind a closed gate it is refused, with the reason and the way out', async t => {
  await query(url, closedGate('appointments'))
  const job = startBatch(t, '--from', '31', '--to', '35')
  await job.next()
  t.match(await job.next(), { event: 'refused', sqlstate: 'BNY01', hint: 'write to the service' })
  t.equal(await job.exited, 3)
  t.equal(await missed(), 8)
})

await t.test('around-gate: one row is changed behind the gate, which stands as before', async t => {
  const job = startBatch(t, '--mode', 'around-gate', '--from', '31', '--to', '35')
  await job.next()
  t.match(await job.next(), { event: 'updated', rows: 1 })
  t.match(await job.next(), { event: 'committed' })
  t.equal(await job.exited, 0)
  t.equal(await missed(), 9)
  t.strictSame(
    await query(url, `SELECT tgenabled::text FROM pg_trigger WHERE tgname = 'banyan_gate'`),
    [{ tgenabled: 'A' }],
  )
  await t.rejects(query(url, 'DELETE FROM appointments'), { code: 'BNY01' })
})

await t.test('a word that it does not know ends it before it connects', async t => {
  t.equal(await startBatch(t, '--mode', 'gently').exited, 2)
})
