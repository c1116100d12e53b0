import { METHODS } from 'node:http'
import t, { type Test } from 'tap'
import { buildOrders } from '../../control/orders.ts'
import { RouterLink } from '../../control/router-link.ts'
import { storeOrders } from '../../control/store/orders.ts'
import { readSlices, setStage, wantSlices } from '../../control/store/slices.ts'
import { transact } from '../../control/store/store.ts'
import { updateStream } from '../../control/store/streams.ts'
import { wantedOf } from '../../control/reconcile.ts'
import type { Stage } from '../../model/stage.ts'
import { openStore } from '../../scripts/control-store.ts'
import { explainRequest, runExplain } from '../../scripts/explain.ts'
import { requestOf } from '../../scripts/explain-request.ts'
import { openProject } from '../../scripts/wiring.ts'
import { testCluster } from '../support/cluster.ts'
import { APPOINTMENTS_YAML, BANYAN_YAML, PATIENTS_YAML, swap } from '../support/project-files.ts'
import { runScreen } from '../support/screen.ts'
import { controlDatabase } from '../support/three-roles.ts'

const SLICES = { 'appointments.yaml': APPOINTMENTS_YAML, 'patients.yaml': PATIENTS_YAML }

interface Json {
  readonly basis: { from: string; version: number | null }
  readonly decision: Record<string, unknown>
  readonly route: { route: string; slice: string; place: string } | null
  readonly lost: readonly { route: string; place: string; lost: string }[]
  readonly readings: readonly { path: string; won: { slice: string } | null }[] | null
  readonly key: { rule: string; bucket: number; below: number; in: boolean } | null
  readonly inForce: Record<string, unknown> | null
}

function explaining(t: Test, config: string) {
  const run = (method: string, path: string, headers: readonly string[] = []) =>
    runScreen(t, config, context => runExplain(context, method, path, headers))
  const json = async (method: string, path: string, headers: readonly string[] = []) => {
    const command = (context: Parameters<Parameters<typeof runScreen>[2]>[0]) =>
      runExplain(context, method, path, headers)
    return JSON.parse((await runScreen(t, config, command, { json: true })).text) as Json
  }
  return { run, json }
}

void t.test('without a control database: as the files say, every slice at legacy', async t => {
  const folder = t.testdir({ 'banyan.yaml': BANYAN_YAML, slices: SLICES })
  const { run, json } = explaining(t, `${folder}/banyan.yaml`)

  await t.test('a read of a slice', async t => {
    const { exit, text } = await run('get', '/api/appointments/17', ['cookie: clinic_sid=s3cret'])
    t.equal(exit, 0)
    t.equal(
      text,
      `GET /api/appointments/17 → legacy (http://127.0.0.1:3000)
  because   at legacy, legacy answers every safe request
  route     GET /api/appointments/**  slices/appointments.yaml:5:5
  not       DELETE,PATCH /api/appointments/:id  slices/appointments.yaml:7:5: of
            appointments, answers DELETE,PATCH only
  slice     appointments, at legacy, owned by legacy
  key       cookie:clinic_sid, bucket 80.74 of 100, at canary 5 % it would be
            out
  held      no: a safe request never waits
  shadowed  no
  fallback  no: legacy answers already
  facts     as the files say, every slice at legacy: no control database runs
            here, so there is nobody to ask
next: banyan up
`,
    )
  })

  await t.test('what no slice has stays with legacy', async t => {
    const { text } = await run('GET', '/api/invoices')
    t.match(text, "because   no slice's route matches it")
    t.notMatch(text, 'slice     ')
    t.match(await json('POST', '/api/patients/7'), {
      decision: { reason: 'unmatched', unsafe: true },
      route: null,
      lost: [{ route: 'DELETE,GET,PATCH /api/patients/:id', lost: 'method' }],
    })
  })

  await t.test('a write goes to the owner, and a header may make it one', async t => {
    t.match(await json('PATCH', '/api/patients/7'), {
      decision: { side: 'legacy', reason: 'owner', unsafe: true, fallback: false },
      route: { slice: 'patients', place: 'slices/patients.yaml:3:36' },
    })
    t.match(await json('GET', '/api/patients/7', ['X-HTTP-Method-Override: delete']), {
      decision: { reason: 'owner', unsafe: true },
    })
  })

  await t.test("the façade's own page", async t => {
    const { text } = await run('GET', '/.well-known/banyan/jwks.json')
    t.match(text, '→ the façade itself')
  })

  await t.test('what is not HTTP is refused', async t => {
    const bad = [
      ['FETCH', '/x', []],
      ['CONNECT', '/x', []],
      ['GET', 'x', []],
      ['GET', '/a b', []],
      ['GET', '/a#b', []],
      ['GET', '/é', []],
      ['GET', '*', []],
      ['GET', '/x', ['no colon']],
      ['GET', '/x', ['bad name: 1']],
      ['GET', '/x', ['x: a\u0000']],
    ] as const
    for (const [method, path, headers] of bad) {
      const refused = run(method, path, headers)
      await t.rejects(refused, { code: 'OPTION_INVALID', rule: { exit: 2 } }, `${method} ${path}`)
    }
    await run('OPTIONS', '*')
    await run('GET', 'http://127.0.0.1:8080/api/patients?q=%20')
  })

  await t.test('every method that a router may get', async t => {
    for (const method of METHODS.filter(each => each !== 'CONNECT')) {
      t.equal((await run(method.toLowerCase(), '/x')).exit, 0, method)
    }
  })
})

