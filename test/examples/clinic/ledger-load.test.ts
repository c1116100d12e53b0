/**
 * The load tells the truth about its own requests: on disk before they leave, counted once, in the
 * right row.
 */
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { failureRow, toldBy } from '../../../examples/clinic/load/failure.ts'
import { createHttpClient } from '../../../examples/clinic/load/http-client.ts'
import { checkLedger, type LedgerReport } from '../../../examples/clinic/ledger.ts'
import { query } from '../../support/cluster.ts'
import { closedGate } from './ledger-schema.ts'
import { stage, startLoad, type RunningLoad } from './ledger-load.ts'

const { clinic, databaseUrl } = await stage(t)
const owner = { side: 'legacy', url: databaseUrl } as const
const check = (load: RunningLoad): Promise<LedgerReport> =>
  checkLedger({
    journal: load.journal,
    owner: { appointments: owner, patients: owner },
    legacy: databaseUrl,
  })
t.afterEach(() => {
  clinic.interfere = () => false
})
const isWrite = (method: string | undefined, url: string | undefined): boolean =>
  method !== 'GET' && url !== '/api/login'

await t.test('an intent is on disk before its request arrives', async t => {
  const load = await startLoad(t, clinic.url, ['--reads', '0', '--writes', '120'])
  const arrived = new Map<string, number>()
  let late = 0
  let seen = 0
  clinic.interfere = async ({ method, url }) => {
    const id = /^\/api\/appointments\/(\d+)$/.exec(url ?? '')?.[1]
    if (id === undefined || method === 'GET') return false
    const key = `"kind":"${method === 'PATCH' ? 'patch' : 'delete'}","appointment":${id}`
    arrived.set(key, (arrived.get(key) ?? 0) + 1)
    const meant = (await readFile(load.journal, 'utf8')).split(key).length - 1
    if (meant < (arrived.get(key) ?? 0)) late++
    seen++
    return false
  }
  await load.until(150)
  t.ok(seen > 20)
  t.equal(late, 0)
  await load.kill()
})

await t.test(
  'each failure is counted once, in its row, and what was refused is not looked for',
  async t => {
    const load = await startLoad(t, clinic.url, ['--reads', '60', '--writes', '120'])
    const answer = (response: ServerResponse, status: number, reason?: string): true => {
      response.writeHead(status, reason === undefined ? {} : { 'x-banyan': reason }).end('{}')
      return true
    }
    let visits = 0
    clinic.interfere = async ({ method, url = '' }, response) => {
      if (method === 'PATCH' && url.startsWith('/api/appointments/'))
        return answer(response, 503, 'hold-expired')
      if (method === 'DELETE') return answer(response, 500)
      if (url === '/api/prescriptions') return answer(response, 500)
      if (url.endsWith('/take')) return answer(response, 504, 'upstream-timeout')
      const patient = /^\/api\/patients\/(\d+)\/visits$/.exec(url)?.[1]
      if (patient === undefined) return false
      // Every second one is done all the same: the client can't know, and the ledger must allow
      // both.
      if (visits++ % 2 === 0) {
        await query(databaseUrl, 'UPDATE patients SET visits = visits + 1 WHERE id = $1', [patient])
      }
      response.destroy()
      return true
    }
    await load.line(line => line.failed >= 60)
    const paused = await load.ask({ cmd: 'pause' })
    t.ok(paused.failures.banyan > 0)
    t.ok(paused.failures.gateSlice > 0)
    t.ok(paused.failures.gateOther > 0)
    t.ok(paused.failures.unknown > 0)
    t.equal(
      Object.values(paused.failures as Record<string, number>).reduce(
        (sum, count) => sum + count,
        0,
      ),
      paused.failed,
    )
    t.equal(paused.sent, paused.ok + paused.failed)
    t.match(Object.keys(paused.failureDetails as object).sort(), [
      'banyan 503 hold-expired',
      'banyan 504 upstream-timeout',
      'gateOther 500',
      'gateSlice 500',
      /^unknown reset /,
    ])
    const report = await check(load)
    t.strictSame(report.findings.examples, [])
    t.ok(report.told.no > 0)
    t.ok(report.told.unknown > 0)
    await load.kill()
  },
)

await t.test('what has no socket in time is unsent, and offered is sent and unsent', async t => {
  const load = await startLoad(t, clinic.url, [
    ...['--reads', '20', '--writes', '40', '--sockets', '1'],
    ...['--budget', '100ms', '--timeout', '500ms'],
  ])
  clinic.interfere = ({ method, url }) => isWrite(method, url)
  await load.line(line => line.unsent > 10)
  const paused = await load.ask({ cmd: 'pause' })
  t.equal(paused.offered, paused.sent + paused.unsent)
  t.ok(paused.failures.unknown > 0, 'no answer within the time-out')
  t.ok((await check(load)).clean)
  await load.kill()
})

