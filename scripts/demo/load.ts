/** The load generator as a process of its own: told what to do, and asked what it saw. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { PauseReport, Slice } from '../../examples/clinic/load/pause-window.ts'
import type { Progress, Report } from '../../examples/clinic/load/tally.ts'

export interface Load extends AsyncDisposable {
  /** What it counted in the last second. */
  readonly progress: () => Progress | undefined
  /** The longest time without an acknowledged write since the last call, and the slowest write. */
  pauseWindow(): Promise<Record<Slice, PauseReport>>
  /** Quiet afterwards: all that was offered has ended, and its journal says how. */
  pause(): Promise<void>
  resume(): Promise<void>
  mark(name: string): Promise<void>
  report(): Promise<Report>
}

type Line = Record<string, unknown>

/** Starts it and waits until it has looked around. */
export async function startLoad(options: {
  readonly target: string
  readonly journal: string
  readonly reads: number
  readonly writes: number
  readonly seed: number
  readonly sessions?: number
}): Promise<Load> {
  const program = join(import.meta.dirname, '../../examples/clinic/load.js')
  const args = Object.entries(options).flatMap(([key, value]) => [`--${key}`, String(value)])
  const child: ChildProcess = spawn(process.execPath, [program, ...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
    // It ends with its input: Ctrl-C must not take it from us before its journal is whole.
    detached: true,
  })
  let errors = ''
  child.stderr!.on('data', chunk => (errors = `${errors}${chunk}`.slice(-2_000)))
  child.stdin!.on('error', () => undefined)
  const waiting: { key: string; resolve: (line: Line) => void }[] = []
  let progress: Progress | undefined
  const ended = once(child, 'exit')
  createInterface({ input: child.stdout! }).on('line', text => {
    const line = JSON.parse(text) as Line
    if ('writesPerSecond' in line) progress = line as unknown as Progress
    const index = waiting.findIndex(each => each.key in line)
    if (index >= 0) waiting.splice(index, 1)[0]?.resolve(line)
  })
  const answer = async (key: string): Promise<Line> => {
    const line = new Promise<Line>(resolve => waiting.push({ key, resolve }))
    const first = await Promise.race([line, ended.then(() => undefined)])
    if (!first) throw new Error(`the load ended by itself: ${errors.trim()}`)
    return first
  }
  const ask = (command: object, key: string): Promise<Line> => {
    const line = answer(key)
    child.stdin!.write(`${JSON.stringify(command)}\n`)
    return line
  }
  await answer('ready')
  return {
    progress: () => progress,
    pauseWindow: async () =>
      (await ask({ cmd: 'pause-window' }, 'pauseWindow'))['pauseWindow'] as never,
    pause: async () => void (await ask({ cmd: 'pause' }, 'paused')),
    resume: async () => void (await ask({ cmd: 'resume' }, 'resumed')),
    mark: async name => void (await ask({ cmd: 'mark', name }, 'marked')),
    report: async () => (await ask({ cmd: 'report' }, 'report'))['report'] as never,
    async [Symbol.asyncDispose]() {
      child.stdin!.end(`${JSON.stringify({ cmd: 'stop' })}\n`)
      await ended
    },
  }
}
