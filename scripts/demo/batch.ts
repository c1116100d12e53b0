/** The nightly job, which writes to the monolith's database and knows nothing of façade, gates or services. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

export interface BatchEnd {
  readonly committed: boolean
  /** The gate said no. */
  readonly refused: boolean
  readonly rows: number
  readonly message: string
}

export interface Batch {
  /** Its transaction is open. */
  readonly begun: Promise<void>
  /** Resolves when its rows are written, the transaction still open. Only `late` waits to be told. */
  write(): Promise<void>
  commit(): void
  readonly end: Promise<BatchEnd>
}

export function startBatch(options: {
  readonly url: string
  readonly mode: 'plain' | 'late' | 'around-gate'
  readonly from: number
  readonly to: number
}): Batch {
  const program = join(import.meta.dirname, '../../examples/clinic/batch.js')
  const args = Object.entries(options).flatMap(([key, value]) => [`--${key}`, String(value)])
  const child = spawn(process.execPath, [program, ...args], { stdio: ['pipe', 'pipe', 'ignore'] })
  child.stdin.on('error', () => undefined)
  const seen: { event: string; rows?: number; message?: string }[] = []
  const waiting: [event: string, resolve: () => void][] = []
  const happened = (event: string): Promise<void> =>
    new Promise(resolve => waiting.push([event, resolve]))
  createInterface({ input: child.stdout }).on('line', text => {
    const line = JSON.parse(text) as (typeof seen)[number]
    seen.push(line)
    for (const [event, resolve] of waiting) if (event === line.event) resolve()
  })
  const begun = happened('begun')
  const updated = happened('updated')
  const ended = once(child, 'close').then(() => {
    for (const [, resolve] of waiting) resolve()
    const of = (event: string) => seen.find(each => each.event === event)
    return {
      committed: of('committed') !== undefined,
      refused: of('refused') !== undefined,
      rows: of('updated')?.rows ?? 0,
      message: of('refused')?.message ?? of('failed')?.message ?? '',
    }
  })
  const tell = (cmd: string): void => void child.stdin.write(`${JSON.stringify({ cmd })}\n`)
  return {
    begun,
    async write() {
      tell('write')
      await updated
    },
    commit: () => tell('commit'),
    end: ended,
  }
}
