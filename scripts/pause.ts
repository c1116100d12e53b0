/** `banyan pause`: the slice stays where it stands; no flip of it begins, by file or by hand, until it is released. */
import { type FlipRow, readFlips } from '../control/store/flips.ts'
import { append } from '../control/store/journal.ts'
import { overridden, setPause } from '../control/store/slices.ts'
import { transact } from '../control/store/store.ts'
import { must } from '../model/errors.ts'
import type { FlipOptions } from './banyan.ts'
import { commandLine, type Context, type ExitCode, jsonText } from './context.ts'
import { findSlice, type Opened, withGoodFiles } from './control-store.ts'
import { fit } from './fit.ts'
import { stageText } from './flip-text.ts'
import { paintOf } from './paint.ts'

/** Needs no controller: it is the word that the next one obeys. Throws OVERRIDDEN, and what `withGoodFiles` throws. */
export async function runPause(
  context: Context,
  name: string,
  options: Pick<FlipOptions, 'reason'>,
): Promise<ExitCode> {
  return withGoodFiles<ExitCode>(context, async opened => {
    const { slice } = await findSlice(opened, name)
    const reason = options.reason ?? 'no reason given'
    const paused = await transact(opened.store, ['slice'], async client => {
      if (!(await setPause(client, name, { by: context.actor, reason }))) return false
      await append(client, {
        ...{ actor: context.actor, slice: name, kind: 'pause on', detail: { reason } },
      })
      return true
    })
    // Read after the pause stands: what hasn't begun by now never does.
    const { fact } = await findSlice(opened, name)
    if (!paused) throw overridden(name, must(fact.override, 'what holds it'))
    const flip = await openFlip(opened, name)
    if (context.json) {
      const { stage, percent } = fact
      context.write(jsonText({ slice: name, stage, percent, wants: slice.stage, reason, flip }))
      return 0
    }
    const { colors, good } = paintOf(context)
    const wants = stageText(slice.stage, slice.canary.percent)
    const is = stageText(fact.stage, fact.percent)
    const lines = [
      `${good} ${colors.bold(name)}  paused at ${is}: no flip of it begins, by file or by hand`,
      ...(flip ? [`  ${underWay(flip)}`] : []),
      ...(wants === is || flip ? [] : [`  ${slice.file} wants ${wants}: that waits too`]),
      `  \`${commandLine(context, `back ${name}`)}\` works all the same, and takes its place`,
    ]
    context.write(`${fit(context, lines).join('\n')}\n`)
    context.write(`next: ${commandLine(context, `release ${name}`)}\n`)
    return 0
  })
}

async function openFlip({ store }: Opened, slice: string): Promise<FlipRow | null> {
  return (await readFlips(store, { slice, open: true, limit: 1 }))[0] ?? null
}

function underWay(flip: FlipRow): string {
  const { from, to, percent, actor, kind, startedAtMs } = flip
  const what =
    kind === 'rehearsal'
      ? `a rehearsal of ${actor}`
      : `the flip ${from} → ${stageText(to, percent)} of ${actor}`
  if (startedAtMs === null) return `${what} was asked for, and has not begun: it is refused`
  const at = flip.steps.at(-1)
  const where = at ? `, at ${at.step}` : ''
  return `${what} is under way${where}: it ends as it ends, and the slice stays where that is`
}
