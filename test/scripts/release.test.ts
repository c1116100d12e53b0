import t from 'tap'
import { readJournal } from '../../control/store/journal.ts'
import { endFlip, requestFlip, startFlip } from '../../control/store/flips.ts'
import { setOverride, setStage } from '../../control/store/slices.ts'
import { transact } from '../../control/store/store.ts'
import { runBack } from '../../scripts/back.ts'
import { runFlip } from '../../scripts/flip.ts'
import { runPause } from '../../scripts/pause.ts'
import { runRelease } from '../../scripts/release.ts'
import { runStatus } from '../../scripts/status.ts'
import { runWhy } from '../../scripts/why.ts'
import { commandsOn } from '../support/commands.ts'
import { inStep, until } from '../support/flipping.ts'
import { flat } from '../support/screen.ts'

void t.test('a slice follows its file again once the brake is off', async t => {
  const commands = await commandsOn(t)
  const { moving, project } = commands
  const release = (slice = 'visits', options: { json?: boolean } = {}) =>
    commands.run(context => runRelease(context, slice), options)
  t.match(await release(), {
    exit: 3,
    text: /^✖ NOT_BRAKED {2}there is neither a brake nor a pause on "visits"\n/,
  })
  t.match(await release('visit'), { exit: 2, text: /^✖ SLICE_UNKNOWN/ })
  const controller = await commands.controller()
  for (const stage of ['sync', 'shadow']) {
    const { exit, text } = await commands.run(each => runFlip(each, 'visits', stage, {}))
    t.equal(exit, 0, text)
  }
  const reason = 'wrong answers'
  await commands.run(each => runBack(each, 'visits', 'sync', { reason }))
  await commands.looked()
  t.match(
    await commands.fact(),
    { stage: 'sync', wantedStage: 'shadow' },
    'it stands against the file',
  )

  const { exit, text } = await release()
  t.equal(exit, 0)
  t.match(text, '✔ visits  the brake of tester@here is off (wrong answers)\n')
  t.match(text, 'slices/visits.yaml wants shadow: it goes to shadow by itself now\n')
  t.match(text, /next: banyan status visits\n$/)
  await until(moving, 'the file', async () => (await commands.fact()).stage === 'shadow')

  await t.test(
    'all the way that it goes by itself is said, by the brake and at the release',
    async t => {
      const braked = await commands.run(each => runBack(each, 'visits', 'legacy', { reason }))
      t.match(
        flat(braked.text),
        'slices/visits.yaml still wants shadow: once released, it goes to sync, then shadow again, unless',
      )
      const { text } = await release()
      t.match(
        flat(text),
        'slices/visits.yaml wants shadow: it goes to sync, then shadow by itself now\n',
      )
      await until(moving, 'the file', async () => (await commands.fact()).stage === 'shadow')
      await inStep(moving)
    },
  )

  /** Braked where it stands, as after a way back from `moved`. */
  const brake = () =>
    transact(moving.store, ['slice'], client =>
      setOverride(client, 'visits', { stage: 'canary', by: 'ann@ops', reason: 'as it was' }),
    )

  await t.test('a step that would move the owner is only proposed', async t => {
    await commands.run(each => runFlip(each, 'visits', 'canary', {}))
    await brake()
    await project.edit('slices/visits.yaml', file => file.replace('stage: canary', 'stage: moved'))
    const flips = await commands.flips()
    const proposed = await release()
    t.equal(proposed.exit, 0)
    t.match(proposed.text, '✔ visits  the brake of ann@ops is off (as it was)\n')
    t.match(
      proposed.text,
      'slices/visits.yaml wants moved: that moves the owner, so it stands as proposed\n',
    )
    t.match(proposed.text, /next: banyan plan visits moved\n$/)
    await commands.looked()
    t.match(await commands.fact(), { stage: 'canary', wantedStage: 'moved', override: null })
    t.equal((await commands.flips()).length, flips.length, 'nobody asked for it')
  })

  const pause = (actor: string) =>
    commands.run(context => runPause(context, 'visits', { reason: 'beds are counted' }), { actor })
  const edit = (from: string, to: string) =>
    project.edit('slices/visits.yaml', file => file.replace(from, to))

  await t.test('a pause holds it where it stands, against file and hand', async t => {
    const paused = await pause('ann@ops')
    t.equal(paused.exit, 0)
    t.match(
      paused.text,
      /^✔ visits {2}paused at canary 0 %: no flip of it begins, by file or by hand\n {2}slices\/visits\.yaml wants moved: that waits too\n/,
    )
    t.match(paused.text, 'next: banyan release visits\n')
    await edit('stage: moved', 'stage: canary')
    await edit('by: [cookie:sid]', 'by: [cookie:sid], percent: 20')
    await commands.looked()
    t.match(await commands.fact(), { stage: 'canary', percent: 0, wantedPercent: 20 })
    const text = await commands.text()
    const flipped = await commands.run(each => runFlip(each, 'visits', 'shadow', {}))
    t.match(flipped, {
      ...{
        exit: 3,
        text: '✖ OVERRIDDEN  "visits" is paused at canary by ann@ops: beds are counted\n',
      },
    })
    t.equal(await commands.text(), text)
    const again = await pause('bob@desk')
    t.match(again, { exit: 3, text: /^✖ OVERRIDDEN {2}"visits" is paused at canary by ann@ops: / })
    const status = await commands.run(each => runStatus(each, undefined, false))
    t.match(status.text, /^▾ visits +canary 20 % → canary 0 % pause /m)
    t.match(status.text, /^│ pause: stays at canary by ann@ops, .+: beds are counted$/m)
    t.match(status.text, '│ wants canary 20 %: the pause holds it\n')
    const why = await commands.run(each => runWhy(each, 'visits'))
    t.match(why.text, /^pause +stays at canary by ann@ops, .+: beds are counted$/m)
    t.match(why.text, 'next: banyan release visits\n')
    t.match(
      (await release()).text,
      /^✔ visits {2}the pause of ann@ops is over \(beds are counted\)$/m,
    )
    await until(moving, 'the file', async () => (await commands.fact()).percent === 20)
    await edit(', percent: 20', '')
    await until(moving, 'the file', async () => (await commands.fact()).percent === 0)
    await edit('stage: canary', 'stage: moved')
  })

  await t.test(
    'what the file wants is read from the file, not from what a controller saw',
    async t => {
      await controller[Symbol.asyncDispose]()
      await brake()
      await project.edit('slices/visits.yaml', file =>
        file
          .replace('stage: moved', 'stage: canary')
          .replace('by: [cookie:sid]', 'by: [cookie:sid], percent: 30'),
      )
      const json = await release('visits', { json: true })
      t.equal(json.exit, 0)
      t.match(JSON.parse(json.text), {
        ...{ slice: 'visits', stage: 'canary', wants: 'canary' },
        steps: [{ to: 'canary', percent: 30, kind: 'file' }],
      })
      const off = await readJournal(moving.store, { slice: 'visits', limit: 1 })
      t.match(off, [{ kind: 'brake off', actor: 'tester@here', detail: { by: 'ann@ops' } }])
    },
  )

  const asked = { slice: 'visits', from: 'canary', to: 'shadow', percent: 0 } as const
  const ask = () => requestFlip(moving.store, { ...asked, actor: 'ann@ops', kind: 'flip' })
  const ended = async () => (await commands.flips())[0]

  await t.test(
    'a flip that was asked for before the pause, and not begun, never begins',
    async t => {
      const idle = await commands.idle()
      const id = await ask()
      const { text } = await pause('bob@desk')
      t.match(
        flat(text),
        'the flip canary → shadow of ann@ops was asked for, and has not begun: it is',
      )
      await t.rejects(startFlip(moving.store, id, null), { code: 'OVERRIDDEN' })
      await idle[Symbol.asyncDispose]()
      await using _ = await commands.controller()
      await until(moving, 'its end', async () => (await ended())?.endedAtMs !== null)
      t.match(await ended(), {
        id,
        startedAtMs: null,
        outcome: 'refused',
        error: { code: 'OVERRIDDEN' },
      })
      t.match(await commands.fact(), { stage: 'canary' })
      await release()
      await until(moving, 'the file', async () => (await commands.fact()).percent === 30)
    },
  )

  await t.test('one that had begun ends as it ends, and the pause holds it there', async t => {
    await using _ = await commands.idle()
    const id = await ask()
    await startFlip(moving.store, id, null)
    const { text } = await pause('bob@desk')
    t.match(flat(text), 'the flip canary → shadow of ann@ops is under way: it ends as it ends')
    await transact(moving.store, ['slice'], client =>
      setStage(client, 'visits', { stage: 'shadow', percent: 0 }),
    )
    await endFlip(moving.store, id, 'done', null)
    t.match(await commands.fact(), { stage: 'shadow', override: { stage: 'shadow', paused: true } })
  })

  await t.test('a brake takes its place', async t => {
    const { exit, text } = await commands.run(each => runBack(each, 'visits', 'sync', {}))
    t.equal(exit, 0, text)
    t.match(await commands.fact(), { stage: 'sync', override: { stage: 'sync', paused: false } })
    t.match(await pause('bob@desk'), {
      exit: 3,
      text: /^✖ OVERRIDDEN {2}"visits" is held at sync by /,
    })
  })
})
