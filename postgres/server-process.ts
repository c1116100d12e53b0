/** Runs one postmaster so that it can't outlive us, not even when we are killed, and so that Ctrl-C isn't sent to it. */
import { spawn, type ChildProcessByStdio } from 'node:child_process'
import { open } from 'node:fs/promises'
import { once } from 'node:events'
import type { Readable, Writable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { spawnOptions, type ServerUser } from './server-user.ts'

/** fast: rolls back what is open and stops cleanly. immediate: as in a crash; the next start recovers. */
export type StopMode = 'fast' | 'immediate'

export interface ServerProcess {
  /** The postmaster's. */
  readonly pid: number
  /** Resolves when the postmaster has ended; its exit code, null when a signal ended it. Never rejects. */
  readonly exited: Promise<number | null>
  stop(mode: StopMode): Promise<void>
}

// The shell waits for the postmaster; a second one reads our end of a pipe. The pipe closes when we end, however we end,
// and then, or when we write how, the second shell stops the postmaster. Signals to the shells are ignored: a service
// manager that signals the whole group must not take away the only one who would stop PostgreSQL after us.
const WRAPPER = `
exec 3<&0
"$@" </dev/null >&2 3<&- &
server=$!
echo $server
(
  trap '' HUP INT TERM
  read -r how <&3
  case $how in immediate) kill -QUIT $server ;; *) kill -INT $server ;; esac
) >/dev/null 2>&1 &
watch=$!
trap : HUP INT TERM
while :; do
  wait $server
  code=$?
  kill -0 $server 2>/dev/null || break
done
kill -9 $watch 2>/dev/null
exit $code
`

/** After this long without an end, a stop becomes harsher: first immediate, then SIGKILL. */
const STOP_PATIENCE_MS = 20_000
const LOG_BYTES_MAX = 10 * 1024 * 1024
const LOG_WATCH_MS = 30_000

/** Starts the program, its output appended to `logFile` (bounded). Resolves when the process exists, not when it's ready. */
export async function runServer(options: {
  readonly program: string
  readonly args: readonly string[]
  readonly user: ServerUser
  readonly logFile: string
}): Promise<ServerProcess> {
  const log = await open(options.logFile, 'a', 0o600)
  // The server appends to the same open file, so cutting it while it is written is safe.
  const cut = async (): Promise<void> => {
    if ((await log.stat()).size > LOG_BYTES_MAX) await log.truncate(0)
  }
  await cut()
  const command = ['-c', WRAPPER, 'banyan-postgres', options.program, ...options.args]
  const child = spawn('/bin/sh', command, {
    ...spawnOptions(options.user),
    stdio: ['pipe', 'pipe', log.fd],
    detached: true,
  }) as ChildProcessByStdio<Writable, Readable, null>
  const timer = setInterval(() => void cut().catch(() => undefined), LOG_WATCH_MS).unref()
  child.stdin.on('error', () => undefined)
  const exited = new Promise<number | null>(resolve => {
    const ended = (code: number | null): void => {
      clearInterval(timer)
      // Also ends the postmaster, should somebody have killed the shell alone.
      child.stdin.destroy()
      void log.close().finally(() => resolve(code))
    }
    child.once('exit', ended)
    child.once('error', () => ended(null))
  })
  const pid = await firstLine(child.stdout, exited)
  return { pid, exited, stop: mode => stopServer({ child, pid, exited }, mode) }
}

/** The postmaster's process id, which the shell prints first; NaN when the shell itself couldn't run. */
async function firstLine(stdout: Readable, exited: Promise<unknown>): Promise<number> {
  const line = once(stdout, 'data').then(([chunk]) => Number(String(chunk).trim()))
  return Promise.race([line, exited.then(() => Number.NaN)])
}

async function stopServer(
  server: { child: { stdin: Writable }; pid: number; exited: Promise<unknown> },
  mode: StopMode,
): Promise<void> {
  const { stdin } = server.child
  if (!stdin.writableEnded) stdin.end(`${mode}\n`)
  else if (mode === 'immediate') kill(server.pid, 'SIGQUIT')
  for (const signal of ['SIGQUIT', 'SIGKILL'] as const) {
    const over = new AbortController()
    const late = sleep(STOP_PATIENCE_MS, true, { signal: over.signal }).catch(() => false)
    const isLate = await Promise.race([server.exited.then(() => false), late])
    over.abort()
    if (!isLate) return
    kill(server.pid, signal)
  }
  await server.exited
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // It ended just now.
  }
}
