/** The story: a slice moves under live traffic, comes back, moves again; another follows; a batch job meets the gates. */
import { readFlips, type FlipRow } from '../../control/store/flips.ts'
import { readRefused } from '../../control/store/findings.ts'
import { streamsOf } from '../../control/slice-streams.ts'
import { readStreams } from '../../control/store/streams.ts'
import type { Slice as LoadSlice } from '../../examples/clinic/load/pause-window.ts'
import { must } from '../../model/errors.ts'
import type { WantedStage } from '../../model/slice-file.ts'
import { STAGE_NAMES } from '../../model/stage.ts'
import { countText } from '../amounts.ts'
import { findSlice } from '../control-store.ts'
import { percentText, stepsText } from '../flip-text.ts'
import { inStepNow } from '../in-step.ts'
import { startBatch } from './batch.ts'
import {
  counted,
  type Demo,
  flip,
  halt,
  mustFlip,
  query,
  quiet,
  soon,
  stageOf,
  Stopped,
  until,
  verify,
  wentBack,
} from './stage.ts'

const ENOUGH_MS = 15_000
const ATTEMPTS = 3
const AGAIN_MS = 1_000

/** Tells what is left of it. Throws Stopped where it can't go on; everything wrong is on the screen by then. */
export async function tellStory(demo: Demo): Promise<void> {
  await traffic(demo)
  await toCanary(demo, 'appointments')
  if (!(await moves(demo, 'appointments'))) return
  if (!(await wentBack(demo, 'appointments'))) {
    await refusedBatch(demo)
    await comeBack(demo)
  } else if (demo.sabotage === 'gate-off') await refusedBatch(demo)
  await moveAgain(demo)
  await toCanary(demo, 'patients')
  await moves(demo, 'patients')
}

async function traffic(demo: Demo): Promise<void> {
  const { load, screen } = demo
  await until(demo, 'traffic', async () => (load.progress()?.writesPerSecond ?? 0) > 0)
  await load.pauseWindow()
  await soon(demo, 'traffic', async () => false, 2_000)
  const { readsPerSecond: reads = 0, writesPerSecond: writes = 0 } = load.progress() ?? {}
  const track = ['appointments', 'patients'].map(
    async name => `${name} ${await stageOf(demo, name)}`,
  )
  const where = (await Promise.all(track)).join(' · ')
  screen.plain(`live traffic ${reads + writes} req/s, ${writes} writes/s      ${where}`)
}

async function before(demo: Demo, name: string, stage: WantedStage): Promise<boolean> {
  return STAGE_NAMES.indexOf(await stageOf(demo, name)) < STAGE_NAMES.indexOf(stage)
}

export async function toCanary(demo: Demo, name: string): Promise<void> {
  const { screen, opened } = demo
  const { slice } = await findSlice(opened, name)
  const service = slice.service
  if (await before(demo, name, 'sync')) {
    const began = performance.now()
    await mustFlip(demo, name, 'sync')
    const { services } = opened.wiring.project.banyan
    const streams = async () =>
      inStepNow(streamsOf(slice, await readStreams(opened.store), services))
    await until(demo, `copying ${name}`, async () => (await streams()) !== undefined, 60_000)
    const { rows, lagMs } = must(await streams(), 'streams in step')
    const seconds = ((performance.now() - began) / 1000).toFixed(1)
    screen.ok(
      'sync',
      `${name}: ${countText(rows)} rows in ${seconds} s, lag ${Math.round(lagMs)} ms`,
    )
  }
  if (await before(demo, name, 'shadow')) {
    await mustFlip(demo, name, 'shadow')
    const seen = async () => (await counted(demo, name)).shadow.compared
    const compared = async () => (await seen()) >= demo.enough.compared
    await soon(demo, `comparing answers of ${service}`, compared, ENOUGH_MS)
    const { shadow, examples } = await counted(demo, name)
    const text = `${countText(shadow.compared)} answers of ${service} compared, ${countText(shadow.different)} different`
    if (shadow.compared > 0 && shadow.different === 0) screen.ok('shadow', text)
    else {
      const where = examples.map(each => `${each.route} ${each.path} ${each.kind}`)
      screen.bad('shadow', [text, ...where].join('; '))
    }
  }
  if (await before(demo, name, 'canary')) {
    const start = (await counted(demo, name)).requests.service
    await mustFlip(demo, name, 'canary')
    const reads = async () => (await counted(demo, name)).requests.service - start
    const enough = async () => (await reads()) >= demo.enough.canaryReads
    await soon(demo, `reads by ${service}`, enough, ENOUGH_MS)
    const { stale } = await demo.load.report()
    const percent = percentText(slice.canary.percent)
    const text = `${percent} of the keys: ${countText(await reads())} reads by ${service}, ${stale} stale`
    if (stale === 0) screen.ok('canary', text)
    else screen.bad('canary', text)
  }
  if (await before(demo, name, 'moved')) {
    const { rows, differences, ms } = await verify(demo, name)
    const text = `${countText(rows)} rows of ${name}, ${countText(differences)} different, ${(ms / 1000).toFixed(1)} s`
    if (differences === 0) screen.ok('verify', text)
    else screen.bad('verify', text)
  }
}

