/** `banyan rehearse`: the pause of the next flip that moves the owner, for real, in production, and nothing moves. */
import { acrossFrom } from '../control/plan.ts'
import { nothingToRehearse } from '../control/perform.ts'
import { requestFlip } from '../control/store/flips.ts'
import { must } from '../model/errors.ts'
import { ownsTables } from '../model/project.ts'
import { STAGES } from '../model/stage.ts'
import type { FlipOptions } from './banyan.ts'
import { commandLine, type Context, type ExitCode, jsonText } from './context.ts'
import { findSlice, withControl } from './control-store.ts'
import { fit } from './fit.ts'
import { refused } from './flip.ts'
import { stageText, stepsLine } from './flip-text.ts'
import { liveLine } from './live.ts'
import { awaitFlip, endOf, withController } from './move.ts'
import { paintOf } from './paint.ts'

/** Throws NOTHING_TO_REHEARSE, and what `withControl`, `requestFlip` and `awaitFlip` throw. */
export async function runRehearse(
  context: Context,
  name: string,
  options: Pick<FlipOptions, 'reason'>,
): Promise<ExitCode> {
  return withControl<ExitCode>(context, async opened => {
    const { slice, fact } = await findSlice(opened, name)
    const to = acrossFrom(fact.stage)
    if (to === undefined || !ownsTables(slice)) throw nothingToRehearse(slice, fact.stage)
    const percent = to === 'canary' ? slice.canary.percent : 0
    const id = await requestFlip(opened.store, {
      ...{ slice: name, from: fact.stage, to, percent, actor: context.actor },
      ...{ reason: options.reason, kind: 'rehearsal' },
    })
    const line = liveLine(context)
    const waited = withController(opened, context, waiting => awaitFlip(opened, waiting, id, line))
    const { ended, error } = await endOf(opened, id, waited)
    if (error) throw error
    const flip = must(ended, 'its end')
    if (flip.outcome !== 'done') return refused(context, flip)
    if (context.json) {
      context.write(jsonText(flip))
      return 0
    }
    const { colors, good } = paintOf(context)
    const is = stageText(fact.stage, fact.percent)
    const goal = stageText(to, percent)
    const owner = STAGES[fact.stage].owner === 'legacy' ? 'legacy' : slice.service
    context.write(`${good} ${colors.bold(name)}  ${is} → ${goal}, rehearsed\n`)
    context.write(`${stepsLine(context, flip)}\n`)
    const stays = `  nothing moved: it stays at ${is}, ${owner} owns its tables; epoch ${flip.epoch} is used up`
    context.write(`${fit(context, [stays]).join('\n')}\n`)
    context.write(`next: ${commandLine(context, `plan ${name} ${to}`)}\n`)
    return 0
  })
}
