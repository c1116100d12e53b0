/** What `flip`, `back` and their like share: somebody must act, somebody must wait, and the file must say what was done. */
import { hostname } from 'node:os'
import { readFile, rename, writeFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { runController } from '../control/controller.ts'
import { readController, takeLease } from '../control/lease.ts'
import { asFlipError } from '../control/perform.ts'
import { endFlip, type FlipRow, readFlips } from '../control/store/flips.ts'
import type { SliceFact } from '../control/store/slices.ts'
import { transact } from '../control/store/store.ts'
import { editKey } from '../model/edit.ts'
import { BanyanError, must } from '../model/errors.ts'
import { CONTROL_ERRORS } from '../model/errors-control.ts'
import type { Slice } from '../model/project.ts'
import type { Stage } from '../model/stage.ts'
import { unifiedDiff } from '../model/unified-diff.ts'
import { explain } from '../postgres/explain.ts'
import type { Context } from './context.ts'
import type { Opened } from './control-store.ts'
import { leftText, progressText } from './flip-text.ts'
import { type LiveLine, liveLine } from './live.ts'
import { widthOf, wrap } from './table.ts'
import { loadWiring } from './wiring.ts'

/** A controller that was silent this long isn't waited for. */
const SILENT_MS = 10_000
const LOOK_MS = 250

/** The context of a command that waits for a controller. */
export interface Waiting extends Context {
  /** It is our own: what it has begun ends before we do. */
  readonly ours: boolean
}

/**
 * Does `work` while a controller is there: the one that runs, or one of our own that ends once `work` has, and nothing is
 * left to do. `work` waits by the signal that it is given: it aborts, with the reason, when our own controller can't go on.
 */
export async function withController<T>(
  { wiring, store, ear }: Opened,
  context: Context,
  work: (context: Waiting) => Promise<T>,
): Promise<T> {
  if ((await readController(store))?.alive) return work({ ...context, ours: false })
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
    const signal = AbortSignal.any([context.signal, stuck.signal])
    return await work({ ...context, signal, ours: true })
  } finally {
    working = false
    // It may be waiting for something to do.
    await transact(store, ['slice'], async () => undefined).catch(() => undefined)
    await ended
  }
}

/**
 * Waits until the flip has ended; on a terminal `line` shows its steps meanwhile. Throws CONTROLLER_SILENT, FLIP_OPEN,
 * FLIP_LEFT, and what keeps a controller of our own.
 */
export async function awaitFlip(
  opened: Opened,
  context: Waiting,
  id: number,
  line: LiveLine = liveLine(context, false),
): Promise<FlipRow> {
  const { store, ear } = opened
  let aliveAt = performance.now()
  try {
    for (;;) {
      const heard = ear.heard(line.hidden ? ['flip'] : ['flip', 'step'], LOOK_MS, context.signal)
      const flip = must((await readFlips(store, { id, limit: 1 }))[0], 'the flip')
      if (flip.endedAtMs !== null) return flip
      if ((await readController(store))?.alive) aliveAt = performance.now()
      const silent = performance.now() - aliveAt
      if (silent > SILENT_MS) {
        const rule = flip.startedAtMs === null ? 'CONTROLLER_SILENT' : 'FLIP_OPEN'
        throw new BanyanError(CONTROL_ERRORS[rule], [flip.slice, Math.round(silent)])
      }
      if (context.signal.aborted) throw left(opened, context, flip, line)
      line.show(`  ${progressText(flip)}`)
      await heard
    }
  } finally {
    line.clear()
  }
}

/** Why nobody waits any more: a person's word, with what becomes of the flip, or what keeps a controller of our own. */
function left({ wiring }: Opened, context: Waiting, flip: FlipRow, line: LiveLine): Error {
  const slice = wiring.project.slices.find(each => each.name === flip.slice)
  const { ours } = context
  const text = leftText(flip, { ours, holdMs: slice?.cutover.holdMs ?? 0 })
  const why = stoppedWaiting(context, flip.slice, text)
  // Our own controller ends before we do, and then the end is known and said: this is for whoever waits for that.
  if (ours && isLeft(why) && !context.json) {
    line.clear()
    context.write(`${wrap(`  Ctrl-C: ${text}`, widthOf(context), '  ').join('\n')}\n`)
  }
  return why
}

/** A person's word (FLIP_LEFT), or what keeps a controller of our own. */
export function stoppedWaiting(
  { signal }: Pick<Context, 'signal'>,
  slice: string,
  text: string,
): Error {
  const reason: unknown = signal.reason
  // An abort that gives no reason is a person's.
  if (reason instanceof Error && reason.name !== 'AbortError') return reason
  return new BanyanError(CONTROL_ERRORS.FLIP_LEFT, [slice, text])
}

function isLeft(error: unknown): boolean {
  return error instanceof BanyanError && error.code === CONTROL_ERRORS.FLIP_LEFT.code
}

/**
 * How a flip ended that `waited` waits for. Where a person stopped waiting, and it has ended all the same (with the
 * controller of our own), that end is what counts; where nobody has begun it and nobody might, it is taken back.
 */
export async function endOf(
  opened: Opened,
  id: number,
  waited: Promise<FlipRow>,
): Promise<{ readonly ended?: FlipRow | undefined; readonly error?: Error | undefined }> {
  try {
    return { ended: await waited }
  } catch (cause) {
    const why = explain(cause)
    const stays = { ended: undefined, error: why }
    const { ended, error } = await withdrawFlip(opened, id, why).catch(() => stays)
    return { ended, error: ended && isLeft(why) ? undefined : error }
  }
}

/**
 * Takes a request back that nobody has begun, where no controller is there who might: it would keep every later one out.
 * Returns the flip where it has ended, now or before, and how that is to be said.
 */
async function withdrawFlip(
  { store, wiring }: Pick<Opened, 'store' | 'wiring'>,
  id: number,
  why: Error,
): Promise<{ readonly ended: FlipRow | undefined; readonly error: Error }> {
  const { configPath } = wiring
  const { signal } = new AbortController()
  const read = async () => must((await readFlips(store, { id, limit: 1 }))[0], 'the flip')
  await using lease = await takeLease(store, { configPath, wait: false, signal })
  const flip = await read()
  if (flip.endedAtMs !== null) return { ended: flip, error: why }
  if (!lease || flip.startedAtMs !== null) return { ended: undefined, error: why }
  const known = why instanceof BanyanError && why.code === CONTROL_ERRORS.FLIP_OPEN.code
  const reason = isLeft(why) ? 'you stopped waiting for it' : known ? why.details[1] : undefined
  const details = [flip.slice, flip.from, reason ?? why.message]
  const error = reason ? new BanyanError(CONTROL_ERRORS.FLIP_UNDONE, details, { cause: why }) : why
  await endFlip(store, id, 'undone', asFlipError(explain(error)))
  return { ended: await read(), error }
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

/** What is wanted: by the controller's own files, where it reads others; else by the ones here, which it may not have seen. */
export function asWanted(fact: SliceFact, slice: Slice, elsewhere: boolean): SliceFact {
  if (elsewhere && fact.wantedStage !== null) return fact
  return { ...fact, wantedStage: slice.stage, wantedPercent: slice.canary.percent }
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
