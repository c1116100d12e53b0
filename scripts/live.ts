/** The last line of a terminal while something is under way: written again and again, and gone once there is more to say. */
import type { Context } from './context.ts'
import { cut, widthOf } from './table.ts'

export interface LiveLine {
  /** Nobody would see it: a pipe, or `--json`. */
  readonly hidden: boolean
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
      // In the last column some terminals go on in the next line, and that one would stay.
      const fitting = cut(text, Math.min(widthOf(context), context.columns - 1))
      if (fitting !== shown) context.write(`${CLEAR}${fitting}`)
      shown = fitting
    },
    clear() {
      if (shown !== '') context.write(CLEAR)
      shown = ''
    },
  }
}
