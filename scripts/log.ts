/** What the parts of Banyan write while they run: one JSON object a line, on stderr or where they are told. Codes and names, never a row's values. */
import { explain } from '../postgres/explain.ts'

export interface PartLog {
  info(fields: object, phrase: string): void
  warn(fields: object, phrase: string): void
  error(fields: object, phrase: string): void
}

export function jsonLog(
  part: string,
  write: (line: string) => void = line => void process.stderr.write(line),
): PartLog {
  const line = (level: string) => (fields: object, phrase: string) => {
    const entries = Object.entries(fields).map(([key, value]) => [key, plain(value)] as const)
    const at = new Date().toISOString()
    const text = JSON.stringify({ at, level, part, phrase, ...Object.fromEntries(entries) })
    write(`${text}\n`)
  }
  return { info: line('info'), warn: line('warn'), error: line('error') }
}

function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString()
  if (!(value instanceof Error)) return value
  // PostgreSQL's own words may quote a row.
  const known = explain(value)
  return { code: (known as { code?: unknown }).code, message: known.message }
}
