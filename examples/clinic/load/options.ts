/** The load's command line, read once; a wrong word ends the process before anything is sent. */
import { parseArgs } from 'node:util'

export interface LoadOptions {
  readonly target: string
  readonly journal: string
  readonly seed: number
  readonly reads: number
  readonly writes: number
  readonly durationMs: number | undefined
  readonly sessions: number
  readonly practitioners: number
  readonly patients: number
  readonly sockets: number
  readonly timeoutMs: number
  readonly budgetMs: number
  readonly direct: string | undefined
}

export const LOAD_USAGE = `usage: node load.js --target <url> --journal <file> [options]
  --seed 1            what is chosen; the same seed chooses the same
  --reads 180         requests a second, on a fixed schedule
  --writes 60
  --duration 60s      without it: until {"cmd":"stop"} or the end of stdin
  --sessions 40       users, each with a cookie and a memory of its own
  --practitioners 50  at most so many of those that the clinic lists
  --patients 100
  --sockets 256       for reads, and as many for writes
  --timeout 10s       from sending; then the outcome is unknown
  --budget 5s         from due; what isn't sent by then is unsent
  --direct <url>      also write to the monolith's database, round the façade, once a second`

/** Throws an Error with one sentence where a value can't be understood. */
export function readOptions(args: readonly string[]): LoadOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      target: { type: 'string' },
      journal: { type: 'string' },
      seed: { type: 'string', default: '1' },
      reads: { type: 'string', default: '180' },
      writes: { type: 'string', default: '60' },
      duration: { type: 'string' },
      sessions: { type: 'string', default: '40' },
      practitioners: { type: 'string', default: '50' },
      patients: { type: 'string', default: '100' },
      sockets: { type: 'string', default: '256' },
      timeout: { type: 'string', default: '10s' },
      budget: { type: 'string', default: '5s' },
      direct: { type: 'string' },
    },
  })
  if (values.target === undefined) throw new Error('--target is missing')
  if (values.journal === undefined) throw new Error('--journal is missing')
  return {
    target: values.target,
    journal: values.journal,
    seed: count('--seed', values.seed),
    reads: count('--reads', values.reads),
    writes: count('--writes', values.writes),
    durationMs: values.duration === undefined ? undefined : duration('--duration', values.duration),
    sessions: count('--sessions', values.sessions),
    practitioners: count('--practitioners', values.practitioners),
    patients: count('--patients', values.patients),
    sockets: count('--sockets', values.sockets),
    timeoutMs: duration('--timeout', values.timeout),
    budgetMs: duration('--budget', values.budget),
    direct: values.direct,
  }
}

function count(name: string, text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new Error(`${name} wants a whole number, not "${text}"`)
  return Number(text)
}

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 }

function duration(name: string, text: string): number {
  const [, digits, unit] = /^(\d{1,9})(ms|s|m|h)$/.exec(text) ?? []
  if (digits === undefined || unit === undefined) {
    throw new Error(`${name} wants a duration such as 500ms, 60s or 2m, not "${text}"`)
  }
  return Number(digits) * (UNITS[unit] ?? 1)
}
