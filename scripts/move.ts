/** What `flip` and `back` share: somebody must act, somebody must wait, and the file must say what was done. */
import { hostname } from 'node:os'
import { readFile, rename, writeFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { runController } from '../control/controller.ts'
import { readController, takeLease } from '../control/lease.ts'
import { asFlipError } from '../control/perform.ts'
import { endFlip, type FlipRow, readFlips } from '../control/store/flips.ts'
import { transact } from '../control/store/store.ts'
import { editKey } from '../model/edit.ts'
import { BanyanError, must } from '../model/errors.ts'
import { CONTROL_ERRORS } from '../model/errors-control.ts'
import type { Slice } from '../model/project.ts'
import type { Stage } from '../model/stage.ts'
import { unifiedDiff } from '../model/unified-diff.ts'
import type { Context } from './context.ts'
import type { Opened } from './control-store.ts'
import { explain } from '../postgres/explain.ts'
import { loadWiring } from './wiring.ts'

/** A controller that was silent this long isn't waited for. */
const SILENT_MS = 10_000
const LOOK_MS = 250

/**
 * Does `work` while a controller is there: the one that runs, or one of our own that ends once `work` has, and nothing is
 * left to do. `work` waits by the signal that it is given: it aborts, with the reason, when our own controller can't go on.
 */
export async function withController<T>(
  { wiring, store, ear }: Opened,
  context: Context,
  work: (context: Context) => Promise<T>,
): Promise<T> {
  if ((await readController(store))?.alive) return work(context)
  const stuck = new AbortController()
  let working = true
  let failedAt: number | undefined
  const ours = runController({
    store,
    ear,
    wiring,
    load: () => loadWiring(context.config),
    now: () => performance.now(),
    log: {
      info: () => undefined,
      warn(fields) {
        const { slice, err } = fields as { slice?: string; err?: unknown }
        if (slice === undefined) return
        failedAt ??= performance.now()
        // It tries again each second by itself: a database that is only restarting is waited for.
        if (performance.now() - failedAt < SILENT_MS) return
        stuck.abort(new BanyanError(CONTROL_ERRORS.FLIP_OPEN, [slice, explain(err).message]))
      },
    },
    signal: context.signal,
    standby: false,
    untilIdle: () => !working,
  })
  const ended = ours.catch((error: unknown) => stuck.abort(explain(error)))
  try {
    return await work({ ...context, signal: AbortSignal.any([context.signal, stuck.signal]) })
  } finally {
    working = false
    // It may be waiting for something to do.
    await transact(store, ['slice'], async () => undefined).catch(() => undefined)
    await ended
  }
}

/** Waits until the flip has ended. Throws CONTROLLER_SILENT, FLIP_OPEN, and what keeps a controller of our own. */
export async function awaitFlip(
  { store, ear }: Opened,
  context: Context,
  id: number,
): Promise<FlipRow> {
  let aliveAt = performance.now()
  for (;;) {
    const heard = ear.heard(['flip'], LOOK_MS, context.signal)
    const flip = must((await readFlips(store, { id, limit: 1 }))[0], 'the flip')
    if (flip.endedAtMs !== null) return flip
    if ((await readController(store))?.alive) aliveAt = performance.now()
    const silent = performance.now() - aliveAt
    if (silent > SILENT_MS) {
      const rule = flip.startedAtMs === null ? 'CONTROLLER_SILENT' : 'FLIP_OPEN'
      throw new BanyanError(CONTROL_ERRORS[rule], [flip.slice, Math.round(silent)])
    }
    if (context.signal.aborted) throw stoppedWaiting(context, flip.slice)
    await heard
  }
}

/** Why nobody waits any more: a person's word, or what keeps a controller of our own. */
export function stoppedWaiting({ signal }: Pick<Context, 'signal'>, slice: string): Error {
  const reason: unknown = signal.reason
  // An abort that gives no reason is a person's.
  if (reason instanceof Error && reason.name !== 'AbortError') return reason
  return new BanyanError(CONTROL_ERRORS.FLIP_OPEN, [slice, 'you stopped waiting for it'])
}

/**
 * Takes a request back that nobody has begun, where no controller is there who might: it would keep every later one out.
 * Returns how that is to be said, which for a request that was taken up is `why` itself.
 */
export async function withdrawFlip(
  { store, wiring }: Pick<Opened, 'store' | 'wiring'>,
  id: number,
  why: Error,
): Promise<{ readonly withdrawn: boolean; readonly error: Error }> {
  const { configPath } = wiring
  const { signal } = new AbortController()
  await using lease = await takeLease(store, { configPath, wait: false, signal })
  if (!lease) return { withdrawn: false, error: why }
  const flip = must((await readFlips(store, { id, limit: 1 }))[0], 'the flip')
  if (flip.endedAtMs !== null) return { withdrawn: flip.outcome !== 'done', error: why }
  if (flip.startedAtMs !== null) return { withdrawn: false, error: why }
  const open = why instanceof BanyanError && why.code === CONTROL_ERRORS.FLIP_OPEN.code
  const details = open ? [flip.slice, flip.from, why.details[1] ?? why.message] : []
  const error = open ? new BanyanError(CONTROL_ERRORS.FLIP_UNDONE, details, { cause: why }) : why
  await endFlip(store, id, 'undone', asFlipError(explain(error)))
  return { withdrawn: true, error }
}

/** Where the controller reads the project's files, if that isn't here. */
export async function readElsewhere(
  { store }: Pick<Opened, 'store'>,
  context: Context,
): Promise<{ host: string; path: string } | undefined> {
  const controller = await readController(store)
  if (!controller?.alive) return undefined
  const { host, configPath } = controller
  return host === hostname() && configPath === resolve(context.config)
    ? undefined
    : { host, path: configPath }
}

export interface FileChange {
  readonly file: string
  readonly diff: string
  /** Writes it; returns how to take it back, which does nothing where somebody else wrote meanwhile. */
  write(): Promise<() => Promise<void>>
}

/** The slice's file with another stage (and percentage), comments kept. Throws EDIT_REFUSED. */
export async function stageInFile(
  config: string,
  slice: Slice,
  stage: Stage,
  percent: number | undefined,
): Promise<FileChange> {
  const path = join(dirname(config), slice.file)
  const before = await readFile(path, 'utf8')
  const file = slice.file
  let { text } = editKey({ file, text: before, path: ['stage'], value: stage })
  if (percent !== undefined) {
    text = editKey({ file, text, path: ['canary', 'percent'], value: percent }).text
  }
  return {
    file,
    diff: text === before ? '' : unifiedDiff(file, before, text),
    async write() {
      await replace(path, text)
      return async () => {
        if ((await readFile(path, 'utf8')) === text) await replace(path, before)
      }
    },
  }
}

/** Whoever reads the file meanwhile sees the old text or the new one, never half of it. */
async function replace(path: string, text: string): Promise<void> {
  const beside = `${path}.banyan-${process.pid}`
  await writeFile(beside, text)
  await rename(beside, path)
}
