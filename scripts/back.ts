/** `banyan back`: the brake. An override in the control database, at once; the slice goes back step by step and stays. */
import { asFlipError } from '../control/perform.ts'
import { stepsAhead } from '../control/reconcile.ts'
import { type FlipError, type FlipRow, readFlips } from '../control/store/flips.ts'
import { append } from '../control/store/journal.ts'
import { readSlices, setOverride, type SliceFact } from '../control/store/slices.ts'
import { transact } from '../control/store/store.ts'
import { readWayBack } from '../control/way-back.ts'
import { BanyanError, must } from '../model/errors.ts'
import { CONFIG_ERRORS } from '../model/errors-config.ts'
import { CONTROL_ERRORS } from '../model/errors-control.ts'
import type { Slice } from '../model/project.ts'
import { movesOwner, type Stage, STAGE_NAMES } from '../model/stage.ts'
import { explain } from '../postgres/explain.ts'
import type { FlipOptions } from './banyan.ts'
import { commandLine, type Context, type ExitCode, problemText, jsonText } from './context.ts'
import { findSlice, type Opened, withGoodFiles } from './control-store.ts'
import { fit } from './fit.ts'
import { stageOf } from './flip.ts'
import { flipLine, proposedText, roadText, stepsLine, wantsText } from './flip-text.ts'
import { liveLine } from './live.ts'
import { brokenKeys, orphanedKeys, orphanLines } from './orphans-text.ts'
import { awaitFlip, stageInFile, stoppedWaiting, type Waiting, withController } from './move.ts'

/** A brake that nobody has acted on for so long is said to stand, and not to be obeyed yet. */
const SILENT_MS = 10_000

export async function runBack(
  context: Context,
  name: string,
  wanted: string | undefined,
  options: FlipOptions,
): Promise<ExitCode> {
  return withGoodFiles<ExitCode>(context, async opened => {
    const { slice, fact } = await findSlice(opened, name)
    const to = targetOf(wanted, fact)
    const reason = options.reason ?? 'no reason given'
    // Before the brake: the controller may be done before we look again.
    const [before] = await readFlips(opened.store, { slice: name, limit: 1 })
    const seen = before ? (before.endedAtMs === null ? before.id - 1 : before.id) : 0
    await transact(opened.store, ['slice'], async client => {
      await setOverride(client, name, { stage: to, by: context.actor, reason })
      const detail = { from: fact.stage, to, reason }
      await append(client, { actor: context.actor, slice: name, kind: 'brake on', detail })
    })
    const gone = await withController(opened, context, waiting =>
      goBack(opened, waiting, { name, to, seen }),
    )
    const left = gone.error?.code === CONTROL_ERRORS.FLIP_LEFT.code
    const { flips, error } = left ? await lookAgain(opened, gone, { name, to, seen }) : gone
    const diff = await diffOf(context, slice, to)
    const done = flips.filter(each => each.outcome === 'done')
    const home = done.some(each => movesOwner(each.from, each.to))
    const orphans = home ? await brokenKeys(opened, slice) : []
    if (context.json) {
      const keys = home ? { orphans: orphanedKeys(orphans) } : {}
      const said = { slice: name, from: fact.stage, to, done: error === null, error, flips }
      const lossy = error?.blockers?.some(each => each.code === 'WOULD_LOSE') ?? false
      const loses = lossy ? (await readWayBack(opened, slice)).loses : undefined
      context.write(jsonText({ ...said, ...keys, ...(loses && { loses }), diff }))
      return error?.exit ?? 0
    }
    let here: Pick<SliceFact, 'stage' | 'percent'> = fact
    for (const flip of done) {
      context.write(`${flipLine(context, name, here, flip)}\n`)
      if (flip.steps.length > 0) context.write(`${stepsLine(context, flip)}\n`)
      here = { stage: flip.to, percent: flip.percent }
    }
    for (const line of orphanLines(context, orphans, { slice: name, hint: true })) {
      context.write(`${line}\n`)
    }
    if (error) return notThere(context, error)
    context.write(`  the brake is on until: ${commandLine(context, `release ${name}`)}\n`)
    if (diff !== '') {
      context.write(`${againText(context, slice, { stage: to, percent: 0 })}\n${diff}`)
    }
    context.write(`next: ${commandLine(context, `why ${name}`)}\n`)
    return 0
  })
}

