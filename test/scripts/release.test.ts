import t from 'tap'
import { readJournal } from '../../control/store/journal.ts'
import { setOverride } from '../../control/store/slices.ts'
import { transact } from '../../control/store/store.ts'
import { runBack } from '../../scripts/back.ts'
import { runFlip } from '../../scripts/flip.ts'
import { runRelease } from '../../scripts/release.ts'
import { commandsOn } from '../support/commands.ts'
import { until } from '../support/flipping.ts'

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
        step: { to: 'canary', percent: 30, kind: 'file' },
      })
      const off = await readJournal(moving.store, { slice: 'visits', limit: 1 })
      t.match(off, [{ kind: 'brake off', actor: 'tester@here', detail: { by: 'ann@ops' } }])
    },
  )
})
