import t from 'tap'
import { readRogue } from '../../control/store/findings.ts'
import { readFlips, requestFlip } from '../../control/store/flips.ts'
import { setOverride } from '../../control/store/slices.ts'
import { transact } from '../../control/store/store.ts'
import { updateStream } from '../../control/store/streams.ts'
import type { WantedStage } from '../../model/slice-file.ts'
import { runWhy, type Why } from '../../scripts/why.ts'
import { query } from '../support/cluster.ts'
import { flip, inStep, until, verify } from '../support/flipping.ts'
import { Clients, movingSlice } from '../support/moving-slice.ts'
import { controllerOf, projectOf } from '../support/screen.ts'

void t.test('why says what keeps a slice where it is', async t => {
  const moving = await movingSlice(t)
  const { store } = moving
  await controllerOf(moving)
  const project = await projectOf(t, moving)
  const why = async (columns = 80) => {
    const { exit, text } = await project.run(context => runWhy(context, 'visits'), { columns })
    t.equal(exit, 0)
    return text
  }
  const go = async (to: WantedStage) => {
    t.match(await flip(moving, to), { outcome: 'done' })
    await project.want(to)
  }

  await t.test('a slice that never moved', async t => {
    const text = await why()
    t.match(text, /^visits {2}legacy for .+, since \d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ$/m)
    t.match(text, 'service rooms · legacy owns visits, seats · epoch 0\n')
    t.match(text, 'want       ✔ slices/visits.yaml wants what is\n')
    t.match(text, 'last flip  none yet\n')
    t.match(text, 'next: banyan flip visits sync\n')
  })

  const clients = new Clients(t, moving, 0)
  for (const stage of ['sync', 'shadow', 'canary'] as const) {
    await go(stage)
    if (stage === 'sync') await inStep(moving)
  }

  await t.test(
    'the last flip was refused: what is still in the way, and what no longer is',
    async t => {
      t.match(await flip(moving, 'moved'), { outcome: 'refused' })
      moving.want('canary')
      const text = await why()
      t.match(text, /^last flip {2}✖ canary → moved refused .+, asked for by tester$/m)
      t.match(text, /^ +still in the way: VERIFY_MISSING$/m)
      t.match(text, /^came here {2}shadow → canary 0 %, asked for by tester, /m)
      t.match(
        text,
        /^checks +on the way to moved:\n +✖ VERIFY_MISSING .+\n +banyan verify visits$/m,
      )
      t.match(text, 'next: banyan verify visits\n')
      await verify(moving)
      const after = await why()
      t.match(
        after.replace(/\n +/g, ' '),
        '✔ VERIFY_MISSING is cleared since then: the two sides were never compared',
      )
      t.match(after, /^verified +2,025 rows equal, /m)
      t.match(after, 'next: banyan plan visits moved\n')
    },
  )

  await t.test('what is wanted moves the owner', async t => {
    const back = await project.edit('slices/visits.yaml', text =>
      text.replace('stage: canary', 'stage: moved'),
    )
    // The last try was refused, and that comes first.
    t.match(
      await why(),
      /^want +slices\/visits.yaml wants moved: the last flip to moved was refused;\n +that gives the tables to rooms, so it stands as proposed\n +plan (\S+) waits for 1 person to approve it: banyan approve \1$/m,
    )
    await back()
  })

  await go('moved')
  await t.test('the steps of the last flip, and their sum', async t => {
    const text = await why()
    const [last] = await readFlips(store, { slice: 'visits', limit: 1 })
    const sum = Math.round(last!.steps.reduce((all, each) => all + (each.ms ?? 0), 0))
    t.match(text, `pause ${sum} ms = hold `)
    t.match(text, / · publish \d+$/m)
    t.match(text, 'rooms owns visits, seats · epoch 1\n')
    t.match(text, 'next: banyan status visits -w\n')
  })

  await t.test('rows that differ, by key and never by value', async t => {
    await query(
      moving.legacy,
      `ALTER TABLE visits DISABLE TRIGGER banyan_gate;
       UPDATE visits SET note = 'rogue' WHERE id IN (7, 8); DELETE FROM visits WHERE id = 9;
       ALTER TABLE visits ENABLE ALWAYS TRIGGER banyan_gate`,
    )
    await until(moving, 'listed', async () => (await readRogue(store)).length === 3)
    // The reverse stream learns that its side owns by the first write there.
    await moving.serviceApp.query('UPDATE visit SET version = 2 WHERE id = 1')
    t.match(await verify(moving), { differences: 3 })
    const text = await why()
    t.match(text, /^verified +✖ 3 rows differ of [\d,]+, /m)
    t.match(
      text.replace(/\n +/g, ' '),
      'public.visit: 1 missing, 2 different of 2,000 rows: different (7), different (8), missing (9)',
    )
    t.match(text, "✖ 3 writes went around the gates, on the side that isn't the owner:\n")
    t.notMatch(text, 'rogue\n')
    t.notMatch(text, "'rogue'")
    t.match(text, 'next: banyan doctor visits\n')
  })

  await t.test('a brake that can not be obeyed: who, why, and what stands in its way', async t => {
    await transact(store, ['slice'], client =>
      setOverride(client, 'visits', { stage: 'canary', by: 'ann@ops', reason: 'rooms is slow' }),
    )
    const tried = async () =>
      (await readFlips(store, { slice: 'visits', limit: 1 })).find(each => each.kind === 'back')
    await until(moving, 'a try', async () => (await tried())?.outcome === 'refused')
    const text = await why()
    t.match(text, /^brake +held at canary by ann@ops, .+: rooms is slow$/m)
    t.match(text, /^last flip {2}✖ moved → canary 0 % refused /m)
    t.match(text.replace(/\n +/g, ' '), 'asked for by ann@ops (the brake): rooms is slow')
    t.match(text, /still in the way: ROGUE_WRITES/)
    t.match(text, /^came here {2}canary → moved, asked for by tester, .+\n +pause \d+ ms = /m)
    for (const columns of [40, 60, 100]) await why(columns)
  })

  await t.test('a stream that failed', async t => {
    const error = { code: 'ROW_MISSING', message: 'a change found no row', hint: 'banyan doctor' }
    await updateStream(store, 'rooms>legacy:visits', 'visits', { state: 'failed', error })
    const text = await why()
    t.match(text, /^ +✖ rooms>legacy:visits +failed, ROW_MISSING, a change found no row$/m)
    t.match(text, /✔ legacy>rooms:visits +streaming, lag \d+ ms/)
  })

  await t.test('a flip that nobody is there to do', async t => {
    await store.pool.query('UPDATE banyan.slice SET override_stage = NULL')
    await store.pool.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'banyan control lease'`,
    )
    const value = async () =>
      JSON.parse(
        (await project.run(context => runWhy(context, 'visits'), { json: true })).text,
      ) as Why
    await until(moving, 'it ends', async () => !(await value()).control.alive)
    await requestFlip(store, {
      ...{ slice: 'visits', from: 'moved', to: 'canary', percent: 0, actor: 'bob', kind: 'flip' },
    })
    const text = await why()
    t.match(text, /^flip +to canary 0 % under way, asked for by bob, not begun yet$/m)
    t.match(text, 'no controller is there: the next one settles it\n')
    t.match(text, 'next: banyan run control\n')
    t.match(await value(), {
      slice: { slice: 'visits', flip: { actor: 'bob' }, verification: { differences: 3 } },
      cameBy: { to: 'moved' },
    })
    t.notMatch(JSON.stringify(await value()), 'secret')
  })

  await t.rejects(
    project.run(context => runWhy(context, 'visit')),
    { code: 'SLICE_UNKNOWN' },
  )
  await clients.stop()
})
