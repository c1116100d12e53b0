/** The control database is lost, with all that it knew; ownership lives in the databases, so it is made again from them. */
import pg from 'pg'
import t from 'tap'
import { ordersByLegacy } from '../../control/orders-by-legacy.ts'
import { RouterLink } from '../../control/router-link.ts'
import { readJournal } from '../../control/store/journal.ts'
import { readOrders } from '../../control/store/orders.ts'
import { readSlices } from '../../control/store/slices.ts'
import { readStreams } from '../../control/store/streams.ts'
import { controlMigrations } from '../../migrations/control/control.ts'
import { migrateUp } from '../../migrations/runner.ts'
import { must } from '../../model/errors.ts'
import type { Context } from '../../scripts/context.ts'
import { runDoctor } from '../../scripts/doctor.ts'
import { runFlip } from '../../scripts/flip.ts'
import { freePort } from '../../scripts/demo/ports.ts'
import { runControl } from '../../scripts/run-control.ts'
import { runRouter } from '../../scripts/run-router.ts'
import { runSync } from '../../scripts/run-sync.ts'
import { runStatus } from '../../scripts/status.ts'
import { testContext } from '../support/clinic.ts'
import { runUp } from '../../scripts/up.ts'
import { query } from '../support/cluster.ts'
import { flip, inStep, until, verify } from '../support/flipping.ts'
import { Clients, movingSlice, type MovingSlice } from '../support/moving-slice.ts'
import {
  atWork,
  climbed,
  cutSessions,
  embeddedProject,
  gate,
  locked,
  nothingLost,
  written,
} from '../support/rebuilding.ts'
import { flat, type Project, projectOf } from '../support/screen.ts'

const FORWARD = 'legacy>rooms:visits'
const never = new AbortController().signal

/** What `rebuild` says, and the facts afterwards. */
async function rebuild(moving: MovingSlice, project: Project) {
  const { exit, text } = await project.run(context =>
    runDoctor(context, undefined, { rebuildControl: true }),
  )
  const [fact] = await readSlices(moving.store.pool)
  return { exit, text: flat(text), fact: must(fact, 'the slice') }
}

