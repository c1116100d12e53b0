import t from 'tap'
import { append } from '../../control/store/journal.ts'
import { wantSlices } from '../../control/store/slices.ts'
import { controlMigrations } from '../../migrations/control/control.ts'
import { migrateUp } from '../../migrations/runner.ts'
import { openStore } from '../../scripts/control-store.ts'
import { detailText, runJournal } from '../../scripts/journal.ts'
import { testCluster } from '../support/cluster.ts'
import { runScreen } from '../support/screen.ts'
import { controlDatabase } from '../support/three-roles.ts'

const BANYAN = `version: 1
legacy: { url: http://127.0.0.1:1, database: file:nowhere.url }
services: { rooms: { url: http://127.0.0.1:2, database: file:nobody.url } }
control: { database: file:control.url }
`
const VISITS = "service: rooms\nstage: legacy\nroutes: ['* /visits/**']\n"

void t.test('the journal', async t => {
  const cluster = await testCluster(t)
  const url = await controlDatabase(cluster, { migrated: false })
  const folder = t.testdir({
    'banyan.yaml': BANYAN,
    slices: { 'visits.yaml': VISITS },
    'control.url': url,
    'nowhere.url': 'postgres://a@127.0.0.1:1/x',
    'nobody.url': 'postgres://a@127.0.0.1:1/y',
  })
  const config = `${folder}/banyan.yaml`
  const run = (slice?: string, lines = '20', json = false) =>
    runScreen(t, config, context => runJournal(context, slice, lines), { json })

  await t.test('a control database of another version is said to be one', async t => {
    await t.rejects(run(), { code: 'CONTROL_OLD' })
  })
  await migrateUp(url, controlMigrations())

  await t.test('nothing yet', async t => {
    t.equal((await run()).text, 'nothing was decided yet\nnext: banyan status\n')
    t.equal((await run('visits')).text, 'nothing was decided yet\nnext: banyan why visits\n')
  })

  await using opened = openStore(url)
  const { pool } = opened.store
  const add = (kind: string, detail: Record<string, unknown>, slice: string | null = 'visits') =>
    append(pool, { actor: 'ada@lab', slice, kind, detail })
  await add('controller started', {}, null)
  await add('flip requested', { from: 'shadow', to: 'canary', percent: 25, reason: 'a try' })
  await add('flip started', { flip: 1, to: 'canary', epoch: null })
  await add('flip refused', {
    flip: 1,
    to: 'canary',
    epoch: null,
    code: 'FLIP_REFUSED',
    message: 'no',
  })
  await add('epoch settled', { epoch: 7, verdict: 'PROMOTED', complete: true })
  await add('verified', { rows: 2025, differences: 3 })
  await add('brake on', { from: 'moved', to: 'canary', reason: `evil \u001b[2Jtext\nin two lines` })
  await add('foreign key dropped', { table: 'bills', key: 'bills_visit_id_fkey', ddl: 'ALTER …' })

  await t.test('newest last, one line for each, with what is interesting', async t => {
    const { exit, lines } = await run()
    t.equal(exit, 0)
    const plain = lines
      .filter(line => !/^\d{4}-\d\d-\d\d$/.test(line)) // twice where the test meets midnight
      .map(line => line.replace(/^\d\d:\d\d:\d\dZ/, 'TIME'))
    t.match(lines[0], /^\d{4}-\d\d-\d\d$/)
    t.same(plain, [
      'TIME  –       controller started by ada@lab',
      'TIME  visits  flip requested by ada@lab: shadow → canary 25 % · "a try"',
      'TIME  visits  flip started by ada@lab: → canary',
      'TIME  visits  flip refused by ada@lab: → canary · FLIP_REFUSED · no',
      'TIME  visits  epoch settled by ada@lab: PROMOTED · epoch 7',
      'TIME  visits  verified by ada@lab: 2,025 rows · 3 different',
      'TIME  visits  brake on by ada@lab: moved → canary · "evil ?[2Jtext in two …',
      'TIME  visits  foreign key dropped by ada@lab: bills bills_visit_id_fkey',
      'next: banyan status',
    ])
  })

  await t.test('of one slice, and so many', async t => {
    const { lines } = await run('visits', '2')
    t.equal(lines.filter(line => /^\d\d:/.test(line)).length, 2)
    t.match(lines[1], /Z {2}brake on by ada@lab: moved → canary · "evil/)
    t.equal(lines.at(-1), 'next: banyan why visits')
  })

  await t.test('a slice whose file is gone still has a past; another has none', async t => {
    await wantSlices(opened.store, [
      { name: 'old', service: 'rooms', stage: 'legacy', percent: 0 },
      { name: 'visits', service: 'rooms', stage: 'legacy', percent: 0 },
    ])
    t.equal((await run('old')).exit, 0)
    await t.rejects(run('none'), { code: 'SLICE_UNKNOWN', hint: /old, visits/ })
  })

  await t.test('json has the rows', async t => {
    const rows = JSON.parse((await run('visits', '1', true)).text) as unknown
    t.match(rows, [
      { id: /^\d+$/, actor: 'ada@lab', slice: 'visits', detail: { key: 'bills_visit_id_fkey' } },
    ])
  })

  await t.test('a number of lines that is none', async t => {
    for (const lines of ['0', '-1', '1.5', 'x', '', '99999', '1e2']) {
      await t.rejects(run(undefined, lines), { code: 'OPTION_INVALID', rule: { exit: 2 } }, lines)
    }
  })
})

void t.test('a detail that nobody has foreseen is left out, not shown as an object', async t => {
  t.equal(
    detailText({ detail: { deep: 1 }, to: 4, epoch: '9', writes: 1, objects: 2 }),
    '→ 4 · epoch 9 · 1 write · 2 changed objects',
  )
})
