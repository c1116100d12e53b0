/** One run: a flip of the owner under load, one fault at one of its steps, and what became of it. */
import { streamsOf } from '../../control/slice-streams.ts'
import { type FlipRow, readFlips, requestFlip } from '../../control/store/flips.ts'
import { ackedBy, readRouters } from '../../control/store/routers.ts'
import { readOrders } from '../../control/store/orders.ts'
import { readSlices } from '../../control/store/slices.ts'
import { readStreams } from '../../control/store/streams.ts'
import {
  lastVerification,
  readVerification,
  requestVerification,
} from '../../control/store/verifications.ts'
import { must } from '../../model/errors.ts'
import { pause } from '../../model/pause.ts'
import { judge } from './evidence.ts'
import { inject } from './faults.ts'
import { isCluster, type Moment, type Plan } from './plan.ts'
import { straggle } from './straggler.ts'
import { SLICE, type World } from './world.ts'

/** Whatever happens ends within this, or the run has failed. */
const PATIENCE_MS = 60_000
const LOOK_MS = 50
const REFUSED_MS = 15_000
const AGAIN_MS = 500

export interface Outcome {
  readonly plan: Plan
  readonly to: 'moved' | 'canary'
  /** Where the fault really lay; undefined: the flip was over, so it was no run. */
  readonly at: Moment | undefined
  readonly flip: FlipRow['outcome']
  /** Why it was undone. */
  readonly why?: string | undefined
  /** From the fault until the flip had ended and clients' writes were acknowledged again. ms */
  readonly recoveryMs: number
  readonly commits: number
  readonly violations: readonly string[]
}

/** A flip may be refused for what the last fault left behind and nobody has noticed yet; not for longer. */
export async function runOne(world: World, plan: Plan): Promise<Outcome> {
  const until = performance.now() + REFUSED_MS
  for (;;) {
    const outcome = await attempt(world, plan)
    if (outcome.flip !== 'refused' || performance.now() > until) return outcome
    await pause(AGAIN_MS)
  }
}

async function attempt(world: World, plan: Plan): Promise<Outcome> {
  const { store, lever, demo } = world
  const to = await ready(world)
  const from = to === 'moved' ? 'canary' : 'moved'
  const nothing = { plan, to, at: undefined, flip: null, recoveryMs: 0, commits: 0 } as const
  await lever.hold(plan.step)
  const kind = plan.step === 'settle' ? 'rehearsal' : 'flip'
  const percent = to === 'canary' ? 25 : 0
  const straggler = plan.step === 'fence' ? await straggle(world, from) : undefined
  const id = await requestFlip(store, { slice: SLICE, from, to, percent, actor: 'chaos', kind })
  const flip = async (): Promise<FlipRow> =>
    must((await readFlips(store, { id, limit: 1 }))[0], 'the flip')
  const over = async (): Promise<boolean> => (await flip()).endedAtMs !== null
  try {
    if (!(await lever.waiting(over))) {
      const { outcome, error } = await flip()
      const why = error?.blockers?.map(each => `${each.code} ${each.message}`).join(', ')
      const refused = outcome === 'refused' ? [`L5 the flip is refused: ${why}`] : []
      return { ...nothing, flip: outcome, why: error?.message, violations: refused }
    }
    const part =
      plan.victim === 'controller'
        ? await world.leader()
        : plan.victim === 'worker'
          ? await world.worker(to)
          : world.router
    await demo.load.pauseWindow()
    if (plan.releaseMs < 0) {
      lever.release()
      await pause(-plan.releaseMs)
    }
    const hitAt = Date.now()
    const began = performance.now()
    const hit = await inject(world, plan, isCluster(plan.victim) ? undefined : part)
    if (!hit) return { ...nothing, violations: [] }
    const healed = hit.heal()
    if (plan.releaseMs >= 0) {
      await pause(plan.releaseMs)
      lever.release()
    }
    // While a zombie sleeps the others go on, and it wakes into a world that has changed.
    const next = plan.fault === 'stop' ? goOn(world, over, healed) : Promise.resolve()
    await healed
    await next
    const violations: string[] = []
    const ended = await soon(over)
    if (!ended) violations.push('L4 the flip did not end')
    const writes = async () => (await demo.load.pauseWindow())[SLICE].acknowledged > 0
    if (!(await soon(writes))) violations.push('L4 no write was acknowledged any more')
    const recoveryMs = performance.now() - began
    const row = await patient(flip)
    const at = plan.releaseMs >= 0 ? plan.step : await stepAt(world, plan, row, hitAt)
    await straggler?.ended()
    const judged = await settled(world).then(
      () => judge(demo),
      (error: unknown) => ({ violations: [`L4 ${String(error)}`], commits: 0 }),
    )
    violations.push(...judged.violations)
    return {
      plan,
      to,
      at,
      flip: row.outcome,
      why: row.error?.message,
      recoveryMs,
      commits: judged.commits,
      violations,
    }
  } finally {
    lever.release()
  }
}

