/** Reads postmaster.pid: is a server running on this data, which one, and is it ready. */
import { execFile } from 'node:child_process'
import { readFile, readlink, realpath, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { BanyanError } from '../model/errors.ts'
import { POSTGRES_ERRORS } from '../model/errors-postgres.ts'

export interface Postmaster {
  readonly pid: number
  readonly port: number
  readonly ready: boolean
}

const POLL_MS = 10

/** What the file says; null where there is none. The process may be long dead. */
export async function readPostmaster(pgdata: string): Promise<Postmaster | null> {
  // Lines: pid, data folder, start time, port, socket folder, address, shared memory, state.
  const text = await readFile(join(pgdata, 'postmaster.pid'), 'utf8').catch(() => '')
  const lines = text.split('\n')
  const pid = Number(lines[0])
  if (!Number.isInteger(pid) || pid <= 0) return null
  return { pid, port: Number(lines[3]), ready: lines[7]?.trim() === 'ready' }
}

/**
 * Waits until no server runs on the data: a predecessor that was killed is stopping. Clears away what a dead one left, so
 * that a process id that was given to another program since doesn't keep us out. Throws CLUSTER_RUNNING after `waitMs`.
 */
export async function waitUntilStopped(
  pgdata: string,
  { waitMs, signal }: { waitMs: number; signal?: AbortSignal | undefined },
): Promise<void> {
  const deadline = performance.now() + waitMs
  for (;;) {
    const found = await readPostmaster(pgdata)
    if (found === null) return
    if (!(await serves(found.pid, pgdata))) {
      await rm(join(pgdata, 'postmaster.pid'), { force: true })
      return
    }
    if (performance.now() > deadline) {
      throw new BanyanError(POSTGRES_ERRORS.CLUSTER_RUNNING, [pgdata, found.pid, found.port])
    }
    await sleep(POLL_MS, undefined, { signal })
  }
}

/** Resolves to true when that postmaster takes connections, to false when `ended` comes first. */
export async function waitUntilReady(
  pgdata: string,
  { pid, ended, signal }: { pid: number; ended: AbortSignal; signal?: AbortSignal | undefined },
): Promise<boolean> {
  while (!ended.aborted) {
    const found = await readPostmaster(pgdata)
    if (found?.pid === pid && found.ready) return true
    await sleep(POLL_MS, undefined, { signal })
  }
  return false
}

/** True where the process lives and is a server on this data, false where the number belongs to another program by now. */
async function serves(pid: number, pgdata: string): Promise<boolean> {
  try {
    process.kill(pid, 0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false
  }
  // A postmaster stands in its data folder.
  const folder = await realpath(pgdata)
  const standsIn = await readlink(`/proc/${pid}/cwd`).catch(() => null)
  if (standsIn !== null) return standsIn === folder
  const { stdout } = await promisify(execFile)('ps', ['-o', 'args=', '-p', String(pid)]).catch(
    () => ({ stdout: '' }),
  )
  // Where nobody says what it is, it is taken for a server: refusing is safe.
  return stdout.trim() === '' || stdout.includes(pgdata)
}
