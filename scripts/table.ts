/** Text that fits a terminal: how wide it is, and how it is cut, wrapped and put into columns. Colors take no room. */
import type { Context } from './context.ts'

const WIDEST = 100
const NARROWEST = 40

/** Columns that a screen may use: the terminal's, but no more than a person reads with ease. */
export function widthOf(context: Pick<Context, 'columns'>): number {
  return Math.max(NARROWEST, Math.min(WIDEST, context.columns))
}

const PIECES = /\u001b\[[0-9;]*m|[\s\S]/gu

const COLOR = /^\u001b\[([0-9;]*)m$/

/** How many columns a text takes. */
export function lengthOf(text: string): number {
  return (text.match(PIECES) ?? []).filter(piece => !COLOR.test(piece)).length
}

/** At most `width` columns; what was longer ends in `…`. */
export function cut(text: string, width: number): string {
  if (lengthOf(text) <= width) return text
  let room = Math.max(0, width - 1)
  let out = ''
  for (const piece of text.match(PIECES) ?? []) {
    if (COLOR.test(piece)) out += piece
    else if (room > 0) {
      out += piece
      room -= 1
    }
  }
  // The colors' ends are all still there; the mark stands behind them, in no color.
  return `${out}…`
}

/** Filled up with blanks to `width` columns. */
export function pad(text: string, width: number): string {
  return text + ' '.repeat(Math.max(0, width - lengthOf(text)))
}

/** Breaks at blanks, and inside a word only where it is wider than a line; all lines but the first begin with `indent`. */
export function wrap(text: string, width: number, indent = ''): string[] {
  const lines: string[] = []
  let line = ''
  let begun = false
  let open: string[] = []
  const end = (): void => {
    // A color that goes on in the next line must not color what stands before that line.
    lines.push(open.length > 0 ? `${line}${ESCAPE}[0m` : line)
    line = indent + open.map(code => `${ESCAPE}[${code}m`).join('')
    begun = false
  }
  const add = (part: string): void => {
    line += part
    begun = true
    open = opened(open, part)
  }
  for (const [, blanks = '', word = ''] of text.matchAll(/( *)([^ ]+)/g)) {
    if (begun && lengthOf(line) + blanks.length + lengthOf(word) > width) end()
    else if (begun || lines.length === 0) line += blanks
    let [head, rest] = split(word, width - lengthOf(line))
    while (rest !== '' && head !== '') {
      add(head)
      end()
      ;[head, rest] = split(rest, width - lengthOf(line))
    }
    add(head + rest)
  }
  return [...lines, line]
}

/** The first `room` columns, and what is left. */
function split(word: string, room: number): [string, string] {
  if (lengthOf(word) <= room) return [word, '']
  const list = word.match(PIECES) ?? []
  let taken = 0
  const at = list.findIndex(piece => !COLOR.test(piece) && (taken += 1) > room)
  return [list.slice(0, at).join(''), list.slice(at).join('')]
}

const ESCAPE = '\u001b'

/** The colors that are on after `word`. */
function opened(before: readonly string[], word: string): string[] {
  let open = [...before]
  for (const piece of word.match(PIECES) ?? []) {
    const code = COLOR.exec(piece)?.[1]
    if (code === undefined) continue
    if (code === '0') open = []
    else if (code === '39') open = open.filter(each => !/^[39]\d$/.test(each))
    else if (code === '22') open = open.filter(each => each !== '1' && each !== '2')
    else open.push(code)
  }
  return open
}

/** The parts with `between`, in as many lines as they take; no part is broken unless it is wider than a line. */
export function flow(
  parts: readonly string[],
  width: number,
  { between = ' · ', indent = '' } = {},
): string[] {
  const lines: string[] = []
  for (const part of parts) {
    const last = lines.at(-1)
    if (last !== undefined && lengthOf(last) + lengthOf(between) + lengthOf(part) <= width) {
      lines[lines.length - 1] = last + between + part
    } else lines.push(last === undefined ? part : indent + part)
  }
  return lines.flatMap(line => wrap(line, width, indent))
}

const GAP = 2

/** The width that rows take side by side. */
export function rowWidth(rows: readonly (readonly string[])[]): number {
  const widths = columnWidths(rows)
  return widths.reduce((sum, width) => sum + width + GAP, -GAP)
}

/** Rows with their cells below each other. Each row is one line, without blanks at its end. */
export function layOut(rows: readonly (readonly string[])[], width: number): string[] {
  const widths = columnWidths(rows)
  return rows.map(row => {
    const cells = row.map((cell, column) => pad(cell, widths[column] ?? 0))
    return cut(cells.join(' '.repeat(GAP)).trimEnd(), width)
  })
}

function columnWidths(rows: readonly (readonly string[])[]): number[] {
  const widths: number[] = []
  for (const row of rows) {
    for (const [column, cell] of row.entries()) {
      widths[column] = Math.max(widths[column] ?? 0, lengthOf(cell))
    }
  }
  return widths
}

/**
 * The same value with every text in one line and without control characters: names and messages come from databases, and
 * a terminal obeys what it is sent.
 */
export function printable<T>(value: T): T {
  if (typeof value === 'string') {
    return value.replace(/\s*[\r\n]\s*/g, ' ').replace(/[\u0000-\u001f\u007f-\u009f]/g, '?') as T
  }
  if (Array.isArray(value)) return value.map((each: unknown) => printable(each)) as T
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).map(([key, each]) => [key, printable(each as unknown)])
  return Object.fromEntries(entries) as T
}
