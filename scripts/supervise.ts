/** Keeps processes alive: starts them, writes their logs to files, starts them again when they end, stops them in order. */
import { type ChildProcess, fork } from 'node:child_process'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { BanyanError } from '../model/errors.ts'
import { CONTROL_ERRORS } from '../model/errors-control.ts'
import { pause } from '../model/pause.ts'
import type { PartMessage } from './run.ts'

export interface PartWanted {
  /** In messages, and the name of its log. */
  readonly name: string
  /** What Node runs, and with what. */
  readonly script: string
  readonly args: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** Where the logs lie. */
  readonly folder: string
  /** For programs that aren't ours: they are ready when a GET of this is answered with 200. */
  readonly readyUrl?: string
}

export interface Part extends AsyncDisposable {
  readonly name: string
  /** Of the process that runs now; undefined between two. */
  readonly pid: number | undefined
  /** What it said when it was ready, for the first time. */
  readonly url: string | undefined
  readonly logFile: string
  /** Sends the signal, and nothing else: it is started again, as after any other end. */
  kill(signal: NodeJS.Signals): void
}

const AGAIN_MIN_MS = 100
const AGAIN_MAX_MS = 5_000
/** A part that lives this long is well: the next restart is quick again. */
const WELL_MS = 10_000
const READY_LOOK_MS = 50
/** From the first signal until a part that doesn't end is killed. */
const STOP_MS = 15_000

/** Starts a part and waits until it is ready. Throws what it failed of, or PART_ENDED; then nothing is left running. */
export async function startPart(wanted: PartWanted): Promise<Part> {
  const logFile = join(wanted.folder, `${wanted.name}.log`)
  const stop = new AbortController()
  let child: ChildProcess | undefined
  let first: Said | undefined
  const keep = async (ready: (said: Said) => void): Promise<void> => {
    let againMs = AGAIN_MIN_MS
    while (!stop.signal.aborted) {
      const began = performance.now()
      // Without its log it doesn't begin; it is tried again as after any other end.
      const life = live(wanted, logFile, {
        ready,
        begun(process) {
          child = process
          if (stop.signal.aborted) process.kill('SIGTERM')
        },
      })
      const ended = await life.catch((error: unknown) => String(error))
      child = undefined
      ready({ ended })
      if (performance.now() - began > WELL_MS) againMs = AGAIN_MIN_MS
      await pause(againMs, stop.signal)
      againMs = Math.min(AGAIN_MAX_MS, againMs * 2)
    }
  }
  let running: Promise<void> | undefined
  await new Promise<void>(resolve => {
    running = keep(said => {
      first ??= said
      resolve()
    })
  })
  const part: Part = {
    name: wanted.name,
    get pid() {
      return child?.pid
    },
    url: first && 'ready' in first ? first.ready.url : undefined,
    logFile,
    kill: signal => void child?.kill(signal),
    async [Symbol.asyncDispose]() {
      stop.abort()
      child?.kill('SIGTERM')
      const late = setTimeout(() => child?.kill('SIGKILL'), STOP_MS)
      await running
      clearTimeout(late)
    },
  }
  if (first && 'ready' in first) return part
  await part[Symbol.asyncDispose]()
  if (first && 'failed' in first) {
    const { code, message, hint, exit } = first.failed
    const rule = { code, message: '%s', hint: '%2', status: 500, retry: false }
    throw new BanyanError({ ...rule, exit: exit === 0 ? 4 : exit }, [message, hint])
  }
  const ended = first && 'ended' in first ? first.ended : 'it never began'
  throw new BanyanError(CONTROL_ERRORS.PART_ENDED, [wanted.name, ended, logFile])
}

type Said = PartMessage | { readonly ended: string }

/** One life of a part; resolves to how it ended. */
async function live(
  wanted: PartWanted,
  logFile: string,
  told: { readonly ready: (said: Said) => void; readonly begun: (process: ChildProcess) => void },
): Promise<string> {
  const log = await open(logFile, 'a', 0o600)
  try {
    const child = fork(wanted.script, wanted.args, {
      stdio: ['ignore', log.fd, log.fd, 'ipc'],
      // Ctrl-C reaches a whole group: ours ends them, in order.
      detached: true,
      env: { ...process.env, ...wanted.env },
    })
    told.begun(child)
    child.on('message', message => told.ready(message as PartMessage))
    if (wanted.readyUrl !== undefined) {
      const url = wanted.readyUrl
      void answers(url, () => child.exitCode === null && child.signalCode === null).then(
        ok => ok && told.ready({ ready: { url } }),
      )
    }
    return await new Promise<string>(resolve => {
      child.once('error', error => resolve(error.message))
      child.once('exit', (code, signal) => resolve(signal ?? `exit ${code}`))
    })
  } finally {
    await log.close()
  }
}

/** Asks until it is answered with 200, while `wanted`. */
async function answers(url: string, wanted: () => boolean): Promise<boolean> {
  while (wanted()) {
    const signal = AbortSignal.timeout(1_000)
    const ok = await fetch(url, { signal }).then(
      answer => answer.ok,
      () => false,
    )
    if (ok) return true
    await pause(READY_LOOK_MS)
  }
  return false
}
