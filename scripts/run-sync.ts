/** `banyan run sync`: the worker that carries changes. It begins anew when the files say something else than stages. */
import { settlementOf } from '../control/cutover-runner.ts'
import { lostSlices } from '../control/reconcile.ts'
import { mustRemember } from '../control/remembered.ts'
import { readSlices } from '../control/store/slices.ts'
import type { Store } from '../control/store/store.ts'
import { createSyncStore } from '../control/sync-store.ts'
import { must } from '../model/errors.ts'
import { pause } from '../model/pause.ts'
import type { Wiring } from '../model/wiring.ts'
import { runWorker } from '../sync/worker.ts'
import type { Context } from './context.ts'
import { askControl, openStore } from './control-store.ts'
import type { PartOptions } from './run.ts'
import { loadWiring, wiringOfPart } from './wiring.ts'

/** How often the files are read. */
const LOOK_MS = 1_000

export async function runSync(context: Context, options: PartOptions): Promise<void> {
  let wiring = await wiringOfPart(context.config, options.log)
  await askControl(wiring.control)
  await using opened = openStore(wiring.control)
  const { store } = opened
  await mustRemember(store, wiring)
  options.ready({})
  while (!context.signal.aborted) {
    const stop = new AbortController()
    const working = work(wiring, store, options, AbortSignal.any([context.signal, stop.signal]))
    const next = changed(context, store, wiring, stop.signal)
    const outcome = await Promise.race([working, next])
    stop.abort()
    await working
    wiring = outcome ?? wiring
  }
}

async function work(
  wiring: Wiring,
  control: Store,
  options: PartOptions,
  signal: AbortSignal,
): Promise<void> {
  await using store = createSyncStore(control, wiring)
  const headroom = wiring.project.banyan.limits.sequenceHeadroom
  await runWorker(
    {
      wiring,
      store,
      log: options.log,
      delayMs: options.lagMs,
      settlement: (task, sessions) => settlementOf(must(task.slice, 'slice'), sessions, headroom),
    },
    signal,
  )
}

/** Resolves with the new wiring once it says something that a worker rests on. A broken file changes nothing. */
async function changed(
  context: Context,
  store: Store,
  now: Wiring,
  signal: AbortSignal,
): Promise<Wiring | undefined> {
  while (!signal.aborted && !context.signal.aborted) {
    await pause(LOOK_MS, AbortSignal.any([signal, context.signal]))
    const { wiring } = await loadWiring(context.config).catch(() => ({ wiring: null }))
    if (!wiring || essence(wiring) === essence(now)) continue
    // A file that vanished under a slice in motion: the last one counts.
    const facts = await readSlices(store.pool).catch(() => undefined)
    if (facts && lostSlices(wiring.project, facts).length === 0) return wiring
  }
  return undefined
}

/** What a worker goes by; whatever else a file says is no reason to begin anew, and to compare again. */
function essence({ project, legacy, services, control }: Wiring): string {
  const slices = project.slices.map(({ name, service, tables, foreignKeys, triggers }) => {
    return { name, service, tables, foreignKeys, triggers }
  })
  const { services: wired, limits } = project.banyan
  return JSON.stringify([slices, wired, limits, legacy, services, control])
}
