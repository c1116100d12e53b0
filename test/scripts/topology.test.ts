/** The example of docs/deploy/compose.yaml, as processes on loopback: what it says runs, and goes on when parts die. */
import { execFile } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { streamsOf } from '../../control/slice-streams.ts'
import { HOLDER_SILENT_MS } from '../../control/silent.ts'
import { readController } from '../../control/lease.ts'
import { readFlips } from '../../control/store/flips.ts'
import { readRouters } from '../../control/store/routers.ts'
import { readStreams } from '../../control/store/streams.ts'
import { must } from '../../model/errors.ts'
import { findSlice } from '../../scripts/control-store.ts'
import { foldersOf } from '../../scripts/folders.ts'
import { type Demo, flip, query, until, verify } from '../../scripts/demo/stage.ts'
import { report } from '../../scripts/demo/report.ts'
import { toCanary } from '../../scripts/demo/story.ts'
import { type Part, startPart } from '../../scripts/supervise.ts'
import { type Balancer, balancer } from '../support/balancer.ts'
import { clinic } from '../support/clinic.ts'
import { testCluster } from '../support/cluster.ts'
import { composed, type Processes } from '../support/deploy-files.ts'

const SLICE = 'appointments'
/** What operators are told; printed beside what was measured, and not judged on a machine that others use too. */
const BUDGET_MS = 2_000
const BANYAN = join(import.meta.dirname, '../../scripts/banyan.js')
const run = promisify(execFile)

interface Topology {
  readonly parts: Map<string, Part[]>
  balancer: Balancer | undefined
  /** Starts the next process of that name. */
  start(name: string): Promise<Part>
  url: string
}

/** As the example has it, but for the addresses: ports that are free, and secrets that are the clinic's. */
async function topologyOf(t: Test, config: string): Promise<Topology> {
  const { parts: wanted, once } = await composed()
  const cluster = await testCluster(t)
  const url = await cluster.createDatabase('banyan')
  await writeFile(join(dirname(config), 'secrets/control.url'), url, { mode: 0o600 })
  const text = await readFile(config, 'utf8')
  const changed = text
    .replace('database: embedded', 'database: file:secrets/control.url')
    .replace(/listen: .*:\d+/, 'listen: 127.0.0.1:0')
  await writeFile(config, changed)
  for (const { command } of once) {
    await run(process.execPath, [BANYAN, ...command, '--config', config])
  }
  const parts = new Map(wanted.map(({ name }) => [name, [] as Part[]]))
  return {
    parts,
    balancer: undefined,
    url,
    async start(name) {
      const { command } = must<Processes>(
        wanted.find(each => each.name === name),
        name,
      )
      const running = parts.get(name)!
      const part = await startPart({
        name: `${name}-${running.length + 1}`,
        script: BANYAN,
        args: [...command, '--config', config],
        folder: foldersOf(config).state,
      })
      t.teardown(() => part[Symbol.asyncDispose]())
      running.push(part)
      return part
    },
  }
}

/** Who applies the stream that carries the changes of the slice's owner. */
async function workerOf({ databases }: Demo, stream: string): Promise<string | undefined> {
  const [row] = await query<{ worker: string }>(
    databases.superuser[stream.endsWith('>legacy:appointments') ? 'legacy' : 'scheduling'],
    'SELECT worker::text FROM banyan.progress WHERE stream = $1',
    [stream],
  )
  return row?.worker
}

async function holderOf(url: string): Promise<string | undefined> {
  const [row] = await query<{ holder: string }>(url, 'SELECT holder::text FROM banyan.controller')
  return row?.holder
}

/** Milliseconds from the signal until somebody else is there. */
async function takeOver(
  demo: Demo,
  what: string,
  act: () => void,
  who: () => Promise<string | undefined>,
): Promise<number> {
  const before = await who()
  const at = performance.now()
  act()
  await until(demo, what, async () => (await who()) !== before)
  return Math.round(performance.now() - at)
}

async function inStep(demo: Demo): Promise<void> {
  const { slice } = await findSlice(demo.opened, SLICE)
  const { services } = demo.opened.wiring.project.banyan
  await until(demo, 'streams in step', async () => {
    const streams = streamsOf(slice, await readStreams(demo.opened.store), services)
    return streams.every(each => each.state === 'streaming' && (each.silentMs ?? Infinity) < 1_000)
  })
}