void t.test('specificity: the winner is named, and what it won over', async t => {
  const files = {
    'wide.yaml': "service: people\nstage: legacy\nroutes: ['* /api/**', 'GET /api/:thing/new']\n",
    'patients.yaml': PATIENTS_YAML,
  }
  const folder = t.testdir({ 'banyan.yaml': BANYAN_YAML, slices: files })
  const { json, run } = explaining(t, `${folder}/banyan.yaml`)
  t.match(await json('GET', '/api/patients/new'), {
    route: { route: 'DELETE,GET,PATCH /api/patients/:id', slice: 'patients' },
    lost: [
      { route: 'GET /api/:thing/new', place: 'slices/wide.yaml:3:23', lost: 'specificity' },
      { route: '* /api/**', place: 'slices/wide.yaml:3:10', lost: 'specificity' },
    ],
  })
  t.match((await run('GET', '/api/patients/new')).text, 'less specific, of wide')
  // express ignores case and a slash at the end: so does what is explained.
  t.match(await json('GET', '/API/Patients/7/'), { route: { slice: 'patients' } })
})

void t.test('what is named as the winner is what the table found, whatever the path', async t => {
  const files = {
    'a.yaml': `service: people
stage: legacy
routes: ['* /a/**', 'GET /:x/b', 'POST,GET /a/:x', '* /a/b/:y', 'GET /a/b/']
`,
    'b.yaml': `service: scheduling
stage: legacy
routes: ['GET /a/b/c', 'PATCH /a/:x/:y', '* /:x/:y/**', 'GET /b']
`,
  }
  const folder = t.testdir({ 'banyan.yaml': BANYAN_YAML, slices: files })
  const loaded = await openProject(`${folder}/banyan.yaml`)
  const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000)
  t.comment(`SEED=${seed}`)
  let state = seed
  const one = <T>(list: readonly T[]): T => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return list[Math.floor((state / 2 ** 32) * list.length)]!
  }
  const basis = { from: 'files', why: '' } as const
  const known = { basis, facts: [], streams: [], stored: undefined }
  let found = 0
  for (let n = 0; n < 500; n++) {
    const parts = Array.from({ length: one([1, 2, 3, 4]) }, () => one(['a', 'B', 'c', 'd%20', '']))
    const path = `/${parts.join('/')}`
    const method = one(['GET', 'HEAD', 'POST', 'PATCH'])
    const { decision, routes } = explainRequest(requestOf(method, path, []), loaded, known)
    const won = decision.kind === 'forward' ? decision.route : null
    if ((routes.won?.route ?? null) !== won) t.fail(`${method} ${path}: ${won}`)
    if (won === null) continue
    found += 1
    const slices = new Set(routes.readings?.map(each => each.won?.slice))
    if (slices.size !== 1) t.fail(`${method} ${path}: ${[...slices].join()}`)
    const [first] = routes.readings ?? []
    if (routes.readings?.length === 1 && first?.won?.route !== won) t.fail(`${method} ${path}`)
  }
  t.ok(found > 50, `${found} paths have a route`)
})

