/** The last line of a terminal while something is under way: written again and again, and gone once there is more to say. */
import type { Context } from './context.ts'
import { widthOf } from './table.ts'

export interface LiveLine {
  /** Nobody would see it: a pipe, or `--json`. */
  readonly hidden: boolean
  /** Without colors. */
  show(text: string): void
  /** The line that is there goes. */
  clear(): void
}

const NO_LINE: LiveLine = { hidden: true, show: () => undefined, clear: () => undefined }

const CLEAR = '\r\u001b[K'

/** `terminal`: somebody looks at what is written. */
export function liveLine(
  context: Pick<Context, 'json' | 'columns' | 'write'>,
  terminal = process.stdout.isTTY,
): LiveLine {
  if (!terminal || context.json) return NO_LINE
  let shown = ''
  return {
    hidden: false,
    show(text) {
      // Room for the `^C` that the terminal itself writes: what goes on in the next line would stay there.
      const room = Math.min(widthOf(context), context.columns) - 3
      // The end is the news.
      const fitting = text.length > room ? `  …${text.slice(3 - room)}` : text
      if (fitting !== shown) context.write(`${CLEAR}${fitting}`)
      shown = fitting
    },
    clear() {
      if (shown !== '') context.write(CLEAR)
      shown = ''
    },
  }
}
