/** `banyan flip`: asks for a flip, writes the file, waits, and says how it ended. */
import { type FlipRow, requestFlip } from '../control/store/flips.ts'
import type { SliceFact } from '../control/store/slices.ts'
import { BanyanError, must } from '../model/errors.ts'
import { CONTROL_ERRORS } from '../model/errors-control.ts'
import type { Slice } from '../model/project.ts'
import { movesOwner, OFFERED_STAGES, type Stage, STAGES, STAGE_NAMES } from '../model/stage.ts'
import { suggest } from '../model/suggest.ts'
import { readWayBack } from '../control/way-back.ts'
import type { FlipOptions } from './banyan.ts'
import { named } from './checks-now.ts'
import { commandLine, type Context, type ExitCode, problemText, jsonText } from './context.ts'
import { findSlice, type Opened, withControl } from './control-store.ts'
import { flipLine, stepsLine } from './flip-text.ts'
import { awaitInStep } from './in-step.ts'
import { wayBackWords } from './loss-text.ts'
import { type LiveLine, liveLine } from './live.ts'
import { awaitFlip, endOf, readElsewhere, stageInFile, withController } from './move.ts'
import { brokenKeys, orphanedKeys, orphanLines } from './orphans-text.ts'

export async function runFlip(
  context: Context,
  name: string,
  wanted: string | undefined,
  options: FlipOptions,
): Promise<ExitCode> {
  const asked = percentOf(options.percent)
  return withControl<ExitCode>(context, async opened => {
    const { slice, fact } = await findSlice(opened, name)
    const to = stageOf(wanted, fact, asked)
    if (asked !== undefined && to !== 'canary')
      throw badPercent(options.percent, 'only canary has one')
    if (to === 'retired') throw new BanyanError(CONTROL_ERRORS.RETIRE_LATER, [name])
    const percent = to === 'canary' ? (asked ?? slice.canary.percent) : 0
    const flip = { from: fact.stage, to, percent }
    if (to === fact.stage && percent === fact.percent) {
      say(context, { ...flip, slice: name, outcome: 'done' }, `✔ ${name} is at ${to} already\n`)
      return 0
    }
    const ended = await moveSlice(context, opened, {
      ...{ slice, fact, to, percent: asked, reason: options.reason, line: liveLine(context) },
    })
    if (ended.outcome === 'done') return await done(context, opened, slice, fact, ended)
    return refused(context, ended)
  })
}

/**
 * Asks for the flip, writes the slice's file, and waits for the end; a flip that wasn't done leaves the file as it was.
 * Throws what `requestFlip` and `awaitFlip` throw, and FILE_ELSEWHERE; a request that nobody is there for is taken back.
 */
export async function moveSlice(
  context: Context,
  opened: Opened,
  wanted: {
    readonly slice: Slice
    readonly fact: SliceFact
    readonly to: Stage
    /** Undefined: what the file says. */
    readonly percent: number | undefined
    readonly reason: string | undefined
    /** Shows its steps while they are under way. */
    readonly line?: LiveLine
  },
): Promise<FlipRow> {
  const { slice, fact, to, percent, reason, line } = wanted
  const elsewhere = await readElsewhere(opened, context)
  const change = await stageInFile(context.config, slice, to, percent)
  // What the file wants there and nobody may do by itself, this command is the word for.
  const proposed = fact.wantedStage === to && movesOwner(fact.stage, to)
  if (elsewhere && !proposed) {
    if (!context.json) context.write(change.diff)
    throw new BanyanError(CONTROL_ERRORS.FILE_ELSEWHERE, [elsewhere.path, elsewhere.host])
  }
  const id = await requestFlip(opened.store, {
    ...{ slice: slice.name, from: fact.stage, to, actor: context.actor, reason, kind: 'flip' },
    percent: to === 'canary' ? (percent ?? slice.canary.percent) : 0,
  })
  // What no step leads to is refused: a controller that saw it in the file meanwhile would set out for it by itself.
  const possible = to === fact.stage || STAGES[fact.stage].next.includes(to)
  const undo = elsewhere || !possible ? undefined : await change.write()
  const waited = withController(opened, context, async waiting => {
    const ended = await awaitFlip(opened, waiting, id, line)
    // Not later: a controller of our own obeys the file until it ends.
    if (ended.outcome !== 'done') await undo?.()
    return ended
  })
  const { ended, error } = await endOf(opened, id, waited)
  if (ended && ended.outcome !== 'done') await undo?.()
  if (error) throw error
  return must(ended, 'its end')
}