/** What a release would do, as long as the file is what it is. */
export function againText(
  context: Context,
  slice: Slice,
  here: { readonly stage: Stage; readonly percent: number },
): string {
  const wanted = { wantedStage: slice.stage, wantedPercent: slice.canary.percent, override: null }
  const steps = stepsAhead({ ...here, ...wanted })
  const goes =
    steps.length > 0
      ? `it goes ${roadText(steps)} again`
      : `${slice.stage} stands as proposed again`
  const wants = `  ${slice.file} still wants ${wantsText(slice)}: once released, ${goes}${steps.length > 0 ? proposedText(slice, steps) : ''}`
  return fit(context, [`${wants}, unless the file is made to say what is:`]).join('\n')
}

/** Empty where the file says so already, or is so broken that nothing can be said. */
async function diffOf(context: Context, slice: Slice, to: Stage): Promise<string> {
  const change = await stageInFile(context.config, slice, to, undefined).catch((error: unknown) => {
    const code = (error as { code?: unknown }).code
    if (code === CONFIG_ERRORS.EDIT_REFUSED.code || code === 'ENOENT') return undefined
    throw error
  })
  return change?.diff ?? ''
}

/** Throws NOTHING_BACK where the way doesn't lead back, or nothing is behind. */
function targetOf(wanted: string | undefined, fact: SliceFact): Stage {
  const here = STAGE_NAMES.indexOf(fact.stage)
  const to = wanted === undefined ? STAGE_NAMES[here - 1] : stageOf(wanted, fact, undefined, 'back')
  if (to === undefined || STAGE_NAMES.indexOf(to) >= here || fact.stage === 'retired') {
    throw new BanyanError(CONTROL_ERRORS.NOTHING_BACK, [fact.name, fact.stage, to ?? 'anything'])
  }
  return to
}

interface Gone {
  readonly flips: FlipRow[]
  /** Null where it has arrived. */
  readonly error: FlipError | null
}

/**
 * Waits for each step; ends where the slice has arrived, or where a step was refused. `seen`: the last flip that ended
 * before the brake.
 */
async function goBack(
  opened: Opened,
  context: Waiting,
  { name, to, seen }: { readonly name: string; readonly to: Stage; readonly seen: number },
): Promise<Gone> {
  const { store, ear } = opened
  const flips: FlipRow[] = []
  const line = liveLine(context)
  let actedAt = performance.now()
  for (;;) {
    const heard = ear.heard(['flip', 'slice'], 100, context.signal)
    const after = flips.at(-1)?.id ?? seen
    const next = (await readFlips(store, { slice: name, limit: 20 })).findLast(
      each => each.id > after,
    )
    if (next) {
      const flip = await awaitFlip(opened, context, next.id, line).catch(coded)
      if (!('outcome' in flip)) return { flips, error: flip }
      flips.push(flip)
      actedAt = performance.now()
      if (flip.kind === 'back' && flip.outcome !== 'done') {
        return { flips, error: flip.error ?? silent(name) }
      }
    }
    const fact = must(
      (await readSlices(store.pool)).find(each => each.name === name),
      name,
    )
    if (fact.stage === to && !next) return { flips, error: null }
    if (context.signal.aborted) {
      const text = 'nobody has taken the brake up yet'
      return { flips, error: coded(stoppedWaiting(context, name, text)) }
    }
    if (performance.now() - actedAt > SILENT_MS) return { flips, error: silent(name) }
    if (!next) await heard
  }
}

/** A controller of our own has ended what it had begun, after a person stopped waiting for it. */
async function lookAgain(
  { store }: Opened,
  { error }: Gone,
  { name, to, seen }: { readonly name: string; readonly to: Stage; readonly seen: number },
): Promise<Gone> {
  const all = await readFlips(store, { slice: name, limit: 20 })
  const flips = all.filter(each => each.id > seen && each.endedAtMs !== null).reverse()
  const fact = (await readSlices(store.pool)).find(each => each.name === name)
  return { flips, error: fact?.stage === to ? null : error }
}

function silent(name: string): FlipError {
  return coded(new BanyanError(CONTROL_ERRORS.CONTROLLER_SILENT, [name, SILENT_MS]))
}

function coded(error: unknown): FlipError {
  return asFlipError(explain(error))
}

function notThere(context: Context, error: FlipError): ExitCode {
  for (const each of error.blockers ?? []) context.write(problemText(context, each))
  context.write(problemText(context, error))
  context.write(`  the brake stays on: it is tried again until it is released\n`)
  return error.exit
}
