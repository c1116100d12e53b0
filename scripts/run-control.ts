/** `banyan run control`: the controller. One works, others stand by. */
import { runController } from '../control/controller.ts'
import { mustRemember } from '../control/remembered.ts'
import type { Context } from './context.ts'
import { askControl, openStore } from './control-store.ts'
import type { PartOptions } from './run.ts'
import { loadWiring, openWiring } from './wiring.ts'

export async function runControl(context: Context, { log, ready }: PartOptions): Promise<void> {
  const wiring = await openWiring(context.config)
  await askControl(wiring.control)
  await using opened = openStore(wiring.control)
  const { store, ear } = opened
  // Now, so that whoever starts it hears of it.
  await mustRemember(store, wiring)
  ready({})
  while (!context.signal.aborted) {
    await runController({
      ...{ store, ear, wiring, log },
      load: () => loadWiring(context.config),
      now: () => performance.now(),
      signal: context.signal,
      standby: true,
    })
    // The lease was lost with its session: stand by for it again.
    if (!context.signal.aborted) log.warn({}, 'lease lost')
  }
}