/** False where the lag keeps the owner from moving, as it must. */
async function moves(demo: Demo, name: LoadSlice): Promise<boolean> {
  if (!(await before(demo, name, 'moved'))) return true
  const { opened, screen } = demo
  const limit = opened.wiring.project.banyan.limits.lagMaxMs
  if (demo.lagMs <= limit) {
    // The stream stood still while rows were compared.
    await soon(
      demo,
      'the streams to catch up',
      async () => (await lagOf(demo, name)) <= limit,
      ENOUGH_MS,
    )
    await moveOwner(demo, name, 'moved', () => mustFlip(demo, name, 'moved'))
    return true
  }
  const ended = await flip(demo, name, 'moved')
  const lag = ended.error?.blockers?.find(each => each.code === 'LAG')
  if (ended.outcome === 'refused' && lag) {
    screen.ok('moved', `refused, as it must be: ${lag.message}`)
    return false
  }
  screen.bad('moved', `${name} was not refused, though everything is applied ${demo.lagMs} ms late`)
  throw new Stopped('LAG')
}

async function lagOf({ opened }: Demo, name: string): Promise<number> {
  const { slice } = await findSlice(opened, name)
  const { services } = opened.wiring.project.banyan
  return inStepNow(streamsOf(slice, await readStreams(opened.store), services))?.lagMs ?? Infinity
}

/** Flips the owner and says how long nobody could write: as the client saw it, and what it was made of. */
async function moveOwner(
  demo: Demo,
  name: LoadSlice,
  word: string,
  act: () => Promise<FlipRow>,
): Promise<FlipRow> {
  const { load, screen } = demo
  const held = (await counted(demo, name)).held.total
  const { failed } = await load.report()
  await load.pauseWindow()
  const ended = await act()
  let seen = (await load.pauseWindow())[name]
  let acknowledged = 0
  await until(demo, 'writes at the new owner', async () => {
    const next = (await load.pauseWindow())[name]
    acknowledged += next.acknowledged
    const larger = (a: number | null, b: number | null) => Math.max(a ?? 0, b ?? 0)
    seen = {
      ...seen,
      longestGapMs: larger(seen.longestGapMs, next.longestGapMs),
      largestLatencyMs: larger(seen.largestLatencyMs, next.largestLatencyMs),
    }
    return acknowledged >= 10
  })
  // The router reports when it hears of it, and each second.
  await soon(
    demo,
    'the router’s count',
    async () => (await counted(demo, name)).held.total > held,
    1_500,
  )
  const waited = (await counted(demo, name)).held.total - held
  const wrong = (await load.report()).failed - failed
  const gap = Math.round(seen.longestGapMs ?? 0)
  const text = `${name}: client saw no write for ${gap} ms; ${waited} waited, ${wrong} failed`
  if (wrong === 0) screen.ok(word, text)
  else screen.bad(word, text)
  screen.dim(`          ${stepsText(ended)}`)
  return ended
}

/** The nightly job writes to the monolith's tables as it always did: the database says no. */
export async function refusedBatch(demo: Demo): Promise<void> {
  const { databases, opened, screen } = demo
  if (demo.sabotage === 'gate-off') {
    await query(
      databases.superuser.legacy,
      'ALTER TABLE public.appointments DISABLE TRIGGER banyan_gate',
    )
  }
  const { from, to } = await bookedRange(demo, 2)
  const batch = startBatch({ url: databases.owner.legacy, mode: 'plain', from, to })
  const end = await batch.end
  if (!end.refused) {
    screen.bad(
      'batch',
      `noshow-batch wrote ${end.rows} rows into the monolith, which doesn't own them`,
    )
    return
  }
  const listed = async () =>
    (await readRefused(opened.store, 1)).some(each => each.application === 'noshow-batch')
  await until(demo, 'the refused write in `banyan status`', listed)
  screen.ok('batch', 'noshow-batch wrote round the façade: refused by the database')
}

