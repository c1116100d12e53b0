/**
 * `banyan back <slice> --abandon`: legacy takes the tables without what their service has stored and legacy hasn't. Says
 * first what that is, asks twice, and wants to know how somebody knows that the old database can't come back writable.
 */
import { ABANDONED_TO } from '../control/abandon.ts'
import { streamTo } from '../control/cutover-runner.ts'
import { type FlipRow, readFlips, requestFlip } from '../control/store/flips.ts'
import type { SliceFact } from '../control/store/slices.ts'
import { readStreams } from '../control/store/streams.ts'
import { lossText, readWayBack, type WayBack } from '../control/way-back.ts'
import { BanyanError, must } from '../model/errors.ts'
import { ABANDON_ERRORS } from '../model/errors-abandon.ts'
import { CONTROL_ERRORS } from '../model/errors-control.ts'
import type { Slice } from '../model/project.ts'
import { STAGES } from '../model/stage.ts'
import { ageText, clockText } from './amounts.ts'
import { againText } from './back.ts'
import type { BackOptions } from './banyan.ts'
import { commandLine, type Context, type ExitCode, jsonText, problemText } from './context.ts'
import { findSlice, type Opened, withControl } from './control-store.ts'
import { flipLine } from './flip-text.ts'
import { pendingLines } from './loss-text.ts'
import { awaitFlip, stageInFile, withController } from './move.ts'
import { paintOf } from './paint.ts'
import { printable, widthOf, wrap } from './table.ts'

/** The brake tries the ordinary way every few seconds: its flip is in the way for as long as a connection takes. */
const BRAKE_MS = 15_000

/** What would be given up, as far as it is known. */
interface AtStake {
  readonly stream: string
  /** How far legacy has the service's writes; null: never heard of. */
  readonly position: string | null
  readonly heardAtMs: number | null
  readonly way: WayBack
}

/** Throws NOT_MOVED, ABANDON_NEEDLESS, CONSENT_MISSING, OPTION_INVALID, and what `requestFlip` and `awaitFlip` throw. */
export async function runAbandon(
  context: Context,
  name: string,
  stage: string | undefined,
  options: BackOptions,
): Promise<ExitCode> {
  return withControl<ExitCode>(context, async opened => {
    const { slice, fact } = await findSlice(opened, name)
    mustBeMoved(slice, fact, stage)
    const stake = await atStake(opened, slice)
    mustBeNeeded(slice, stake.way)
    if (!context.json) context.write(stakeText(context, slice, stake))
    const proof = await consent(context, slice, stake, options)
    const flip = await withController(opened, context, async waiting => {
      const id = await requested(opened, waiting, { slice, fact, proof, reason: options.reason })
      return awaitFlip(opened, waiting, id)
    })
    const done = flip.outcome === 'done'
    if (context.json) {
      const { epoch, outcome, error } = flip
      context.write(
        jsonText({ slice: name, to: flip.to, epoch, outcome, error, proof, lost: stake }),
      )
    } else if (done) await sayDone(context, slice, fact, flip)
    else if (flip.error) context.write(problemText(context, flip.error))
    return done ? 0 : (flip.error?.exit ?? 4)
  })
}

function mustBeMoved(slice: Slice, fact: SliceFact, stage: string | undefined): void {
  if (stage !== undefined && stage !== ABANDONED_TO) {
    const details = ['the stage', stage, `giving up leads to ${ABANDONED_TO}`, 'back']
    throw new BanyanError(CONTROL_ERRORS.OPTION_INVALID, details)
  }
  const owns = Object.keys(slice.tables).length > 0
  if (owns && STAGES[fact.stage].owner === 'service') return
  throw new BanyanError(ABANDON_ERRORS.NOT_MOVED, [slice.name, fact.stage])
}

async function atStake(opened: Opened, slice: Slice): Promise<AtStake> {
  const stream = streamTo(slice, 'legacy')
  const row = (await readStreams(opened.store)).find(each => each.name === stream)
  const [position, heardAtMs] = [row?.position ?? null, row?.heardAtMs ?? null]
  return { stream, position, heardAtMs, way: await readWayBack(opened, slice) }
}

function mustBeNeeded(slice: Slice, way: WayBack): void {
  if (way.state === 'away' || way.state === 'broken') return
  const details = [slice.name, slice.service, way.why ?? 'its stream is in step']
  throw new BanyanError(ABANDON_ERRORS.ABANDON_NEEDLESS, details)
}

