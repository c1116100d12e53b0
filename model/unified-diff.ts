/** The difference between two versions of a file as a patch that `patch -p1` and `git apply` take. */

const CONTEXT_LINES = 3

/** A unified diff with one hunk, from the first to the last line that differs; empty where nothing does. */
export function unifiedDiff(file: string, before: string, after: string): string {
  if (before === after) return ''
  const a = linesOf(before)
  const b = linesOf(after)
  let head = 0
  while (head < a.length && head < b.length && a[head] === b[head]) head++
  let tail = 0
  const most = Math.min(a.length, b.length) - head
  while (tail < most && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail++
  const from = Math.max(0, head - CONTEXT_LINES)
  const aEnd = Math.min(a.length, a.length - tail + CONTEXT_LINES)
  const bEnd = Math.min(b.length, b.length - tail + CONTEXT_LINES)
  const hunk = [
    ...a.slice(from, head).map(line => ` ${line}`),
    ...a.slice(head, a.length - tail).map(line => `-${line}`),
    ...b.slice(head, b.length - tail).map(line => `+${line}`),
    ...a.slice(a.length - tail, aEnd).map(line => ` ${line}`),
  ]
  const range = `@@ -${span(from, aEnd)} +${span(from, bEnd)} @@\n`
  return `--- a/${file}\n+++ b/${file}\n${range}${hunk.map(ended).join('')}`
}

// Each line with its own ending, so that the last one shows whether it has any.
function linesOf(text: string): string[] {
  return text === '' ? [] : text.split(/(?<=\n)/)
}

function span(from: number, end: number): string {
  const length = end - from
  return `${length === 0 ? from : from + 1},${length}`
}

function ended(line: string): string {
  return line.endsWith('\n') ? line : `${line}\n\\ No newline at end of file\n`
}
