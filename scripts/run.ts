/** `banyan run`: one part of Banyan as a process. `banyan up` starts all three, and hears of them by messages. */
import { BanyanError } from '../model/errors.ts'
import { CONTROL_ERRORS } from '../model/errors-control.ts'
import { parseDuration } from '../model/units.ts'
import type { Context, ExitCode, Problem } from './context.ts'
import { jsonLog, type PartLog } from './log.ts'

/** From a part to whoever started it. */
export type PartMessage =
  { readonly ready: { readonly url?: string } } | { readonly failed: Problem & { exit: ExitCode } }

export interface PartOptions {
  readonly log: PartLog
  /** Apply every change this much later. */
  readonly lagMs: number
  /** To be called once, when the part works. */
  readonly ready: (where: { readonly url?: string }) => void
}

const PARTS: Readonly<
  Record<string, () => Promise<(context: Context, options: PartOptions) => Promise<void>>>
> = {
  router: async () => (await import('./run-router.ts')).runRouter,
  sync: async () => (await import('./run-sync.ts')).runSync,
  control: async () => (await import('./run-control.ts')).runControl,
}

/** Runs until it is told to stop. Throws PART_UNKNOWN, OPTION_INVALID, and what keeps the part from beginning. */
export async function runPart(
  context: Context,
  part: string,
  lag: string | undefined,
): Promise<ExitCode> {
  const load = Object.hasOwn(PARTS, part) ? PARTS[part] : undefined
  if (!load) throw new BanyanError(CONTROL_ERRORS.PART_UNKNOWN, [part])
  const lagMs = lagOf(lag, 'run')
  const run = await load()
  const log = jsonLog(part)
  // Node would print it with all that it carries: a server's detail quotes rows.
  process.on('uncaughtException', err => {
    log.error({ err }, 'part failed')
    process.exit(1)
  })
  try {
    await run(context, {
      log,
      lagMs,
      ready(where) {
        tell({ ready: where })
        const text = `✔ ${part}${where.url ? ` ${where.url}` : ''}      stops with Ctrl-C\n`
        context.write(context.json ? `${JSON.stringify({ part, ...where })}\n` : text)
      },
    })
  } catch (error) {
    if (error instanceof BanyanError) {
      const { code, message, hint, rule } = error
      tell({ failed: { code, message, hint, exit: rule.exit } })
    }
    throw error
  }
  return 0
}

/** `--lag 3s` in milliseconds; none: 0. Throws OPTION_INVALID. */
export function lagOf(text: string | undefined, command: string): number {
  if (text === undefined) return 0
  const ms = parseDuration(text)
  if (ms !== undefined) return ms
  const details = ['--lag', text, 'it is a number and its unit: 500ms, 3s', command]
  throw new BanyanError(CONTROL_ERRORS.OPTION_INVALID, details)
}

function tell(message: PartMessage): void {
  if (process.connected) process.send?.(message)
}
