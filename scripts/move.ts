/** What `flip` and `back` share: somebody must act, somebody must wait, and the file must say what was done. */
import { hostname } from 'node:os'
import { readFile, rename, writeFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { runController } from '../control/controller.ts'
import { readController } from '../control/lease.ts'
import { type FlipRow, readFlips } from '../control/store/flips.ts'
import { editKey } from '../model/edit.ts'
import { BanyanError, must } from '../model/errors.ts'
import { CONTROL_ERRORS } from '../model/errors-control.ts'
import type { Slice } from '../model/project.ts'
import type { Stage } from '../model/stage.ts'
import type { Context } from './context.ts'
import type { Opened } from './control-store.ts'
import { loadWiring } from './wiring.ts'

/** A controller that was silent this long isn't waited for. */
const SILENT_MS = 10_000
const LOOK_MS = 250

/**
 * Does `work` while a controller is there: the one that runs, or one of our own that ends when nothing is left to do.
 */
export async function withController<T>(
  { wiring, store, ear }: Opened,
  context: Context,
  work: () => Promise<T>,
): Promise<T> {
  if ((await readController(store))?.alive) return work()
  const stop = new AbortController()
  const ours = runController({
    store,
    ear,
    wiring,
    load: () => loadWiring(context.config),
    now: () => performance.now(),
    log: { info: () => undefined, warn: () => undefined },
    signal: AbortSignal.any([stop.signal, context.signal]),
    standby: false,
    untilIdle: true,
  })
  try {
    return await work()
  } finally {
    await ours.catch(() => undefined)
    stop.abort()
  }
}

/** Waits until the flip has ended. Throws CONTROLLER_SILENT, FLIP_OPEN. `seen` is told of every change. */
export async function awaitFlip(
  { store, ear }: Opened,
  context: Context,
  id: number,
  seen: (flip: FlipRow) => void = () => undefined,
): Promise<FlipRow> {
  let aliveAt = performance.now()
  for (;;) {
    const heard = ear.heard(['flip'], LOOK_MS, context.signal)
    const flip = must((await readFlips(store, { id, limit: 1 }))[0], 'the flip')
    seen(flip)
    if (flip.endedAtMs !== null) return flip
    if ((await readController(store))?.alive) aliveAt = performance.now()
    const silent = performance.now() - aliveAt
    if (silent > SILENT_MS) {
      const rule = flip.startedAtMs === null ? 'CONTROLLER_SILENT' : 'FLIP_OPEN'
      throw new BanyanError(CONTROL_ERRORS[rule], [flip.slice, Math.round(silent)])
    }
    if (context.signal.aborted) {
      throw new BanyanError(CONTROL_ERRORS.FLIP_OPEN, [flip.slice, 'you stopped waiting for it'])
    }
    await heard
  }
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
  const { unifiedDiff } = await import('../model/unified-diff.ts')
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
