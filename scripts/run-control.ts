/** `banyan run control`: the controller. One works, others stand by. */
import { runController } from '../control/controller.ts'
import { BanyanError } from '../model/errors.ts'
import { pause } from '../model/pause.ts'
import { explain } from '../postgres/explain.ts'
import { mustRemember } from '../control/remembered.ts'
import type { Context } from './context.ts'
import { askControl, openStore } from './control-store.ts'
import type { PartOptions } from './run.ts'
import { loadWiring, wiringOfPart } from './wiring.ts'

/** Between two attempts while the control database is away. */
const AGAIN_MS = 500

export async function runControl(context: Context, { log, ready }: PartOptions): Promise<void> {
  const wiring = await wiringOfPart(context.config, log)
  await askControl(wiring.control)
  await using opened = openStore(wiring.control)
  const { store, ear } = opened
  // Now, so that whoever starts it hears of it.
  await mustRemember(store, wiring)
  ready({})
  while (!context.signal.aborted) {
    const running = runController({
      ...{ store, ear, wiring, log },
      load: () => loadWiring(context.config),
      now: () => performance.now(),
      signal: context.signal,
      standby: true,
    })
    try {
      await running
      // The lease was lost with its session: stand by for it again.
      if (!context.signal.aborted) log.warn({}, 'lease lost')
    } catch (error) {
      // Whoever starts processes again waits longer each time: too long for a database that fails over.
      const known = explain(error, wiring.control)
      if (!(known instanceof BanyanError && known.rule.retry)) throw error
      log.warn({ err: known }, 'controller begins anew')
      await pause(AGAIN_MS, context.signal)
    }
  }
}
