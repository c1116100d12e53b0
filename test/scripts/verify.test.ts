import t, { type Test } from 'tap'
import { wantedOf } from '../../control/reconcile.ts'
import { setStage, wantSlices } from '../../control/store/slices.ts'
import { transact } from '../../control/store/store.ts'
import { updateStream } from '../../control/store/streams.ts'
import { endVerification, openVerifications } from '../../control/store/verifications.ts'
import type { Stage } from '../../model/stage.ts'
import { openStore } from '../../scripts/control-store.ts'
import { runVerify } from '../../scripts/verify.ts'
import { openProject } from '../../scripts/wiring.ts'
import { query, testCluster } from '../support/cluster.ts'
import { flip, inStep } from '../support/flipping.ts'
import { movingSlice } from '../support/moving-slice.ts'
import { projectOf, runScreen } from '../support/screen.ts'
import { controlDatabase } from '../support/three-roles.ts'

void t.test('both sides of a real slice are compared', async t => {
  const moving = await movingSlice(t)
  const project = await projectOf(t, moving)
  const verify = (json = false) => project.run(context => runVerify(context, 'visits'), { json })

  await t.test('at legacy there is nothing to compare', async t => {
    await t.rejects(verify(), {
      code: 'VERIFY_NO_STREAM',
      rule: { exit: 3 },
      hint: /banyan flip visits$/,
    })
  })

  t.match(await flip(moving, 'sync'), { outcome: 'done' })
  await project.want('sync')
  await inStep(moving)

  await t.test('equal', async t => {
    const { exit, lines } = await verify()
    t.equal(exit, 0)
    t.match(lines[0], /^✔ visits {2}2,025 rows compared in \d/)
    t.same(lines.slice(1), [
      'TABLE    ROWS  MISSING  EXTRA  DIFFERENT',
      'visits  2,000        0      0          0',
      'seats      25        0      0          0',
      'next: banyan plan visits',
    ])
  })

  await t.test('different: counted and named by their keys, without a value', async t => {
    const apply = moving.wiring.services['rooms']!.apply
    await query(apply, `UPDATE visit SET note = 'hidden' WHERE id = 7`)
    await query(apply, `DELETE FROM visit WHERE id = 8`)
    await query(apply, `INSERT INTO seats (room, at, taken) VALUES (9, 'h9', 1)`)
    const { exit, text, lines } = await verify()
    t.equal(exit, 3)
    t.match(lines[0], /^✖ visits {2}2,025 rows compared in /)
    t.same(lines.slice(1), [
      'TABLE    ROWS  MISSING  EXTRA  DIFFERENT',
      'visits  2,000        1      0          1',
      'seats      25        0      1          0',
      'missing: only at legacy · extra: only at rooms',
      lines[5],
      'seats:  extra (9,h9)',
      '✖ VERIFY_DIFFERS  3 rows of "visits" differ',
      'next: banyan why visits',
    ])
    t.match(lines[5], /^visits: {2}(?=.*different \(7\))(?=.*missing \(8\))/)
    t.notMatch(text, 'hidden')
    const document = await verify(true)
    t.equal(document.exit, 3)
    t.match(JSON.parse(document.text), {
      slice: 'visits',
      owner: 'legacy',
      differences: 3,
      tables: [{ table: 'public.visits', missing: 1, different: 1 }, { extra: 1 }],
      error: { code: 'VERIFY_DIFFERS' },
    })
  })
})

const BANYAN = `version: 1
legacy: { url: http://127.0.0.1:1, database: file:nowhere.url }
services: { rooms: { url: http://127.0.0.1:2, database: file:nobody.url } }
control: { database: file:control.url }
`
const VISITS = "service: rooms\nstage: legacy\nroutes: ['* /visits/**']\ntables: { visits: true }\n"
const ROUTES = "service: rooms\nstage: legacy\nroutes: ['* /rooms/**']\n"

