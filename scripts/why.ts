/** `banyan why`: why a slice stands where it does. Reads only. */
import { type FlipRow, readFlips } from '../control/store/flips.ts'
import type { Store } from '../control/store/store.ts'
import { checkFlip, SharedDatabases, unheldKeys } from './checks-now.ts'
import { jsonText, type Context, type ExitCode } from './context.ts'
import { withGoodFiles } from './control-store.ts'
import { type Look, readLook, type SliceLook } from './look.ts'
import { nextAfterWhy, nextStage, type SliceSeen } from './next-step.ts'
import { nextLine, paintOf } from './paint.ts'
import { askerOf } from './status-facts.ts'
import { unknownSlice } from './status.ts'
import { printable } from './table.ts'
import { whyLines } from './why-text.ts'

/** Who hasn't answered by then is away. */
const CHECKS_MS = 5_000
/** So many flips are looked through for the one that brought the slice here. */
const FLIPS_MAX = 200

export interface Why extends Pick<Look, 'nowMs' | 'control' | 'refused' | 'rogue'> {
  readonly slice: SliceSeen
  /** The flip that brought it where it is; null where it never moved. */
  readonly cameBy: FlipRow | null
  /** Foreign keys of legacy that are not valid, in words. */
  readonly unheld: readonly string[]
  /** Without `banyan` in front. */
  readonly next: string
}

/** Throws what `withGoodFiles` throws, SLICE_UNKNOWN. */
export async function runWhy(context: Context, name: string): Promise<ExitCode> {
  await withGoodFiles(context, async ({ wiring, store }) => {
    const { slices, nowMs, control, refused, rogue } = await readLook(
      { wiring, store },
      context,
      name,
    )
    const [look] = slices
    if (!look) throw unknownSlice(wiring, name)
    await using databases = new SharedDatabases(() => wiring)
    const file = wiring.project.slices.find(each => each.name === name)
    const known = file !== undefined && look.sinceMs !== null
    const asked = { store, wiring, databases, asker: askerOf(wiring, context, look) }
    const checks = known ? await checkFlip(asked, file, nextStage(look), CHECKS_MS) : null
    const slice = { ...look, checks }
    const embedded = wiring.project.banyan.control.database === 'embedded'
    const next = nextAfterWhy(slice, control, embedded)
    const cameBy = await broughtBy(store, look)
    const unheld = await unheldKeys(asked, file, CHECKS_MS)
    const why: Why = { slice, cameBy, nowMs, control, refused, rogue, unheld, next }
    const paint = paintOf(context)
    context.write(
      context.json
        ? jsonText(why)
        : `${[...whyLines(printable(why), paint), nextLine(paint, context, next)].join('\n')}\n`,
    )
  })
  return 0
}

async function broughtBy(store: Store, { slice, stage }: SliceLook): Promise<FlipRow | null> {
  const flips = await readFlips(store, { slice, limit: FLIPS_MAX })
  const done = flips.filter(each => each.outcome === 'done' && each.kind !== 'rehearsal')
  return done.find(each => each.to === stage) ?? null
}
