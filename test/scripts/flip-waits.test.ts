import t from 'tap'
import { must } from '../../model/errors.ts'
import { runFlip } from '../../scripts/flip.ts'
import { commandsOn, type Said } from '../support/commands.ts'
import { until } from '../support/flipping.ts'
import { flat } from '../support/screen.ts'

void t.test('two at once, and one that stops waiting', async t => {
  const commands = await commandsOn(t)
  const { moving } = commands
  const flip = (
    actor: string,
    more: { signal?: AbortSignal; json?: boolean } = {},
  ): Promise<Said> =>
    commands.run(context => runFlip(context, 'visits', undefined, {}), { actor, ...more })
  const idle = await commands.idle()
  const stop = new AbortController()
  const both = ['ann@ops', 'bob@desk'].map(actor => flip(actor, { signal: stop.signal }))
  await until(moving, 'a flip', async () => (await commands.flips()).length > 0)
  const first = await Promise.race(both)
  t.equal(first.exit, 3)
  const actor = must((await commands.flips())[0], 'the flip').actor
  t.match(
    flat(first.text),
    `✖ FLIP_IN_PROGRESS  "visits" is on its way to sync already, asked for by ${actor} wait for it`,
  )
  t.match(await commands.text(), /^stage: sync$/m, 'the file of who won')
  const json = await flip('cleo@home', { json: true })
  t.match(JSON.parse(json.text), { error: { code: 'FLIP_IN_PROGRESS', exit: 3 } })
  t.match(await commands.text(), /^stage: sync$/m)

  stop.abort()
  const second = (await Promise.all(both)).find(each => each !== first)
  t.equal(second?.exit, 4)
  t.match(
    flat(second?.text ?? ''),
    /^✖ FLIP_LEFT {2}you stopped waiting for "visits": it has not begun; it stays asked for, and begins without you/,
  )
  t.match(await commands.flips(), [{ outcome: null }], 'one flip, and it is still wanted')
  await idle[Symbol.asyncDispose]()
  // From here on there is a controller.
  await using _controller = await commands.controller()
  await until(moving, 'it ends', async () => (await commands.flips())[0]?.endedAtMs !== null)
  t.match(await commands.flips(), [{ outcome: 'done' }])
  t.match(await commands.fact(), { stage: 'sync' })

  await t.test('the copy may be left alone too', async t => {
    const home = await commands.run(context => runFlip(context, 'visits', 'legacy', {}))
    t.equal(home.exit, 0)
    const enough = new AbortController()
    const { exit, text } = await commands.run(
      context => runFlip(context, 'visits', undefined, {}),
      {
        signal: enough.signal,
        heard: part => part.includes('legacy → sync') && enough.abort(),
      },
    )
    t.equal(exit, 4)
    t.match(text, /^✔ visits {2}legacy → sync\n {2}you stopped waiting; the copy goes on\n/)
    t.match(text, 'next: banyan status visits\n')
    t.match(await commands.text(), /^stage: sync$/m)
  })
})
