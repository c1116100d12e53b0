/** Lines that are made to fit the screen, each going on under itself. */
import type { Context } from './context.ts'
import { widthOf, wrap } from './table.ts'

/** What goes on in a next line is indented as its first is, and never less than by two. */
export function fit(context: Pick<Context, 'columns'>, lines: readonly string[]): string[] {
  return lines.flatMap(line => {
    const own = /^ */.exec(line)?.[0] ?? ''
    const rest = own === '' ? '  ' : own
    const width = widthOf(context) - own.length
    return wrap(line.trimStart(), width, rest.slice(own.length)).map(text => `${own}${text}`)
  })
}