async function done(
  context: Context,
  opened: Opened,
  slice: Slice,
  before: SliceFact,
  flip: FlipRow,
): Promise<ExitCode> {
  if (!context.json) {
    context.write(`${flipLine(context, slice.name, before, flip)}\n`)
    if (flip.steps.length > 0) context.write(`${stepsLine(context, flip)}\n`)
    if (flip.error) context.write(problemText(context, flip.error))
  }
  const copies = flip.from === 'legacy' && STAGES[flip.to].stream !== 'off'
  if (copies && Object.keys(slice.tables).length > 0) {
    const arrived = await awaitInStep(context, opened, slice)
    if (!arrived) {
      const next = `next: ${commandLine(context, `status ${slice.name}`)}\n`
      say(context, flip, `  you stopped waiting; the copy goes on\n${next}`)
      return 4
    }
  }
  const home = movesOwner(flip.from, flip.to) && STAGES[flip.to].owner === 'legacy'
  const orphans = home ? await brokenKeys(opened, slice) : []
  const lines = orphanLines(context, orphans, { slice: slice.name, hint: true })
  const owns = Object.keys(slice.tables).length > 0 && STAGES[flip.to].owner === 'service'
  const way = owns ? wayBackWords(await readWayBack(opened, slice)) : STAGES[flip.to].wayBack
  const text = [...lines, nextOf(context, slice.name, flip.to, way)].join('\n')
  say(context, { ...flip, ...(home && { orphans: orphanedKeys(orphans) }) }, `${text}\n`)
  return 0
}

function nextOf(context: Context, name: string, stage: Stage, way: string): string {
  const forward = STAGES[stage].next[0]
  const next =
    stage === 'canary'
      ? `verify ${name}, then ${commandLine(context, `flip ${name} moved`)}`
      : forward && forward !== 'retired'
        ? `flip ${name}      # ${forward}`
        : 'status'
  const back =
    stage === 'legacy' ? '' : `\nway back: ${way}: ${commandLine(context, `back ${name}`)}`
  return `next: ${commandLine(context, next)}${back}`
}

export function refused(context: Context, flip: FlipRow): ExitCode {
  const error = must(flip.error, 'why it was not done')
  const all = [...(error.blockers ?? []), error].map(each => named(each, flip.slice))
  say(context, flip, all.map(each => problemText(context, each)).join(''))
  return error.exit
}

function say(context: Context, json: object, text: string): void {
  context.write(context.json ? jsonText(json) : text)
}

/** Forward by one where no stage is named. Throws OPTION_INVALID for a word that is no stage. */
export function stageOf(
  wanted: string | undefined,
  fact: Pick<SliceFact, 'stage'>,
  percent: number | undefined,
  command = 'flip',
): Stage {
  if (wanted === undefined) {
    if (percent !== undefined && fact.stage === 'canary') return 'canary'
    return STAGES[fact.stage].next[0] ?? fact.stage
  }
  const known = STAGE_NAMES.find(stage => stage === wanted)
  if (known) return known
  const meant = suggest(wanted, OFFERED_STAGES)
  const list = `it is one of ${OFFERED_STAGES.join(', ')}`
  const why = meant === undefined ? list : `did you mean ${meant}? ${list}`
  const details = ['the stage', wanted, why, command]
  throw new BanyanError(CONTROL_ERRORS.OPTION_INVALID, details)
}

function percentOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const number = text.trim().replace(/ ?%$/, '')
  if (/^\d*\.?\d+$/.test(number) && Number(number) <= 100) return Number(number)
  throw badPercent(text, 'it is a number from 0 to 100')
}

function badPercent(text = '', why: string): BanyanError {
  return new BanyanError(CONTROL_ERRORS.OPTION_INVALID, ['--percent', text, why, 'flip'])
}
