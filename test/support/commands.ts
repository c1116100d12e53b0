/** Commands against a moving slice whose files lie on disk, with a controller that reads them, an idle one, or none. */
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Test } from 'tap'
import { runController } from '../../control/controller.ts'
import { readController, takeLease } from '../../control/lease.ts'
import { type FlipRow, readFlips } from '../../control/store/flips.ts'
import { readSlices, type SliceFact } from '../../control/store/slices.ts'
import { must } from '../../model/errors.ts'
import { type Context, type ExitCode, fail } from '../../scripts/context.ts'
import { loadWiring, openWiring } from '../../scripts/wiring.ts'
import { query } from './cluster.ts'
import { until } from './flipping.ts'
import { type MovingSlice, movingSlice } from './moving-slice.ts'
import { controllerOf, type Project, projectOf } from './screen.ts'

export interface Said {
  readonly exit: ExitCode
  readonly text: string
}

export interface Commands {
  readonly moving: MovingSlice
  readonly project: Project
  /** As `banyan` runs it: what it throws is printed, and is its exit code. `heard`: every text, as soon as it is written. */
  readonly run: (
    command: (context: Context) => Promise<ExitCode>,
    options?: Partial<Omit<Context, 'write'>> & { readonly heard?: (part: string) => unknown },
  ) => Promise<Said>
  /** slices/visits.yaml as it is now. */
  readonly text: () => Promise<string>
  /** Grows when the file is written, even with the text that it had. */
  readonly written: () => Promise<string>
  readonly fact: () => Promise<SliceFact>
  readonly flips: () => Promise<FlipRow[]>
  /** A controller that reads the files on disk, until disposed. */
  readonly controller: () => Promise<AsyncDisposable>
  /** Who has the lease and does nothing, until disposed. */
  readonly idle: () => Promise<AsyncDisposable>
  /** Until the controller has read the files and the facts once more, begun after now. */
  readonly looked: () => Promise<void>
}

/** Nobody has the lease when this resolves. `change`: on slices/visits.yaml. */
export async function commandsOn(t: Test, change?: (text: string) => string): Promise<Commands> {
  const moving = await movingSlice(t)
  const { store, ear } = moving
  await controllerOf(moving)
  const project = await projectOf(t, moving, change)
  const { config } = project
  const file = join(config, '../slices/visits.yaml')
  const free = () =>
    until(moving, 'nobody has the lease', async () => !(await readController(store))?.alive)
  // The one that has its files in memory would take a slice back to what they say.
  await query(
    store.url,
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'banyan control lease'`,
  )
  await free()

  const during = async (running: Promise<unknown>, stop: AbortController) => {
    await until(moving, 'a controller', async () => (await readController(store))?.alive ?? false)
    const end = async (): Promise<void> => {
      stop.abort()
      await running
      await free()
    }
    t.teardown(() => stop.abort())
    return { [Symbol.asyncDispose]: end }
  }

  return {
    moving,
    project,
    async run(command, { heard, ...options } = {}) {
      let text = ''
      const context: Context = {
        ...{ config, json: false, color: false, columns: 80, actor: 'tester@here', self: 'banyan' },
        signal: new AbortController().signal,
        write(part) {
          text += part
          heard?.(part)
        },
        ...options,
      }
      const exit = await command(context).catch((error: unknown) => fail(context, error))
      t.notMatch(text, /\.[jt]s:\d+:\d+|UNEXPECTED/, 'no stack trace')
      if (context.json) t.doesNotThrow(() => void JSON.parse(text), 'one document')
      return { exit, text }
    },
    text: () => readFile(file, 'utf8'),
    async written() {
      const { ino, mtimeNs } = await stat(file, { bigint: true })
      return `${ino} ${mtimeNs}`
    },
    fact: async () => must((await readSlices(store.pool))[0], 'the slice'),
    flips: () => readFlips(store, { limit: 100 }),
    async controller() {
      const stop = new AbortController()
      const running = runController({
        ...{ store, ear, wiring: await openWiring(config), load: () => loadWiring(config) },
        now: () => performance.now(),
        log: { info: () => undefined, warn: (fields, phrase) => void t.comment(phrase, fields) },
        signal: stop.signal,
        standby: true,
      })
      return during(running, stop)
    },
    async idle() {
      const stop = new AbortController()
      const lease = must(
        await takeLease(store, { configPath: config, wait: true, signal: stop.signal }),
        'the lease',
      )
      const running = new Promise<void>(resolve => {
        stop.signal.addEventListener('abort', () => resolve(lease[Symbol.asyncDispose]()))
      })
      return during(running, stop)
    },
    async looked() {
      // The first beat may be of a look that had begun before; the third says that the second look is over.
      const beats = async () => {
        const [row] = await query(store.url, 'SELECT beat_at::text AS at FROM banyan.controller')
        return row?.['at'] as string
      }
      for (let looks = 0; looks < 3; looks++) {
        const before = await beats()
        await store.pool.query(`SELECT pg_notify('banyan', 'slice')`)
        await until(moving, 'another look', async () => (await beats()) !== before)
      }
    },
  }
}
