/**
 * A load in a process of its own, as whoever proves something with it runs it: commands in, lines
 * out.
 */
import { spawn } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { query, testCluster, type TestCluster } from '../../support/cluster.ts'
import { startFakeClinic, type FakeClinic } from './ledger-clinic.ts'
import { LEGACY_TABLES } from './ledger-schema.ts'

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- another process's lines
export type Line = Record<string, any>

export interface RunningLoad {
  readonly journal: string
  /** Resolves with the next line that fits, seen already or not. */
  line(fits: (line: Line) => boolean): Promise<Line>
  /** Sends a command and resolves with its answer. */
  ask(command: object): Promise<Line>
  /** Waits until the clients were told ok so many more times. */
  until(toldOk: number): Promise<void>
  kill(): Promise<void>
  /** Closes stdin, as a parent's death does. */
  endInput(): void
  readonly exited: Promise<number | null>
}

interface Teardown {
  teardown(action: () => Promise<void>): void
}

export interface Stage {
  readonly cluster: TestCluster
  readonly databaseUrl: string
  readonly clinic: FakeClinic
}

/** A cluster, the monolith's tables and the clinic over them. */
export async function stage(t: Teardown): Promise<Stage> {
  const cluster = await testCluster(t)
  const databaseUrl = await cluster.createDatabase('legacy')
  await query(databaseUrl, LEGACY_TABLES)
  const clinic = await startFakeClinic(databaseUrl)
  t.teardown(() => clinic.close())
  return { cluster, databaseUrl, clinic }
}

const ANSWERS = ['marked', 'paused', 'resumed', 'pauseWindow', 'report', 'done', 'refused'] as const

/** Starts load.js against `target` and waits until it is ready. */
export async function startLoad(
  t: Teardown,
  target: string,
  args: readonly string[] = [],
): Promise<RunningLoad> {
  const folder = await mkdtemp(join(tmpdir(), 'banyan-ledger-'))
  const journal = join(folder, 'journal.jsonl')
  const program = fileURLToPath(new URL('../../../examples/clinic/load.js', import.meta.url))
  const base = ['--target', target, '--journal', journal, '--seed', '7', '--sessions', '5']
  const child = spawn(process.execPath, [program, ...base, ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  child.stdin.on('error', () => undefined)
  const seen = new EventEmitter()
  seen.setMaxListeners(50)
  const lines: Line[] = []
  createInterface({ input: child.stdout }).on('line', text => {
    const line = JSON.parse(text) as Line
    lines.push(line)
    seen.emit('line', line)
  })
  const exited = once(child, 'exit').then(([code]) => {
    seen.emit('gone')
    return code as number | null
  })
  t.teardown(async () => {
    child.kill('SIGKILL')
    await exited
    await rm(folder, { recursive: true, force: true })
  })
  const next = (fits: (line: Line) => boolean): Promise<Line> =>
    new Promise((resolve, reject) => {
      const gone = (): void => reject(new Error('the load is gone'))
      const look = (line: Line): void => {
        if (!fits(line)) return
        seen.off('line', look)
        seen.off('gone', gone)
        resolve(line)
      }
      seen.on('line', look)
      seen.on('gone', gone)
    })
  const load: RunningLoad = {
    journal,
    exited,
    line: async fits => lines.find(fits) ?? next(fits),
    ask(command) {
      const answer = next(line => ANSWERS.some(name => name in line))
      child.stdin.write(JSON.stringify(command) + '\n')
      return answer
    },
    async until(toldOk) {
      const before = (lines.findLast(line => 'toldOk' in line)?.toldOk ?? 0) as number
      await next(line => line.toldOk >= before + toldOk)
    },
    async kill() {
      child.kill('SIGKILL')
      await exited
    },
    endInput: () => child.stdin.end(),
  }
  await load.line(line => line.ready === true)
  return load
}