function stakeText(context: Context, slice: Slice, { stream, position, heardAtMs, way }: AtStake) {
  const paint = paintOf(context)
  const { colors, bad } = paint
  const { service } = slice
  const heard =
    heardAtMs === null
      ? 'was never heard of'
      : `was last heard ${ageText(Date.now() - heardAtMs)}, ${clockText(heardAtMs)}`
  const at = position === null ? '' : `, at ${position}`
  const lost = way.loses && way.loses.count !== null ? `: ${lossText(way.loses)}` : ''
  const lines = [
    `${bad} ${colors.bold(slice.name)}  ${way.why ?? ''}`,
    `  the stream ${stream} ${heard}${at}`,
    colors.red(
      `  what ${service} has told its clients was stored after that is NOT in legacy${lost}`,
    ),
    ...(way.loses ? pendingLines(way.loses, Date.now()) : []),
    way.state === 'away'
      ? `  when that database comes back it is closed first, and those writes are listed; none of them is applied`
      : `  ${service} is closed first, and those writes are listed; none of them is applied`,
    `  legacy owns the tables again, at ${ABANDONED_TO}; ${service} needs a new copy before it can go forward`,
  ]
  return `${printable(lines)
    .flatMap(line => wrap(line, widthOf(context), '    '))
    .join('\n')}\n`
}

/** Asks twice. Returns the proof; null where it isn't needed, since the database answers and is closed first. */
async function consent(
  context: Context,
  slice: Slice,
  { way }: AtStake,
  options: BackOptions,
): Promise<string | null> {
  const { name } = slice
  const missing = (why: string) => new BanyanError(ABANDON_ERRORS.CONSENT_MISSING, [name, why])
  const ask = context.ask
  let proof: string | null = null
  if (way.state === 'away') {
    const how = `How do you know that it can't come back writable? (for the journal) `
    proof = (options.proof ?? (await ask?.(how)) ?? '').trim()
    if (proof === '') throw missing('how is it known that its database can not come back writable?')
  } else if (options.yesLoseWrites === undefined && ask) {
    if (!/^yes$/i.test(await ask('Give these writes up? (yes) ')))
      throw missing('the answer was no')
  }
  const word =
    options.yesLoseWrites ?? (await ask?.(`Type the name of the slice to give them up: `))
  if (word === undefined) throw missing('nobody is there to be asked')
  if (word.trim() !== name) throw missing(`"${word.trim()}" is not its name`)
  return proof
}

async function requested(
  { store, ear }: Opened,
  { actor, signal }: Context,
  wanted: {
    readonly slice: Slice
    readonly fact: SliceFact
    readonly proof: string | null
    readonly reason: string | undefined
  },
): Promise<number> {
  const { slice, fact, proof, reason } = wanted
  const until = performance.now() + BRAKE_MS
  for (;;) {
    try {
      return await requestFlip(store, {
        ...{ slice: slice.name, from: fact.stage, to: ABANDONED_TO, percent: 0 },
        ...{ actor, reason, kind: 'abandon' as const, proof: proof ?? undefined },
      })
    } catch (error) {
      const [open] = await readFlips(store, { slice: slice.name, open: true, limit: 1 })
      const brakes = open === undefined || open.kind === 'back'
      const busy =
        error instanceof BanyanError && error.code === CONTROL_ERRORS.FLIP_IN_PROGRESS.code
      if (!busy || !brakes || signal.aborted || performance.now() > until) throw error
      await ear.heard(['flip'], 500, signal)
    }
  }
}

async function sayDone(
  context: Context,
  slice: Slice,
  fact: SliceFact,
  flip: FlipRow,
): Promise<void> {
  const { name } = slice
  context.write(`${flipLine(context, name, fact, flip)}\n`)
  context.write(`  epoch ${must(flip.epoch, 'its epoch')}: legacy owns the tables\n`)
  if (flip.error) context.write(problemText(context, flip.error))
  context.write(`  the brake is on until: ${commandLine(context, `release ${name}`)}\n`)
  const patch = await stageInFile(context.config, slice, flip.to, undefined)
  if (patch.diff !== '') {
    const again = againText(context, slice, { stage: flip.to, percent: flip.percent })
    context.write(`${again}\n${patch.diff}`)
  }
  context.write(`next: ${commandLine(context, `why ${name}`)}\n`)
}