/** The way back, with the controller killed in the middle of it. */
async function comeBack(demo: Demo): Promise<void> {
  const { load, running, screen, opened } = demo
  const before = (await load.report()).told.ok
  await soon(demo, 'writes at the service', async () => false, 2_000)
  let killedAt: number | undefined
  let settledMs = 0
  let step = ''
  const watch = async (over: () => boolean): Promise<void> => {
    await until(demo, 'the flip to begin', async () => {
      if (over()) return true
      const open = (
        await readFlips(opened.store, { slice: 'appointments', open: true, limit: 1 })
      )[0]
      step = open?.steps.at(-1)?.step ?? ''
      return !['', 'hold'].includes(step)
    })
    if (over()) return
    running.controller.kill('SIGKILL')
    killedAt = performance.now()
  }
  const act = async (): Promise<FlipRow> => {
    let over = false
    const flipping = flip(demo, 'appointments', 'canary').finally(() => (over = true))
    const [ended] = await Promise.all([flipping, watch(() => over)])
    if (ended.outcome === 'refused') halt(demo, ended)
    settledMs = performance.now() - (killedAt ?? 0)
    return ended
  }
  const ended = await moveOwner(demo, 'appointments', 'back', act)
  const seconds = (settledMs / 1000).toFixed(1)
  const how = ended.outcome === 'done' ? 'finished it' : 'undid it'
  screen.ok('killed', `the controller in mid-flip (${step}); the next one ${how} in ${seconds} s`)
  if (ended.outcome !== 'done') {
    await moveOwner(demo, 'appointments', 'back', () => flipAgain(demo, 'appointments', 'canary'))
  }
  const writes = (await load.report()).told.ok - before
  const { rows, differences } = await verify(demo, 'appointments')
  const text = `${countText(writes)} writes since the move are in the monolith: ${countText(rows)} rows equal`
  if (differences === 0) screen.ok('back', text)
  else screen.bad('back', `${countText(differences)} of ${countText(rows)} rows differ`)
}

/** What was held a moment ago is all under way now: on a busy machine a flip right behind it may find that not drained. */
async function flipAgain(demo: Demo, name: string, to: WantedStage): Promise<FlipRow> {
  for (let attempt = 1; ; attempt++) {
    const ended = await flip(demo, name, to)
    if (ended.outcome === 'done') return ended
    if (ended.outcome === 'refused' || attempt === ATTEMPTS) return halt(demo, ended)
    await soon(demo, 'what is under way to end', async () => false, AGAIN_MS)
  }
}

/** Forward again, while the nightly job has a transaction open: its rows must arrive. */
async function moveAgain(demo: Demo): Promise<void> {
  if (!(await before(demo, 'appointments', 'moved'))) return
  const { databases, opened, screen } = demo
  const { from, to } = await bookedRange(demo, 1)
  const batch = startBatch({ url: databases.owner.legacy, mode: 'late', from, to })
  await batch.begun
  const writeInTheHold = async (over: () => boolean): Promise<void> => {
    await until(demo, 'the hold', async () => {
      if (over()) return true
      const open = (
        await readFlips(opened.store, { slice: 'appointments', open: true, limit: 1 })
      )[0]
      return open?.steps.some(each => each.step === 'drain') ?? false
    })
    await batch.write()
    batch.commit()
  }
  const act = async (): Promise<FlipRow> => {
    let over = false
    const flipping = mustFlip(demo, 'appointments', 'moved').finally(() => (over = true))
    const [ended] = await Promise.all([flipping, writeInTheHold(() => over)])
    return ended
  }
  await moveOwner(demo, 'appointments', 'moved', act)
  const end = await batch.end
  const [row] = await query<{ rows: number }>(
    databases.superuser.scheduling,
    `SELECT count(*)::int AS rows FROM public.appointment WHERE id BETWEEN $1 AND $2 AND status = 'no_show'`,
    [from, to],
  )
  const arrived = row?.rows ?? 0
  const text = `noshow-batch, open across the hold: ${end.rows} rows, ${arrived} at scheduling`
  if (end.committed && end.rows > 0 && arrived >= end.rows) screen.ok('batch', text)
  else screen.bad('batch', `${text}${end.message ? `; ${end.message}` : ''}`)
}

/** Appointments that the load doesn't touch. `part`: each batch has rows of its own. */
async function bookedRange(demo: Demo, part: number): Promise<{ from: number; to: number }> {
  const [row] = await query<{ id: number }>(
    demo.databases.superuser.legacy,
    `SELECT id::int FROM public.appointments WHERE status = 'booked' AND id <= $2 ORDER BY id DESC OFFSET $1 LIMIT 1`,
    [part * 40, demo.databases.size.appointments],
  )
  const id = must(row, 'a booked appointment').id
  return { from: id - 15, to: id }
}

/** Round the gate, as only a superuser can: nothing stops it, and nothing hides it. */
export async function aroundTheGate(demo: Demo): Promise<string> {
  const { from, to } = await bookedRange(demo, 3)
  const url = demo.databases.superuser.legacy
  const end = await startBatch({ url, mode: 'around-gate', from, to }).end
  await quiet(demo)
  return end.committed ? '' : end.message
}
