/** Law L4, with processes that really die: whatever is killed in the middle of a flip, it ends, and nothing is lost. */
import t from 'tap'
import { readFlips } from '../../control/store/flips.ts'
import { STEPS } from '../../control/cutover.ts'
import { readStreams } from '../../control/store/streams.ts'
import { findSlice } from '../../scripts/control-store.ts'
import { streamsOf } from '../../control/slice-streams.ts'
import { report } from '../../scripts/demo/report.ts'
import { type Demo, flip, stageOf, until, verify } from '../../scripts/demo/stage.ts'
import { toCanary } from '../../scripts/demo/story.ts'
import { clinic } from '../support/clinic.ts'

const SEED = Number(process.env['BANYAN_SEED'] ?? 1)
const ROUNDS = 3

/** mulberry32: small, and the same everywhere. */
function random(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** Streams in step; and since a worker that began anew doesn't know what was changed before, both sides compared. */
async function ready(demo: Demo, to: 'moved' | 'canary'): Promise<void> {
  const { slice } = await findSlice(demo.opened, 'appointments')
  const { services } = demo.opened.wiring.project.banyan
  await until(demo, 'streams in step', async () => {
    const streams = streamsOf(slice, await readStreams(demo.opened.store), services)
    return streams.every(each => each.state === 'streaming' && (each.silentMs ?? Infinity) < 1_000)
  })
  if (to === 'moved') await verify(demo, 'appointments')
}

void t.test('whatever is killed in the middle of a flip, it ends and nothing is lost', async t => {
  t.comment(`seed ${SEED}: BANYAN_SEED=${SEED} repeats it`)
  const next = random(SEED)
  const { environment } = await clinic(t)
  const { demo } = environment
  const { running, opened } = demo
  await toCanary(demo, 'appointments')
  const parts = {
    controllers: [running.controller, running.standby],
    worker: [running.sync],
    everything: [running.controller, running.standby, running.sync],
  }
  const names = Object.keys(parts) as (keyof typeof parts)[]

  for (let round = 0; round < ROUNDS; round++) {
    const to = (await stageOf(demo, 'appointments')) === 'moved' ? 'canary' : 'moved'
    const victim = names[Math.floor(next() * names.length)]!
    const at = STEPS[1 + Math.floor(next() * (STEPS.length - 2))]!.step
    await ready(demo, to)
    const [last] = await readFlips(opened.store, { slice: 'appointments', limit: 1 })
    const flipping = flip(demo, 'appointments', to)
    await until(demo, `step ${at}`, async () => {
      const [row] = await readFlips(opened.store, { slice: 'appointments', limit: 1 })
      if (!row || row.id === last?.id) return false
      return row.endedAtMs !== null || row.steps.some(each => each.step === at)
    })
    for (const part of parts[victim]) part.kill('SIGKILL')
    const ended = await flipping
    t.match(
      ended.outcome,
      /^(done|undone|refused)$/,
      `round ${round}: ${victim} killed at ${at} on the way to ${to}: ${ended.outcome}`,
    )
    if (ended.outcome !== 'done')
      await until(demo, 'a worker', async () => {
        await ready(demo, to)
        return (await flip(demo, 'appointments', to)).outcome === 'done'
      })
    const stage = await stageOf(demo, 'appointments')
    t.equal(stage, to, 'and the next one goes through')
  }

  running.router.kill('SIGKILL')
  await until(demo, 'the router again', async () => {
    const answer = await fetch(`${environment.target}/health`).catch(() => undefined)
    return answer?.ok ?? false
  })
  // Until its lease ends, nobody knows that the dead router holds nothing back.
  const back = (await stageOf(demo, 'appointments')) === 'moved' ? 'canary' : 'moved'
  await until(demo, 'a flip', async () => {
    await ready(demo, back)
    return (await flip(demo, 'appointments', back)).outcome === 'done'
  })

  const { ledger, sides } = await report(demo)
  t.ok(ledger.told.ok > 100, `${ledger.told.ok} writes were acknowledged`)
  t.match(ledger, { clean: true }, JSON.stringify(ledger.findings))
  t.equal(sides.unequal, 0, 'both sides are equal')
})
