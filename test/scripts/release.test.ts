import t from 'tap'
import { runBack } from '../../scripts/back.ts'
import { runFlip } from '../../scripts/flip.ts'
import { runRelease } from '../../scripts/release.ts'
import { commandsOn } from '../support/commands.ts'
import { until } from '../support/flipping.ts'

void t.test('a slice follows its file again once the brake is off', async t => {
  const commands = await commandsOn(t)
  const { moving } = commands
  const release = (slice = 'visits') => commands.run(context => runRelease(context, slice))
  t.match(await release(), { exit: 3, text: /^✖ NOT_BRAKED {2}there is no brake on "visits"\n/ })
  t.match(await release('visit'), { exit: 2, text: /^✖ SLICE_UNKNOWN/ })
  await using _controller = await commands.controller()
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
})
