/** The decision, and the only writer of stages: reads files (intent), obeys requests and brakes, writes facts. */
import { placed } from '../model/diagnostic.ts'
import { BanyanError, must } from '../model/errors.ts'
import { CONTROL_ERRORS } from '../model/errors-control.ts'
import type { LoadedProject, ProjectTexts, Slice } from '../model/project.ts'
import type { Source } from '../model/source.ts'
import { pause } from '../model/pause.ts'
import type { Wiring } from '../model/wiring.ts'
import { explain } from '../postgres/explain.ts'
import { watchReturned } from './abandon.ts'
import { Databases, setupSession } from './databases.ts'
import { restoreKeys } from './loosen.ts'
import { buildOrders } from './orders.ts'
import { asFlipError, performFlip } from './perform.ts'
import { Publisher } from './publisher.ts'
import { lostSlices, reconcile, wantedOf } from './reconcile.ts'
import { recover } from './recover.ts'
import { mustRemember } from './remembered.ts'
import { beat, takeLease } from './lease.ts'
import { readAbandoned } from './store/abandoned.ts'
import { endFlip, type FlipRow, readFlips } from './store/flips.ts'
import { append } from './store/journal.ts'
import { readSlices, wantSlices } from './store/slices.ts'
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
  /** Asked when nothing is left to do; true ends the controller: a command that had none to ask brings its own. */
  readonly untilIdle?: (() => boolean) | undefined
}

const LOOK_MS = 1_000

/**
 * Runs until the signal aborts. Returns false where another controller holds the lease and `standby` is off.
 * Throws SLICE_FILE_GONE where it would begin without the file of a slice in motion, CONTROL_LOST where the control
 * database has forgotten one: to routers every slice would be at legacy.
 */
