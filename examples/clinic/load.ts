/**
 * The load generator: a client in a process of its own, which imports nothing of Banyan's, writes
 * down what it is about to do and what it was told, and so can say afterwards what must be true.
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { followCommands, type Command } from './load/command.ts'
import { createDirectWriter, type DirectWriter } from './load/direct-writer.ts'
import { createDriver, type Driver } from './load/driver.ts'
import { createHttpClient } from './load/http-client.ts'
import { openJournal, type JournalFile } from './load/journal-file.ts'
import { LOAD_USAGE, readOptions, type LoadOptions } from './load/options.ts'
import { createPauseWindow, type PauseWindow } from './load/pause-window.ts'
import { createTally, type Tally } from './load/tally.ts'
import { exploreWorld, type World } from './load/world.ts'

/** The appointments that a direct writer writes to: the last of those found. */
const DIRECT_APPOINTMENTS = 10
const PROGRESS_MS = 1_000

function print(line: object): void {
  process.stdout.write(JSON.stringify(line) + '\n')
}

function fail(error: unknown): never {
  process.stderr.write(`load: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exit(1)
}

async function run(options: LoadOptions): Promise<void> {
  const { target, seed } = options
  const journal = await openJournal({ path: options.journal, onError: fail })
  journal.note({ t: 'start', at: Date.now(), run: randomUUID(), seed, target })
  const client = createHttpClient({
    target,
    sockets: options.sockets * 2,
    timeoutMs: options.timeoutMs,
  })
  const world = await exploreWorld({ client, journal, size: options })
  const tally = createTally()
  const window = createPauseWindow(() => performance.now())
  let numbers = 0
  const nextNumber = (): number => ++numbers
  const shared = { ...options, client, journal, world, tally, window, nextNumber, onError: fail }
  const driver = createDriver(shared)
  const direct = options.direct === undefined ? undefined : directWriter(options.direct, shared)
  print({ ready: true, target, seed, ...sizeOf(world) })

  driver.resume()
  direct?.resume()
  const progress = setInterval(() => print(tally.progress()), PROGRESS_MS)
  const parts = { driver, direct, journal, tally, window }
  const over = new AbortController()
  const ends = [
    followCommands({
      input: process.stdin,
      run: command => obey(command, parts),
      refuse: (line, why) => print({ refused: line, why }),
    }),
  ]
  if (options.durationMs !== undefined) {
    ends.push(sleep(options.durationMs, undefined, { signal: over.signal }).catch(() => {}))
  }
  await Promise.race(ends)
  over.abort()
  clearInterval(progress)
  await pause(parts)
  await journal.close()
  await direct?.close()
  client.close()
  print({ done: true, ...tally.report() })
  process.stdin.destroy()
}

interface Parts {
  readonly driver: Driver
  readonly direct: DirectWriter | undefined
  readonly journal: JournalFile
  readonly tally: Tally
  readonly window: PauseWindow
}

/** True: stop. */
async function obey(command: Command, parts: Parts): Promise<boolean> {
  const { driver, direct, journal, tally, window } = parts
  switch (command.cmd) {
    case 'mark':
      await journal.commit({ t: 'mark', at: Date.now(), name: command.name })
      print({ marked: command.name })
      return false
    case 'pause':
      await pause(parts)
      print({ paused: true, ...tally.totals() })
      return false
    case 'resume':
      driver.resume()
      direct?.resume()
      print({ resumed: true })
      return false
    case 'pause-window':
      print({ pauseWindow: window.take() })
      return false
    case 'report':
      print({ report: tally.report() })
      return false
    case 'stop':
      return true
  }
}

/** Quiet afterwards: all that was offered has ended, and the journal says how. */
async function pause({ driver, direct, journal, tally }: Parts): Promise<void> {
  await Promise.all([driver.pause(), direct?.pause()])
  await journal.commit({ t: 'totals', at: Date.now(), totals: tally.totals() })
}

function directWriter(
  url: string,
  shared: Pick<
    Parameters<typeof createDirectWriter>[0],
    'journal' | 'tally' | 'nextNumber' | 'onError'
  > & {
    world: World
  },
): DirectWriter {
  const appointments = shared.world.seeded.slice(-DIRECT_APPOINTMENTS).map(({ id }) => id)
  return createDirectWriter({ ...shared, url, appointments })
}

function sizeOf(world: World): Record<string, number> {
  return {
    sessions: world.sessions.length,
    practitioners: world.practitioners.length,
    patients: world.patients.length,
    seeded: world.seeded.length,
  }
}

function optionsOrUsage(): LoadOptions {
  try {
    return readOptions(process.argv.slice(2))
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    process.stderr.write(`load: ${why}\n${LOAD_USAGE}\n`)
    process.exit(2)
  }
}

// A parent that died no longer reads; the journal is finished all the same.
process.stdout.on('error', () => {})
await run(optionsOrUsage()).catch(fail)