/** The last step that had begun. Undefined where the flip had ended. */
async function stepAt(
  { store }: World,
  plan: Plan,
  row: FlipRow,
  atMs: number,
): Promise<Moment | undefined> {
  if (row.endedAtMs !== null && row.endedAtMs < atMs) return undefined
  if (plan.step === 'settle') return 'settle'
  const { rows } = await patient(() =>
    store.pool.query<{ step: Moment }>(
      `SELECT step FROM banyan.flip_step WHERE flip = $1 AND extract(epoch from started_at) * 1000 <= $2
       ORDER BY started_at DESC LIMIT 1`,
      [row.id, atMs],
    ),
  )
  return rows[0]?.step
}

/** Another flip while the zombie of this one sleeps, if this one ends before it wakes. */
async function goOn(world: World, over: () => Promise<boolean>, healed: Promise<void>) {
  let awake = false
  void healed.then(() => (awake = true))
  while (!awake && !(await over().catch(() => false))) await pause(LOOK_MS)
  if (awake) return
  const [fact] = (await patient(() => readSlices(world.store.pool))).filter(
    each => each.name === SLICE,
  )
  const stage = must(fact, SLICE).stage
  const to = stage === 'moved' ? 'canary' : 'moved'
  await requestFlip(world.store, {
    ...{ slice: SLICE, from: stage, to, actor: 'chaos', kind: 'flip' },
    percent: to === 'canary' ? 25 : 0,
  }).catch(() => undefined)
}

/** Everything in step and nothing open: then a flip may begin. Returns the stage that it goes to. */
async function ready(world: World): Promise<'moved' | 'canary'> {
  await settled(world)
  const { store } = world
  const fact = must(
    (await patient(() => readSlices(store.pool))).find(each => each.name === SLICE),
    SLICE,
  )
  const to = fact.stage === 'moved' ? 'canary' : 'moved'
  // What a worker that began anew has not seen must be compared.
  while (to === 'moved' && !(await patient(() => lastVerification(store, SLICE)))) {
    const id = await patient(() => requestVerification(store, SLICE, 'chaos'))
    const ended = await soon(async () => {
      const row = await readVerification(store, id)
      return row?.endedAtMs !== null
    })
    if (!ended) throw new Error('a verification did not end')
    const row = await patient(() => readVerification(store, id))
    if (row && (row.differences ?? 0) > 0) throw new Error(`${row.differences} rows differ`)
  }
  return to
}

/** Streams in step, flips ended, every live router on the newest table. Throws what is not so after a while. */
async function settled(world: World): Promise<void> {
  const { store, demo } = world
  const { project } = demo.opened.wiring
  let missing = ''
  const all = await soon(async () => {
    const streams = await readStreams(store)
    const wanted = project.slices
      .filter(({ name }) => name === SLICE || name === 'patients')
      .flatMap(slice => streamsOf(slice, streams, project.banyan.services))
    const bad = wanted.find(
      each =>
        each.state !== 'streaming' || (each.silentMs ?? 9e9) > 1_000 || (each.lagMs ?? 0) > 500,
    )
    const open = await readFlips(store, { open: true, limit: 1 })
    const version = (await readOrders(store))?.version ?? 0
    const late = await ackedBy(store, version)
    const routers = await readRouters(store)
    missing = bad
      ? `stream ${bad.name}: ${bad.state} ${bad.error?.code ?? ''} ${bad.error?.message ?? ''}`
      : open.length > 0
        ? `a flip to ${open[0]?.to} is open`
        : late.length > 0 || routers.length !== 1
          ? `${routers.length} routers, ${late.length} late`
          : ''
    return missing === ''
  })
  if (!all) throw new Error(`not settled: ${missing}`)
}

/** True once it is so; errors count as "not yet": the control database may be away. */
async function soon(test: () => Promise<boolean>): Promise<boolean> {
  const deadline = performance.now() + PATIENCE_MS
  while (performance.now() < deadline) {
    if (await test().catch(() => false)) return true
    await pause(LOOK_MS)
  }
  return false
}

/** The same for an answer. */
async function patient<T>(read: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + PATIENCE_MS
  for (;;) {
    try {
      return await read()
    } catch (error) {
      if (performance.now() > deadline) throw error
      await pause(LOOK_MS)
    }
  }
}