void t.test('with a control database', async t => {
  const cluster = await testCluster(t)
  const url = await controlDatabase(cluster)
  const banyan = swap(
    swap(BANYAN_YAML, 'database: embedded', 'database: file:control.url'),
    'env:LEGACY_DATABASE_URL',
    'env:NOT_SET_ANYWHERE',
  )
  const folder = t.testdir({ 'banyan.yaml': banyan, slices: SLICES, 'control.url': url })
  const config = `${folder}/banyan.yaml`
  const { run, json } = explaining(t, config)
  const { project } = await openProject(config)
  await using opened = openStore(url)
  const { store } = opened
  await wantSlices(store, wantedOf(project))
  const at = async (stage: Stage, percent = 0, hold = false) => {
    await transact(store, [], async client => {
      await setStage(client, 'appointments', { stage, percent, epoch: 3 })
      const holds = hold ? [{ slice: 'appointments', epoch: 4, holdMs: 2000 }] : []
      await storeOrders(client, buildOrders(project, await readSlices(client), holds))
    })
  }
  const beat = () =>
    updateStream(store, 'legacy>scheduling:appointments', 'appointments', {
      state: 'streaming',
      watermark: '0/10',
    })
  const path = '/api/appointments/17'

  await t.test('a router is ready once there are orders, and not before', async t => {
    const { ear } = opened
    await using link = new RouterLink({ store, ear, address: () => 'here' })
    let ready = false
    const waiting = link.first(new AbortController().signal).then(() => (ready = true))
    await store.pool.query('SELECT 1')
    t.equal(ready, false)
    await at('legacy')
    await waiting
  })

  await t.test('shadow: legacy answers, and a copy is compared', async t => {
    await at('shadow')
    t.match((await run('GET', path)).text, 'shadowed  yes: a copy goes to scheduling afterwards')
    t.match((await run('OPTIONS', path)).text, "no slice's route")
    t.match((await run('GET', path, ['Range: bytes=0-1'])).text, 'shadowed  no: only a GET')
  })

  await t.test('canary: the key decides, and why is said', async t => {
    await at('canary', 50)
    await beat()
    t.match(await json('GET', path), { decision: { side: 'legacy', reason: 'no-key' }, key: null })
    const seen = new Set<boolean>()
    for (let n = 0; seen.size < 2; n++) {
      const { decision, key } = await json('GET', path, [`cookie: a=1; clinic_sid=s${n}`])
      t.match(key, { rule: 'cookie:clinic_sid', below: 5000, in: (key?.bucket ?? 0) < 5000 })
      t.match(
        decision,
        key?.in
          ? { side: 'service', reason: 'chosen', fallback: true }
          : { side: 'legacy', reason: 'outside' },
      )
      seen.add(key?.in ?? false)
      await beat()
    }
    const { text } = await run('GET', path, ['X-Beta: 1'])
    t.match(text, '→ scheduling (http://127.0.0.1:4001)')
    t.match(text, "fallback  yes: legacy answers where scheduling can't be reached")
    t.match(text, /facts {5}the control database, table \d+\nnext: banyan status appointments\n/)
    t.match((await run('GET', path, ['X-Tenant-Id: 7'])).text, 'key       header:x-tenant-id')
  })

  await t.test('canary: where no worker says how far the copy is, legacy answers', async t => {
    await store.pool.query(`UPDATE banyan.stream SET beat_at = clock_timestamp() - interval '3 s'`)
    t.match(await json('GET', path, ['X-Beta: 1']), {
      decision: { side: 'legacy', reason: 'stale' },
    })
  })

  await t.test('mid-flip: a write would be held, a read would not', async t => {
    await at('canary', 50, true)
    t.match(
      (await run('POST', '/api/appointments')).text,
      'held      yes: the owner is changing (epoch 4); it waits up to 2 s',
    )
    t.match((await run('GET', path)).text, 'held      no: a safe request never waits')
  })

  await t.test('moved: the service answers, and nothing falls back', async t => {
    await at('moved')
    t.match(await json('DELETE', path), { decision: { side: 'service', reason: 'owner' } })
    const { text } = await run('GET', path)
    t.match(text, 'at moved, scheduling answers every safe request')
    t.match(text, 'fallback  no: legacy does not own the data')
  })

  await t.test('moved: a spelling that legacy may take for its own is refused', async t => {
    const { exit, text } = await run('GET', '/files/../api/appointments/17')
    t.equal(exit, 0)
    t.match(text, '→ refused by the façade (400)')
    t.match(text, "may mean  /files/../api/appointments/17: no slice's route")
    t.match(text, 'may mean  /api/appointments/17: GET /api/appointments/**')
    const long = `/files/${'x/'.repeat(1200)}..`
    t.match(await json('GET', long), { decision: { reason: 'path-unclear' }, readings: null })
    await at('legacy')
    t.match(await json('GET', '/files/../api/appointments/17'), {
      decision: { side: 'legacy', reason: 'unclear' },
    })
  })

  await t.test('routers that go by other files are mentioned', async t => {
    await at('moved')
    const wide = swap(
      PATIENTS_YAML,
      'GET,PATCH,DELETE /api/patients/:id',
      'GET,PATCH,DELETE /api/people/:id',
    )
    const other = t.testdir({
      'banyan.yaml': banyan,
      slices: { 'appointments.yaml': APPOINTMENTS_YAML, 'patients.yaml': wide },
      'control.url': url,
    })
    const there = explaining(t, `${other}/banyan.yaml`)
    t.match(await there.json('GET', '/api/people/7'), {
      decision: { reason: 'stage' },
      inForce: { reason: 'unmatched' },
    })
    t.match((await there.run('GET', '/api/people/7')).text, 'but       routers decide by table')
    t.match(await json('GET', '/api/patients/7'), { inForce: null })
  })

  await t.test('when it is away, the files are left', async t => {
    await cluster.stop()
    const { text } = await run('GET', path)
    t.match(text, 'facts     as the files say, every slice at legacy: the control database does')
  })
})
