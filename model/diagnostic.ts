/** One thing that is wrong in a file that a person wrote, with its place, and how it is shown. */
import pc from 'picocolors'
import { BanyanError } from './errors.ts'
import type { ErrorRule } from './errors.ts'
import type { Source, Span } from './source.ts'

export interface Diagnostic {
  readonly file: string
  /** Starts at 1. */
  readonly line: number
  /** Starts at 1, in characters. */
  readonly column: number
  readonly code: string
  readonly message: string
  readonly hint: string
  /** The line of the file and a caret under the place. Passwords in it are masked. */
  readonly frame: string
}

/** Makes a diagnostic. `hint` replaces the rule's own where something more exact can be said. */
export function diagnostic(at: {
  readonly source: Pick<Source, 'file' | 'text'>
  readonly span: Span
  readonly rule: ErrorRule
  readonly details: readonly (string | number)[]
  readonly hint?: string | undefined
  /** Another place that the message speaks of; it gets a frame of its own. */
  readonly other?: { readonly source: Pick<Source, 'file' | 'text'>; readonly span: Span }
}): Diagnostic {
  const { source, span, rule, other } = at
  const error = new BanyanError(rule, at.details)
  const mask = maskOf(rule, at.details)
  const frames = [frameOf(source.text, span, mask)]
  if (other) frames.push(`and ${place(other.source.file, other.span)}`)
  if (other) frames.push(frameOf(other.source.text, other.span, mask))
  return {
    file: source.file,
    line: span.line,
    column: span.column,
    code: rule.code,
    message: printable(mask(error.message)),
    hint: printable(mask(at.hint ?? error.hint)),
    frame: frames.join('\n'),
  }
}

/** `slices/x.yaml:3:1 message`, on one line. */
export function placed(one: Diagnostic): string {
  return `${place(one.file, one)} ${one.message}`
}

/** In the order of the text, file by file, each once; the files keep their order. */
export function sortDiagnostics(list: readonly Diagnostic[]): Diagnostic[] {
  const files = [...new Set(list.map(one => one.file))]
  const keyOf = (one: Diagnostic): string => `${place(one.file, one)} ${one.code} ${one.message}`
  const once = new Map(list.map(one => [keyOf(one), one]))
  return [...once.values()].sort(
    (a, b) =>
      files.indexOf(a.file) - files.indexOf(b.file) || a.line - b.line || a.column - b.column,
  )
}

const WIDTH = 80

/** The list as text for a terminal or a log, at most 80 columns wide, without a final newline. */
export function renderDiagnostics(
  list: readonly Diagnostic[],
  options: { readonly color: boolean },
): string {
  const colors = pc.createColors(options.color)
  const blocks = list.map(one => {
    const head = `${place(one.file, one)}  ${one.code}`
    const title = `${colors.bold(place(one.file, one))}  ${colors.red(one.code)}`
    const short = head.length + 2 + one.message.length <= WIDTH
    const message = short ? [`${title}  ${one.message}`] : [title, ...wrap(one.message, '  ')]
    const frame = one.frame.split('\n').map(line => (line.startsWith('and ') ? `  ${line}` : line))
    return [...message, ...frame, ...wrap(`hint: ${one.hint}`, '  ').map(colors.cyan)].join('\n')
  })
  return blocks.join('\n\n')
}

/** `slices/appointments.yaml:14:3` */
export function place(
  file: string,
  span: { readonly line: number; readonly column: number },
): string {
  return `${file}:${span.line}:${span.column}`
}

function frameOf(text: string, span: Span, mask: (text: string) => string): string {
  const number = String(span.line)
  const room = WIDTH - number.length - 5
  const line = printable(mask(text.split(/\r?\n/)[span.line - 1] ?? '')).trimEnd()
  const start = span.column - 1
  const length = Math.min(span.length, room - LEAD)
  // A long line is cut so that the place stays in sight.
  const cramped = start + length > room - 1
  const from = cramped ? Math.max(0, Math.min(start - LEAD, line.length - room)) : 0
  const margin = ' '.repeat(number.length)
  return [
    `  ${number} | ${cut(line, from, room)}`,
    `  ${margin} | ${' '.repeat(start - from)}${'^'.repeat(Math.max(1, length))}`,
  ].join('\n')
}

/** Characters that stay in front of a place in a line that is cut. */
const LEAD = 20

function cut(line: string, from: number, room: number): string {
  const head = from > 0 ? '…' : ''
  const tail = line.length > from + room ? '…' : ''
  return head + line.slice(from + head.length, from + room - tail.length) + tail
}

/** What stands where a reference belongs may be the secret itself; one that was meant as a reference is worth to be seen. */
function maskOf(rule: ErrorRule, [value]: readonly unknown[]): (text: string) => string {
  const meant = /^(?:env|file|ENV|FILE|Env|File)\b|^\$?\{?[A-Z][A-Z0-9_]*\}?$/
  if (rule.code !== 'REFERENCE_INVALID' || typeof value !== 'string' || value === '')
    return maskSecrets
  if (meant.test(value)) return maskSecrets
  return text => maskSecrets(text.replaceAll(value, '*'.repeat(value.length)))
}

// What a frame or a message quotes may be a password that somebody wrote in plain text, and it may go to a CI log. The
// mask is as long as what it covers, so that carets stay where they are.
function maskSecrets(text: string): string {
  const masked = (_: string, head: string, secret: string): string =>
    head + '*'.repeat(secret.length)
  return (
    text
      // Up to the last @: a password that isn't encoded may hold any character.
      .replace(/(:\/\/[^\s:@/]*:)(\S+)(?=@)/g, masked)
      .replace(/((?:password|passwd|pwd|secret|token)\w*\s*[:=]\s*)('[^']*'|[^\s&"',}]+)/gi, masked)
  )
}

// Control characters of a file must not reach the terminal.
function printable(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, '·')
}

function wrap(text: string, indent: string): string[] {
  const lines: string[] = []
  let line = indent
  for (const word of text.split(' ')) {
    if (line.trim() !== '' && line.length + 1 + word.length > WIDTH) {
      lines.push(line)
      line = indent
    }
    line += line === indent ? word : ` ${word}`
  }
  return [...lines, line]
}
