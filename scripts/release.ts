/** `banyan release`: takes the brake off, or ends a pause. */
import { stepsAhead } from '../control/reconcile.ts'
import { append } from '../control/store/journal.ts'
import { clearOverride } from '../control/store/slices.ts'
import { transact } from '../control/store/store.ts'
import { BanyanError } from '../model/errors.ts'
import { CONTROL_ERRORS } from '../model/errors-control.ts'
import { commandLine, type Context, type ExitCode, jsonText } from './context.ts'
import { findSlice, withGoodFiles } from './control-store.ts'
import { fit } from './fit.ts'
import { proposedText, roadText, wantsText } from './flip-text.ts'

export async function runRelease(context: Context, name: string): Promise<ExitCode> {
  return withGoodFiles<ExitCode>(context, async opened => {
    const { slice, fact } = await findSlice(opened, name)
    const { override } = fact
    if (!override) throw new BanyanError(CONTROL_ERRORS.NOT_BRAKED, [name])
    await transact(opened.store, ['slice'], async client => {
      await clearOverride(client, name)
      const detail = { stage: override.stage, by: override.by, reason: override.reason }
      const kind = override.paused ? 'pause off' : 'brake off'
      await append(client, { actor: context.actor, slice: name, kind, detail })
    })
    const wanted = { wantedStage: slice.stage, wantedPercent: slice.canary.percent }
    const steps = stepsAhead({ ...fact, ...wanted, override: null })
    if (context.json) {
      const wants = slice.stage
      context.write(jsonText({ slice: name, stage: fact.stage, wants, steps }))
      return 0
    }
    const what = override.paused ? 'the pause of' : 'the brake of'
    const off = override.paused ? 'is over' : 'is off'
    context.write(`✔ ${name}  ${what} ${override.by} ${off} (${override.reason})\n`)
    if (steps.length > 0) {
      const road = `it goes ${roadText(steps)} by itself now${proposedText(slice, steps)}`
      const lines = fit(context, [`  ${slice.file} wants ${wantsText(slice)}: ${road}`])
      context.write(`${lines.join('\n')}\n`)
      context.write(`next: ${commandLine(context, `status ${name}`)}\n`)
    } else if (slice.stage !== fact.stage) {
      const stands = 'that moves the owner, so it stands as proposed'
      const lines = fit(context, [`  ${slice.file} wants ${slice.stage}: ${stands}`])
      context.write(`${lines.join('\n')}\n`)
      context.write(`next: ${commandLine(context, `plan ${name} ${slice.stage}`)}\n`)
    } else context.write(`next: ${commandLine(context, `status ${name}`)}\n`)
    return 0
  })
}