await t.test(
  'the pause is measured by the client: the longest gap and the slowest write, per slice',
  async t => {
    const load = await startLoad(t, clinic.url, ['--reads', '20', '--writes', '100'])
    await load.until(60)
    await load.ask({ cmd: 'pause-window' })
    const held: (() => void)[] = []
    let since = 0
    let waited: (enough: true) => void
    const enough = new Promise<true>(resolve => (waited = resolve))
    clinic.interfere = async ({ method, url = '' }) => {
      if (!isWrite(method, url) || url.startsWith('/api/patients') || url === '/api/prescriptions')
        return false
      since ||= performance.now()
      if (performance.now() - since > 300) waited(true)
      await new Promise<void>(resolve => held.push(resolve))
      return false
    }
    await enough
    const heldMs = performance.now() - since
    clinic.interfere = () => false
    for (const release of held) release()
    await load.until(100)
    const { pauseWindow } = await load.ask({ cmd: 'pause-window' })
    t.ok(
      pauseWindow.appointments.longestGapMs >= heldMs,
      'nothing was acknowledged while it was held',
    )
    t.ok(pauseWindow.appointments.largestLatencyMs >= heldMs)
    t.ok(pauseWindow.appointments.largestSentLatencyMs >= heldMs)
    t.ok(pauseWindow.appointments.acknowledged > held.length)
    t.ok(pauseWindow.patients.acknowledged > 0)

    await load.ask({ cmd: 'pause' })
    await load.ask({ cmd: 'pause-window' })
    const { pauseWindow: still } = await load.ask({ cmd: 'pause-window' })
    t.strictSame(still.appointments.longestGapMs, null, 'a load that was paused measures no gap')
    await load.kill()
  },
)

await t.test(
  'a load that is killed leaves a journal by which the ledger can still judge',
  async t => {
    const load = await startLoad(t, clinic.url, ['--reads', '0', '--writes', '100'])
    await load.until(50)
    let stopped: (held: true) => void
    const holding = new Promise<true>(resolve => (stopped = resolve))
    let held = 0
    clinic.interfere = ({ method, url }) => {
      if (!isWrite(method, url)) return false
      if (++held === 20) stopped(true)
      return true
    }
    await holding
    await load.kill()
    const report = await check(load)
    t.ok(report.told.unknown >= 20)
    t.ok(report.clean)
    t.equal(report.totals, undefined)
  },
)

await t.test('a load whose parent dies stops by itself, with its journal whole', async t => {
  const load = await startLoad(t, clinic.url, ['--reads', '50', '--writes', '50'])
  await load.until(20)
  load.endInput()
  t.equal(await load.exited, 0)
  const done = await load.line(line => line.done === true)
  const report = await check(load)
  t.ok(report.clean)
  t.equal(report.told.ok, done.told.ok)
})

await t.test('a load ends after its duration, and refuses words it does not know', async t => {
  const load = await startLoad(t, clinic.url, [
    '--reads',
    '10',
    '--writes',
    '10',
    '--duration',
    '1s',
  ])
  t.match(await load.ask({ cmd: 'dance' }), { why: /unknown command/ })
  t.match(await load.ask({ cmd: 'report' }), { report: { latency: { reads: {}, writes: {} } } })
  t.equal(await load.exited, 0)
})

await t.test(
  'a direct writer is refused by a closed gate, and what it was told ok must be there',
  async t => {
    const load = await startLoad(t, clinic.url, [
      ...['--reads', '0', '--writes', '0', '--direct', databaseUrl],
    ])
    await load.until(1)
    await query(databaseUrl, closedGate('appointments'))
    await load.line(line => line.failed > 0)
    const paused = await load.ask({ cmd: 'pause' })
    t.equal(paused.failures.direct, paused.failed)
    t.ok(paused.failureDetails['direct BNY01'] > 0)
    t.equal(paused.offered, 0, 'a direct write is no request')
    await query(databaseUrl, 'DROP TRIGGER banyan_gate ON appointments')
    t.ok((await check(load)).clean)

    const journal = await readFile(load.journal, 'utf8')
    const id = /"kind":"direct","appointment":(\d+)/.exec(journal)?.[1]
    await query(databaseUrl, `UPDATE appointments SET status = 'lost' WHERE id = $1`, [id])
    t.equal((await check(load)).findings.counts.content, 1)
    await load.kill()
  },
)

await t.test('an end is believed for what it is', async t => {
  const answered = (status: number, reason?: string) =>
    ({ kind: 'answer', status, headers: {}, text: '', ...(reason ? { reason } : {}) }) as const
  t.equal(failureRow('appointments', answered(200)), undefined)
  t.equal(failureRow('appointments', answered(409)), undefined)
  t.equal(failureRow('appointments', answered(429)), 'gateSlice')
  t.equal(failureRow('other', answered(500)), 'gateOther')
  t.equal(failureRow('patients', answered(503, 'hold-overflow')), 'banyan')
  t.equal(failureRow('patients', { kind: 'timeout', code: '' }), 'unknown')
  t.equal(failureRow('patients', { kind: 'refused', code: '' }), 'banyan')
  t.equal(toldBy(answered(201)), 'ok')
  t.equal(toldBy(answered(500)), 'no')
  t.equal(toldBy(answered(503, 'hold-expired')), 'no')
  t.equal(toldBy(answered(502)), 'unknown')
  t.equal(toldBy({ kind: 'reset', code: '' }), 'unknown')
  t.equal(toldBy({ kind: 'refused', code: '' }), 'no')
})

await t.test('a connection that was never made is told from one that broke', async t => {
  const server = createServer(request => request.socket.destroy())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const target = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const client = createHttpClient({ target, sockets: 1, timeoutMs: 2_000 })
  t.match(await client.call({ method: 'GET', path: '/' }), { kind: 'reset' })
  server.close()
  await once(server, 'close')
  t.match(await client.call({ method: 'GET', path: '/' }), {
    kind: 'refused',
    code: 'ECONNREFUSED',
  })
  client.close()
})