/** A control database alone: the test is the worker, or nobody is. */
async function withoutWorker(t: Test) {
  const cluster = await testCluster(t)
  const url = await controlDatabase(cluster)
  const folder = t.testdir({
    'banyan.yaml': BANYAN,
    slices: { 'visits.yaml': VISITS, 'rooms.yaml': ROUTES },
    'control.url': url,
    'nowhere.url': 'postgres://a@127.0.0.1:1/x',
    'nobody.url': 'postgres://a@127.0.0.1:1/y',
  })
  const config = `${folder}/banyan.yaml`
  const opened = openStore(url)
  t.teardown(() => opened[Symbol.asyncDispose]())
  const { store } = opened
  await wantSlices(store, wantedOf((await openProject(config)).project))
  const at = (stage: Stage) =>
    transact(store, [], client => setStage(client, 'visits', { stage, percent: 0 }))
  const verify = (name = 'visits', options: Parameters<typeof runScreen>[3] = {}) =>
    runScreen(t, config, context => runVerify(context, name), options)
  /** The number of the verification that was asked for. */
  const asked = async (): Promise<number> => {
    for (;;) {
      const [id] = await openVerifications(store, 'visits')
      if (id !== undefined) return id
      await opened.ear.heard(['verification'], 50, new AbortController().signal)
    }
  }
  return { store, at, verify, asked }
}

void t.test('waiting for the worker', async t => {
  const { store, at, verify, asked } = await withoutWorker(t)

  await t.test('a slice without tables has nothing to compare', async t => {
    const { exit, text } = await verify('rooms')
    t.equal(exit, 0)
    t.equal(
      text,
      '✔ rooms owns no tables: there is nothing to compare\nnext: banyan status rooms\n',
    )
    await t.rejects(verify('none'), { code: 'SLICE_UNKNOWN' })
  })

  await at('moved')

  await t.test('at moved the service owns the rows, and legacy is compared with it', async t => {
    const running = verify()
    await endVerification(store, await asked(), {
      ms: 1234,
      tables: [
        {
          table: 'public.visits',
          rows: 5,
          missing: 1,
          extra: 0,
          different: 0,
          keys: ['missing (3)'],
        },
      ],
    })
    const { exit, text } = await running
    t.equal(exit, 3)
    t.match(text, '5 rows compared in 1.2 s')
    t.match(text, 'missing: only at rooms · extra: only at legacy\nvisits:  missing (3)\n')
  })

  await t.test('a comparison that failed is no comparison', async t => {
    const running = verify()
    const hint = 'run it again: banyan verify <slice>'
    const error = { code: 'VERIFY_FAILED', message: 'the stream ended', hint }
    await endVerification(store, await asked(), { error })
    const { exit, text } = await running
    t.equal(exit, 4)
    t.equal(text, '✖ VERIFY_FAILED  the stream ended\nnext: banyan verify visits\n')
  })

  await t.test('who stops waiting is told that it goes on', async t => {
    const stop = new AbortController()
    const running = verify('visits', { signal: stop.signal })
    const id = await asked()
    stop.abort()
    const { exit, text } = await running
    t.equal(exit, 4)
    t.equal(text, 'you stopped waiting; visits is compared all the same\nnext: banyan why visits\n')
    t.equal((await openVerifications(store, 'visits'))[0], id, 'it is still asked for')
  })

  await t.test('no worker, and one whose stream fails', async t => {
    const began = performance.now()
    await t.rejects(verify(), { code: 'STREAMS_SILENT', rule: { exit: 4 } })
    t.ok(performance.now() - began >= 10_000)
    const failing = setInterval(() => {
      void updateStream(store, 'rooms>legacy:visits', 'visits', {
        state: 'failed',
        error: { code: 'SLOT_LOST', message: 'gone', hint: '' },
      })
    }, 200)
    t.teardown(() => clearInterval(failing))
    await t.rejects(verify(), { code: 'SLOT_LOST', message: 'rooms>legacy:visits: gone' })
    clearInterval(failing)
  })
})
