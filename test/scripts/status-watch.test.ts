import t from 'tap'
import { runStatus } from '../../scripts/status.ts'
import type { Status } from '../../scripts/status-facts.ts'
import { movingSlice } from '../support/moving-slice.ts'
import { controllerOf, projectOf } from '../support/screen.ts'

void t.test('-w looks again every second, through an absence of the control database', async t => {
  const moving = await movingSlice(t)
  await controllerOf(moving)
  const project = await projectOf(t, moving)
  const back = await project.edit('control.url', url => url.replace(/:\d+\//, ':1/'))
  await t.rejects(
    project.run(context => runStatus(context, undefined, false)),
    { code: 'CONTROL_AWAY' },
    'without -w it is an error',
  )

  const watch = async (looks: number, options: { json: boolean }) => {
    const stop = new AbortController()
    const frames: string[] = []
    await project.run(context => runStatus(context, undefined, true), {
      ...options,
      signal: stop.signal,
      write: text => {
        frames.push(text)
        if (frames.length === 1) void back()
        if (frames.length === looks) stop.abort()
      },
    })
    return frames
  }
  const frames = await watch(4, { json: false })
  t.equal(frames.length, 4)
  t.match(frames[0], /✖ CONTROL_AWAY/)
  t.match(frames[3], /^▸ visits +legacy/m)
  t.notMatch(frames[3], /^next: .* -w$/m)

  const terminal = Object.getOwnPropertyDescriptor(process.stdout, 'isTTY')
  Object.defineProperty(process.stdout, 'isTTY', { value: true, configurable: true })
  t.teardown(() => {
    if (terminal) Object.defineProperty(process.stdout, 'isTTY', terminal)
    else delete (process.stdout as { isTTY?: boolean }).isTTY
  })
  const drawn = await watch(2, { json: false })
  t.ok(
    drawn.every(frame => frame.startsWith('\u001b[H') && frame.endsWith('\u001b[J')),
    'on a terminal each look is drawn over the last one',
  )

  const documents = (await watch(3, { json: true })).map(frame => JSON.parse(frame) as Status)
  t.ok(documents.every(each => each.slices[0]?.slice === 'visits'))
  t.ok(documents[2]!.nowMs - documents[0]!.nowMs > 1_500, 'a second apart')
})
