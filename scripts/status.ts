/** `banyan status`: where every slice stands, and what needs a person. Reads only; with `-w` again every second. */
import { placed } from '../model/diagnostic.ts'
import { BanyanError } from '../model/errors.ts'
import { CONTROL_ERRORS } from '../model/errors-control.ts'
import { pause } from '../model/pause.ts'
import type { Wiring } from '../model/wiring.ts'
import { explain } from '../postgres/explain.ts'
import { problemOf, SharedDatabases } from './checks-now.ts'
import { jsonText, type Context, type ExitCode } from './context.ts'
import { type Opened, withGoodFiles } from './control-store.ts'
import { nextLine, paintOf, problemLines } from './paint.ts'
import { Memory, readStatus, type Status } from './status-facts.ts'
import { statusLines } from './status-text.ts'
import { cut, printable } from './table.ts'
import { loadWiring } from './wiring.ts'

const EVERY_MS = 1_000
/** Broken files are on the screen itself. */
const SAY = false

/** Throws what `withGoodFiles` throws, SLICE_UNKNOWN. With `watch` a control database that is away is shown and waited for. */
export async function runStatus(
  context: Context,
  slice: string | undefined,
  watch: boolean,
): Promise<ExitCode> {
  if (!watch) {
    await withGoodFiles(context, opened => look(context, opened, slice, once), SAY)
    return 0
  }
  let seen = false
  while (!context.signal.aborted) {
    try {
      await withGoodFiles(
        context,
        opened =>
          look(context, opened, slice, async read => {
            while (!context.signal.aborted) {
              show(context, await read())
              seen = true
              await pause(EVERY_MS, context.signal)
            }
          }),
        SAY,
      )
    } catch (error) {
      if (context.signal.aborted) break
      if (!seen && !isAway(error)) throw error
      show(context, { error: problemOf(error) })
      await pause(EVERY_MS, context.signal)
    }
  }
  return 0

  async function once(read: () => Promise<Status>): Promise<void> {
    const status = await read()
    context.write(context.json ? jsonText(status) : textOf(context, status))
  }
}

/** Opens what a look needs for as long as `use` takes. */
async function look(
  context: Context,
  { wiring, store }: Opened,
  only: string | undefined,
  use: (read: () => Promise<Status>) => Promise<void>,
): Promise<void> {
  let newest = wiring
  const memory = new Memory()
  await using databases = new SharedDatabases(() => newest)
  await use(async () => {
    // Files are edited while somebody watches.
    const loaded = await loadWiring(context.config)
    newest = loaded.wiring ?? newest
    const status = await readStatus({ store, wiring: newest, databases }, context, { only, memory })
    if (only !== undefined && status.slices.length === 0) throw unknownSlice(newest, only)
    const { control } = status
    if (control.problems.length > 0) return status
    return { ...status, control: { ...control, problems: loaded.diagnostics.map(placed) } }
  })
}

export function unknownSlice({ project }: Wiring, name: string): BanyanError {
  const known = project.slices.map(each => each.name).join(', ') || 'none yet'
  return new BanyanError(CONTROL_ERRORS.SLICE_UNKNOWN, [name, known])
}

/** Nobody is to blame who asks for a screen before everything runs. */
function isAway(error: unknown): boolean {
  const known = explain(error)
  return known instanceof BanyanError && known.rule.retry
}

function textOf(context: Context, status: Status, watched = false): string {
  const paint = paintOf(context)
  // Whoever watches does what would be proposed.
  const next = watched && /^status .*-w$/.test(status.next) ? [] : [status.next]
  const lines = [
    ...statusLines(printable(status), paint),
    ...next.map(each => nextLine(paint, context, each)),
  ]
  return `${lines.join('\n')}\n`
}

type Frame = Status | { readonly error: ReturnType<typeof problemOf> }

/** One look of many: over the last one on a terminal, below it elsewhere; one JSON document a line with `--json`. */
function show(context: Context, frame: Frame): void {
  if (context.json) {
    context.write(`${JSON.stringify(frame)}\n`)
    return
  }
  const text =
    'error' in frame
      ? `${problemLines(paintOf(context), frame.error).join('\n')}\n`
      : textOf(context, frame, true)
  context.write(process.stdout.isTTY ? redraw(text, process.stdout) : `${text}\n`)
}

/** Home, each line over the old one, the rest wiped: nothing flickers. What is longer than the screen would scroll it. */
function redraw(
  text: string,
  { rows = 24, columns = 80 }: { rows?: number; columns?: number },
): string {
  const lines = text.trimEnd().split('\n')
  const fitting =
    lines.length < rows
      ? lines
      : [...lines.slice(0, Math.max(1, rows - 3)), '…', lines.at(-1) ?? '']
  const over = fitting.map(line => `${cut(line, columns)}\u001b[K\n`).join('')
  return `\u001b[H${over}\u001b[J`
}