/** Flips until it is done: what was begun when a part died may have been undone, or be refused for its streams. */
async function moved(demo: Demo, to: 'moved' | 'canary'): Promise<void> {
  await until(demo, `at ${to}`, async () => {
    await inStep(demo)
    if (to === 'moved') await verify(demo, SLICE)
    return (await flip(demo, SLICE, to)).outcome === 'done'
  })
}

void t.test('the topology of the example goes on when its parts die or stand still', async t => {
  let topology: Topology | undefined
  const { environment } = await clinic(t, {
    async start(config, facade) {
      const made = await topologyOf(t, config)
      topology = made
      const controller = await made.start('control')
      const sync = await made.start('sync')
      const routers = [await made.start('router')]
      while (routers.length < 3) routers.push(await made.start('router'))
      const urls = routers.map(each => must(each.url, 'where it listens'))
      made.balancer = await balancer(t, { port: facade, routers: urls })
      return {
        ...{ controller, standby: controller, sync, router: routers[0]! },
        control: { cluster: undefined, url: made.url, async [Symbol.asyncDispose]() {} },
        async [Symbol.asyncDispose]() {},
      }
    },
  })
  const { demo } = environment
  const { store } = demo.opened
  const { parts, start, url, balancer: front } = must(topology, 'the topology')
  const [leader] = parts.get('control')!
  const [worker] = parts.get('sync')!
  await until(demo, 'a controller', async () => (await readController(store))?.alive ?? false)
  await toCanary(demo, SLICE)
  t.equal(
    (await demo.load.report()).stale,
    0,
    'clients read their own writes, by turns through all',
  )
  // Standbys come when the others work: so it is known who does.
  const standby = await start('control')
  const second = await start('sync')
  const { parts: wanted } = await composed()
  t.strictSame(
    [...parts].map(([name, list]) => ({ name, replicas: list.length })),
    wanted.map(({ name, replicas }) => ({ name, replicas })),
    'all that the example names runs',
  )
  t.equal((await readRouters(store)).length, 3)

  const flipping = flip(demo, SLICE, 'moved')
  await until(demo, 'its fence', async () => {
    const [row] = await readFlips(store, { slice: SLICE, limit: 1 })
    return row?.to === 'moved' && row.steps.some(each => each.step === 'fence')
  })
  const led = await takeOver(
    demo,
    'another controller',
    () => leader!.kill('SIGKILL'),
    () => holderOf(url),
  )
  const { outcome } = await flipping
  t.comment(
    `leading controller killed at the fence: successor after ${led} ms (budget ${BUDGET_MS} ms), flip ${outcome}`,
  )
  if (outcome !== 'done') await moved(demo, 'moved')

  const reverse = `scheduling>legacy:${SLICE}`
  await inStep(demo)
  const applied = await takeOver(
    demo,
    'another worker',
    () => worker!.kill('SIGKILL'),
    () => workerOf(demo, reverse),
  )
  await inStep(demo)
  t.comment(`working sync killed: successor after ${applied} ms (budget ${BUDGET_MS} ms)`)

  const stopped = [standby, second]
  const pids = stopped.map(each => must(each.pid, 'its pid'))
  const still = await takeOver(
    demo,
    'another worker',
    () => stopped.forEach(each => each.kill('SIGSTOP')),
    () => workerOf(demo, reverse),
  )
  t.comment(
    `both stopped: another worker after ${still} ms, ${HOLDER_SILENT_MS} ms of them silence`,
  )
  await moved(demo, 'canary')
  for (const each of stopped) each.kill('SIGCONT')
  await until(demo, 'both stand by again', async () => {
    const rows = await query<{ application_name: string }>(
      url,
      `SELECT application_name FROM pg_stat_activity WHERE application_name IN ('banyan sync', 'banyan control lease')`,
    )
    return rows.length === 4
  })
  t.strictSame(
    stopped.map(each => each.pid),
    pids,
    'they are the same processes',
  )
  await moved(demo, 'moved')

  const { ledger, sides } = await report(demo)
  t.ok(ledger.told.ok > 100, `${ledger.told.ok} writes were acknowledged`)
  t.match(ledger, { clean: true }, JSON.stringify(ledger.findings))
  // A controller that is killed leaves requests on hold until its successor is through: on a busy machine some expire.
  t.comment(`failed requests: ${JSON.stringify(ledger.totals?.failureDetails)}`)
  t.equal(sides.unequal, 0, 'both sides are equal')
  const answered = [...must(front, 'the balancer').answered.values()]
  t.ok(
    answered.length === 3 && Math.min(...answered) > 50,
    `through all routers: ${answered.join(' ')}`,
  )
})
