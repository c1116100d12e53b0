/** The decision, and the only writer of stages: reads files (intent), obeys requests and brakes, writes facts. */
import type { LoadedProject } from '../model/project.ts'
import { pause } from '../model/pause.ts'
import type { Wiring } from '../model/wiring.ts'
import { Databases } from './databases.ts'
import { buildOrders } from './orders.ts'
import { performFlip } from './perform.ts'
import { Publisher } from './publisher.ts'
import { reconcile } from './reconcile.ts'
import { recover } from './recover.ts'
import { beat, takeLease } from './lease.ts'
import { type FlipRow, readFlips } from './store/flips.ts'
import { append } from './store/journal.ts'
import { wantSlices } from './store/slices.ts'
import type { Ear, Store } from './store/store.ts'

export interface ControllerLog {
  info(fields: object, phrase: string): void
  warn(fields: object, phrase: string): void
}

export interface ControllerOptions {
  readonly store: Store
  readonly ear: Ear
  /** The files as they are now. A broken one keeps the last good wiring; its problems are shown. */
  readonly load: () => Promise<{ wiring: Wiring | null; diagnostics: LoadedProject['diagnostics'] }>
  readonly wiring: Wiring
  /** Monotonic milliseconds. */
  readonly now: () => number
  readonly log: ControllerLog
  readonly signal: AbortSignal
  /** Wait for another controller to end (a standby), or give up at once. */
  readonly standby: boolean
  /** Ends the controller when nothing is left to do: a command that had no controller to ask brings its own. */
  readonly untilIdle?: boolean | undefined
}

const LOOK_MS = 1_000

/** Runs until the signal aborts. Returns false where another controller holds the lease and `standby` is off. */
export async function runController(options: ControllerOptions): Promise<boolean> {
  const lease = await takeLease(options.store, {
    configPath: options.wiring.configPath,
    wait: options.standby,
    signal: options.signal,
  })
  if (!lease) return false
  await using _lease = lease
  const signal = AbortSignal.any([options.signal, lease.lost])
  let wiring = options.wiring
  const publisher = new Publisher(options.store, () => wiring.project)
  await using databases = new Databases(() => wiring)
  const running = new Map<number, Promise<void>>()
  await append(options.store.pool, { actor: 'controller', slice: null, kind: 'controller started' })
  await wantSlices(options.store, wantedOf(wiring))
  let unsettled = await settleAll()
  let published = tableOf(wiring)
  await publisher.refresh()

  while (!signal.aborted) {
    const heard = options.ear.heard(['flip', 'slice'], LOOK_MS, signal)
    const loaded = await options.load()
    if (loaded.wiring) wiring = loaded.wiring
    await wantSlices(options.store, wantedOf(wiring))
    if (tableOf(wiring) !== published) {
      published = tableOf(wiring)
      await publisher.refresh()
    }
    const problems = loaded.diagnostics.map(
      each => `${each.file}:${each.line}:${each.column} ${each.message}`,
    )
    await beat(options.store, problems)
    if (unsettled.size > 0) unsettled = await settleAll()
    await reconcile(options.store)
    await startFlips()
    if (options.untilIdle && running.size === 0) break
    await heard
  }
  await Promise.allSettled(running.values())
  return true

  async function settleAll() {
    const context = {
      store: options.store,
      databases,
      publisher,
      headroom: wiring.project.banyan.limits.sequenceHeadroom,
    }
    const failed = await recover(context, wiring.project.slices)
    for (const [slice, error] of failed)
      options.log.warn({ slice, err: error }, 'slice not settled yet')
    return failed
  }

  async function startFlips(): Promise<void> {
    for (const flip of await readFlips(options.store, { open: true, limit: 100 })) {
      if (flip.startedAtMs !== null || running.has(flip.id) || unsettled.has(flip.slice)) continue
      running.set(flip.id, perform(flip))
    }
  }

  async function perform(flip: FlipRow): Promise<void> {
    options.log.info({ slice: flip.slice, from: flip.from, to: flip.to }, 'flip begins')
    const context = {
      ...options,
      databases,
      publisher,
      signal,
      wiring,
      sleep: pause,
    }
    try {
      const outcome = await performFlip(context, flip)
      options.log.info({ slice: flip.slice, from: flip.from, to: flip.to, outcome }, 'flip ended')
    } catch (error) {
      // It stays open: what became of it is in the databases, and settling reads it there.
      options.log.warn({ slice: flip.slice, err: error }, 'flip not settled yet')
      unsettled.set(flip.slice, error)
    } finally {
      running.delete(flip.id)
    }
  }
}

/** What routers would be told by these files alone: a stage that is merely wanted changes nothing for them. */
function tableOf(wiring: Wiring): string {
  return JSON.stringify(buildOrders(wiring.project, [], []))
}

function wantedOf(wiring: Wiring) {
  return wiring.project.slices.map(({ name, service, stage, canary }) => ({
    name,
    service,
    stage,
    percent: stage === 'canary' ? canary.percent : 0,
  }))
}