export async function runController(options: ControllerOptions): Promise<boolean> {
  const lease = await takeLease(options.store, {
    configPath: options.wiring.configPath,
    wait: options.standby,
    signal: options.signal,
  })
  if (!lease) return false
  await using _lease = lease
  const over = new AbortController()
  const signal = AbortSignal.any([options.signal, lease.lost, over.signal])
  const gone = await lost(options.wiring)
  if (gone.length > 0) throw new BanyanError(CONTROL_ERRORS.SLICE_FILE_GONE, [gone.join(', ')])
  await mustRemember(options.store, options.wiring)
  let wiring = options.wiring
  const publisher = new Publisher({ store: options.store, lease, project: () => wiring.project })
  await using databases = new Databases(() => wiring)
  const running = new Map<string, Promise<void>>()
  // Beside the loop: a database that says nothing keeps no other slice waiting.
  let settling: Promise<void> | undefined
  let returning: Promise<void> | undefined
  // Whatever ends it: nothing of this lease goes on behind its successor's back.
  await using _running = {
    async [Symbol.asyncDispose]() {
      over.abort()
      await Promise.allSettled([...running.values(), settling, returning])
    },
  }
  await append(options.store.pool, { actor: 'controller', slice: null, kind: 'controller started' })
  await wantSlices(options.store, wantedOf(wiring.project))
  const unsettled = await settle(wiring.project.slices)
  let published = tableOf(wiring)
  await publisher.refresh()

  while (!signal.aborted) {
    const heard = options.ear.heard(['flip', 'slice'], LOOK_MS, signal)
    // Asked for before the files are read: a flip is never judged by older files than whoever asked for it had.
    const asked = await readFlips(options.store, { open: true, limit: 100 })
    const loaded = await options.load()
    const missing = loaded.wiring ? await lost(loaded.wiring) : []
    if (loaded.wiring && missing.length === 0) wiring = loaded.wiring
    await wantSlices(options.store, wantedOf(wiring.project))
    if (tableOf(wiring) !== published) {
      published = tableOf(wiring)
      await publisher.refresh()
    }
    const problems = loaded.diagnostics.map(placed)
    for (const name of missing) {
      problems.push(new BanyanError(CONTROL_ERRORS.SLICE_FILE_GONE, [name]).message)
    }
    await beat(options.store, { files: textsOf(wiring), problems })
    settling ??= settleAgain().finally(() => (settling = undefined))
    returning ??= closeReturning().finally(() => (returning = undefined))
    const more = await reconcile(options.store, wiring.project)
    startFlips(asked)
    if (running.size === 0 && more === 0 && options.untilIdle?.()) break
    await heard
  }
  return true

  async function lost({ project }: Wiring): Promise<string[]> {
    const facts = await readSlices(options.store.pool)
    return lostSlices(project, facts).map(fact => fact.name)
  }

  async function settle(slices: readonly Slice[]): Promise<Map<string, unknown>> {
    const context = {
      store: options.store,
      lease: must(lease, 'the lease'),
      databases,
      publisher,
      headroom: wiring.project.banyan.limits.sequenceHeadroom,
    }
    const failed = await recover(context, slices)
    for (const [slice, error] of failed)
      options.log.warn({ slice, err: error }, 'slice not settled yet')
    if (failed.size === 0)
      await keysHome().catch(note => options.log.warn({ err: note as Error }, 'keys not restored'))
    return failed
  }

  async function settleAgain(): Promise<void> {
    const tried = wiring.project.slices.filter(slice => unsettled.has(slice.name))
    try {
      if (tried.length === 0) return
      const failed = await settle(tried)
      for (const { name } of tried) {
        if (failed.has(name)) unsettled.set(name, failed.get(name))
        else unsettled.delete(name)
      }
    } catch (error) {
      options.log.warn({ err: error as Error }, 'slices not settled')
    }
  }

  /** A database that was given up is closed as soon as it answers. */
  async function closeReturning(): Promise<void> {
    try {
      const headroom = wiring.project.banyan.limits.sequenceHeadroom
      for (const { slice: name, returnedAtMs } of await readAbandoned(options.store)) {
        const slice = wiring.project.slices.find(each => each.name === name)
        if (!slice || returnedAtMs !== null) continue
        const sessions = await databases.both(slice).catch(() => undefined)
        if (sessions) await watchReturned({ store: options.store, headroom }, slice, sessions)
      }
    } catch (error) {
      options.log.warn({ err: error as Error }, 'an old database is not closed yet')
    }
  }

  /** A predecessor that died may have left keys loose that nobody needs so. */
  async function keysHome(): Promise<void> {
    // Where nothing ever moved, no role of ours may be there yet.
    const facts = await readSlices(options.store.pool)
    if (facts.every(fact => fact.stage === 'legacy' && fact.epoch === 0)) return
    await using setup = await setupSession(wiring.legacy.setup)
    await restoreKeys(options.store, setup.client, wiring.project)
  }

  function startFlips(asked: readonly FlipRow[]): void {
    for (const flip of asked) {
      const busy = running.has(flip.slice)
      if (flip.startedAtMs === null && !busy) running.set(flip.slice, perform(flip))
    }
  }

  /** Why no flip of the slice can begin yet. Giving its service up is what ends such a wait. */
  async function stillUnsettled(flip: FlipRow): Promise<unknown> {
    if (!unsettled.has(flip.slice)) return undefined
    await (settling ??= settleAgain().finally(() => (settling = undefined)))
    return flip.kind === 'abandon' ? undefined : unsettled.get(flip.slice)
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
      const left = await stillUnsettled(flip)
      if (left) {
        await endFlip(options.store, flip.id, 'refused', asFlipError(explain(left)))
        return
      }
      const outcome = await performFlip(context, flip)
      options.log.info({ slice: flip.slice, from: flip.from, to: flip.to, outcome }, 'flip ended')
    } catch (error) {
      // It stays open: what became of it is in the databases, and settling reads it there.
      options.log.warn({ slice: flip.slice, err: error }, 'flip not settled yet')
      unsettled.set(flip.slice, error)
    } finally {
      running.delete(flip.slice)
    }
  }
}

function textsOf({ sources }: Wiring): ProjectTexts {
  const text = ({ file, text }: Source) => ({ file, text })
  return { banyan: text(sources.banyan), slices: [...sources.slices.values()].map(text) }
}

/** What routers would be told by these files alone: a stage that is merely wanted changes nothing for them. */
function tableOf(wiring: Wiring): string {
  return JSON.stringify(buildOrders(wiring.project, [], []))
}