void t.test('a lost control database is made again from the databases', async t => {
  const moving = await movingSlice(t, {
    ownControl: true,
    cutover: ', holdMs: 8s',
    limits: 'lagMaxMs: 5s',
  })
  const project = await projectOf(t, moving)
  const clients = new Clients(t, moving, 1)
  const run = (command: (context: Context) => Promise<unknown>) =>
    project.run(async context => {
      await command(context)
      return 0
    })
  const part = { log: { info() {}, warn() {}, error() {} }, lagMs: 0, ready: () => undefined }
  await until(moving, 'writes', async () => clients.told.length > 5)
  t.match(await flip(moving, 'sync'), { outcome: 'done' })
  await inStep(moving)
  for (const stage of ['shadow', 'canary'] as const)
    t.match(await flip(moving, stage), { outcome: 'done' })
  // Another number than a new control database would give it.
  const { number } = await gate(moving.legacy)

  await t.test('before that, nobody acts on an empty one', async t => {
    await until(moving, 'the stream runs without the census', async () => {
      const rows = await query(
        moving.legacy,
        `SELECT 1 FROM pg_stat_activity WHERE query LIKE 'START_REPLICATION SLOT "banyan_visits_forward"%'
           AND query NOT LIKE '%banyan_census%'`,
      )
      return rows.length > 0
    })
    await moving.loseControl({ database: true })
    await moving.controller.stop()
    await migrateUp(moving.store.url, controlMigrations())
    for (const command of [
      (context: Context) => runStatus(context, undefined, false),
      (context: Context) => runFlip(context, 'visits', undefined, {}),
      (context: Context) => runControl(context, part),
      (context: Context) => runSync(context, part),
    ]) {
      const failed = await run(command).then(
        () => undefined,
        (error: unknown) => error as { code: string; message: string; hint: string },
      )
      t.match(failed, { code: 'CONTROL_LOST', message: /visits/, hint: /--rebuild-control$/ })
    }
    const doctor = await project.run(context => runDoctor(context, 'visits'))
    t.match(flat(doctor.text), /✖ CONTROL_LOST/)
    t.same(await readSlices(moving.store.pool), [], 'and nothing was written down')

    await written(moving, clients, 'writes by the last table')
    await until(moving, 'what runs goes on', async () => {
      const [row] = await query(moving.service, 'SELECT 1 FROM visit WHERE op = $1', [
        clients.told.at(-1)!.op,
      ])
      return row !== undefined
    })
    await cutSessions(moving, `banyan ${FORWARD}`)
    await until(moving, 'what would begin is refused', async () => {
      const stream = (await readStreams(moving.store)).find(each => each.name === FORWARD)
      return stream?.error?.code === 'CONTROL_LOST'
    })
  })

  await t.test('at canary: sync, with the streams that there were', async t => {
    const { exit, text, fact } = await rebuild(moving, project)
    t.equal(exit, 0)
    t.match(text, /made again from legacy, rooms: 1 slice/)
    t.match(text, /visits +sync +legacy +\d+ +both go on/)
    t.match(text, /lost with the old one: brakes .*, the journal until now, .*verifications/)
    t.match(text, /next: banyan run control\n$/)
    t.match(fact, { number, service: 'rooms', stage: 'sync', percent: 0 })
    const [first] = (await readJournal(moving.store, { limit: 100 })).reverse()
    t.match(first, {
      kind: 'control rebuilt',
      actor: 'tester@here',
      detail: { from: ['legacy', 'rooms'], away: [] },
    })
    t.match((await rebuild(moving, project)).text, /nothing to rebuild: .*says what the databases/)

    moving.controller.start()
    await atWork(moving)
    t.ok(
      (await readStreams(moving.store)).every(each => each.rowsCopied === 0),
      'and nothing was copied',
    )
    await climbed(moving, 'canary')
    t.match(await verify(moving), { differences: 0, error: null })
    t.match(await flip(moving, 'moved'), { outcome: 'done' })
    await written(moving, clients, 'writes at the service')
  })

  const facade = `http://127.0.0.1:${await freePort(0)}`
  await project.edit('banyan.yaml', text => `${text}router: { listen: ${new URL(facade).host} }\n`)
  const stopRouter = new AbortController()
  const router = runRouter({ ...testContext(project.config), signal: stopRouter.signal }, part)
  t.teardown(async () => {
    stopRouter.abort()
    await router
  })
  const ask = () =>
    fetch(`${facade}/visits/1`).then(
      answer => answer.status,
      () => undefined,
    )
  await until(moving, 'a router', async () => (await ask()) === 200)

  await t.test('at moved, and the database is dropped: the service still owns', async t => {
    const { epoch } = (await readSlices(moving.store.pool))[0]!
    await moving.loseControl({ database: false })
    await Promise.all([moving.controller.stop(), moving.worker.stop()])
    await written(moving, clients, 'writes by the last table')
    t.equal(await ask(), 200, 'and reads')
    const { exit, text, fact } = await rebuild(moving, project)
    t.equal(exit, 0)
    t.match(text, /visits +moved +rooms +\d+ +both go on/)
    t.match(fact, { number, stage: 'moved' })
    t.ok(fact.epoch >= epoch, `epoch ${fact.epoch} is not below ${epoch}`)

    await t.test('a router that begins before any controller sends to the owner', async t => {
      t.equal(await readOrders(moving.store), undefined, 'there is no table yet')
      const legacy = new pg.Pool({ connectionString: moving.wiring.legacy.capture })
      t.teardown(() => legacy.end())
      const { store, ear } = moving
      const before = () => ordersByLegacy(legacy, moving.wiring.project)
      await using link = new RouterLink({ store, ear, address: () => 'fresh', before })
      for await (const orders of link.orders(never)) {
        t.match(orders, { version: 0, slices: [{ name: 'visits', owner: 'service' }] })
        break
      }
    })

    moving.worker.start()
    moving.controller.start()
    await atWork(moving)
    const answer = await fetch(`${facade}/.well-known/banyan/jwks.json`)
    const { keys: known } = (await answer.json()) as { keys: { x: string }[] }
    await until(moving, 'the key that services know', async () => {
      const [row] = await query(moving.store.url, `SELECT jwk->>'x' AS x FROM banyan.identity_key`)
      return row !== undefined && row['x'] === known[0]!.x
    })
    t.match(
      await flip(moving, 'canary'),
      { outcome: 'done', error: null },
      'and the way back is there',
    )
    const keys = await query(
      moving.legacy,
      `SELECT conname FROM pg_constraint WHERE conrelid = 'bills'::regclass AND contype = 'f'`,
    )
    t.same(keys, [{ conname: 'bills_visit_id_fkey' }], 'as the key that was loosened')
    await written(moving, clients, 'writes at legacy')
  })

  await t.test('closed, and nothing decided: aborted', async t => {
    t.match(await verify(moving), { differences: 0, error: null })
    const session = await locked(moving.service, 'banyan.evidence')
    const flipped = flip(moving, 'moved').catch(() => undefined)
    const fences = async () => {
      const [row] = await query(moving.legacy, 'SELECT count(*)::int AS n FROM banyan.fence')
      return row!['n'] as number
    }
    const before = await fences()
    await until(moving, 'the fence', async () => (await fences()) > before)
    await moving.loseControl({ database: true })
    // Whoever is left would end it by itself, once its deadline is over.
    await cutSessions(moving, `banyan ${FORWARD}`)
    await Promise.all([moving.controller.stop(), moving.worker.stop()])
    await session.end()
    await flipped
    const closed = await gate(moving.legacy)
    t.equal(closed.word % 2, 0, 'nobody is left to open it')
    const { exit, text, fact } = await rebuild(moving, project)
    t.equal(exit, 0)
    t.match(text, /visits was closed in the middle of a flip: epoch \d+ is ABORTED/)
    t.match(fact, { stage: 'sync', epoch: closed.word / 2 })
    t.equal((await gate(moving.legacy)).word, closed.word + 1)
    moving.worker.start()
    moving.controller.start()
    await climbed(moving, 'canary')
    await written(moving, clients, 'writes at legacy')
  })

  await t.test('decided, and the new owner still closed: promoted', async t => {
    await atWork(moving)
    t.match(await verify(moving), { differences: 0, error: null })
    // The decision is made in legacy; its copy waits for us.
    const session = await locked(moving.service, 'banyan.decision')
    const flipped = flip(moving, 'moved').catch(() => undefined)
    await until(moving, 'the copy', async () => {
      const [row] = await query(
        moving.service,
        `SELECT 1 FROM pg_stat_activity WHERE application_name = 'banyan control' AND wait_event_type = 'Lock'`,
      )
      return row !== undefined
    })
    await moving.loseControl({ database: true })
    await cutSessions(moving, 'banyan control')
    await moving.controller.stop()
    await session.end()
    await flipped
    const [here, there] = [await gate(moving.legacy), await gate(moving.service)]
    t.same([here.word % 2, there.word % 2], [0, 0], 'both sides are closed')
    const { exit, text, fact } = await rebuild(moving, project)
    t.equal(exit, 0)
    t.match(text, /visits was closed in the middle of a flip: epoch \d+ is PROMOTED/)
    t.match(fact, { stage: 'moved', epoch: here.word / 2 })
    t.equal((await gate(moving.service)).word, here.word + 1)
    moving.controller.start()
    await written(moving, clients, 'writes at the service')
    await atWork(moving)
    t.match(await flip(moving, 'canary'), { outcome: 'done' })
  })

  await clients.stop()
  t.same(clients.failed, [])
  await nothingLost(t, moving, clients)

  await t.test('one that knows something else is left as it is, and not obeyed', async t => {
    await Promise.all([moving.controller.stop(), moving.worker.stop()])
    const { url } = moving.store
    await query(url, `UPDATE banyan.slice SET stage = 'moved'`)
    await t.rejects(rebuild(moving, project), {
      code: 'CONTROL_NOT_EMPTY',
      message: /visits at moved, and legacy owns it/,
    })
    // As if it were restored from before the last flip.
    await query(url, 'UPDATE banyan.slice SET epoch = 0; UPDATE banyan.flip SET epoch = NULL')
    await t.rejects(rebuild(moving, project), { code: 'CONTROL_NOT_EMPTY', message: /it lacks/ })
    await t.rejects(
      run(context => runControl(context, part)),
      { code: 'CONTROL_LOST', message: /visits \(epoch \d+ there, 0 here\)/ },
    )
  })

  await t.test('an embedded one: `up` refuses, and the rebuild starts it', async t => {
    const config = await embeddedProject(t, project)
    const failed = await runUp(testContext(config), false).then(
      () => undefined,
      (error: unknown) => error as { code: string; hint: string },
    )
    t.match(failed, { code: 'CONTROL_LOST', hint: /--rebuild-control$/ })
    const context = testContext(config)
    t.equal(await runDoctor(context, undefined, { rebuildControl: true }), 0)
    t.match(context.said(), /visits +sync +legacy +\d+ +both go on/)
    t.match(context.said(), /next: banyan up\n$/)
    const again = testContext(config)
    t.equal(await runDoctor(again, undefined, { rebuildControl: true }), 0)
    t.match(again.said(), /nothing to rebuild/, 'it was kept')
  })
})
