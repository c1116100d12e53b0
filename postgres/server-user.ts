/** Who a PostgreSQL server of ours runs as: it refuses root, so root hands it to a user that is already there. */
import { execFile } from 'node:child_process'
import { lstat, readFile, stat } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { dirname } from 'node:path'
import { BanyanError } from '../model/errors.ts'
import { POSTGRES_ERRORS } from '../model/errors-postgres.ts'

/** A user other than ourselves; null stands for ourselves. */
export type ServerUser = {
  readonly name: string
  readonly uid: number
  readonly gid: number
} | null

/**
 * Ourselves, unless we are root: then the first of `postgres`, `nobody` that the machine knows. Nobody is ever created.
 * Throws SERVER_USER_MISSING.
 */
export async function serverUser(passwd = '/etc/passwd'): Promise<ServerUser> {
  if (process.getuid?.() !== 0) {
    try {
      userInfo()
    } catch (cause) {
      // initdb and postgres look their own user up and give in without a name.
      const uid = `user id ${process.getuid?.()}, which has no name`
      throw new BanyanError(POSTGRES_ERRORS.SERVER_USER_MISSING, [uid], { cause })
    }
    return null
  }
  const lines = await readFile(passwd, 'utf8').catch(() => '')
  const entries = lines.split('\n').map(line => line.split(':'))
  for (const name of ['postgres', 'nobody']) {
    const entry = entries.find(([user]) => user === name)
    // macOS writes nobody as -2.
    if (entry) return { name, uid: Number(entry[2]) >>> 0, gid: Number(entry[3]) >>> 0 }
  }
  const why = 'root, and this machine has neither a user postgres nor nobody'
  throw new BanyanError(POSTGRES_ERRORS.SERVER_USER_MISSING, [why])
}

/** What spawn needs to run a server program: the user, a folder it can stand in, and none of our own environment. */
export function spawnOptions(user: ServerUser): {
  cwd: string
  env: NodeJS.ProcessEnv
  uid?: number
  gid?: number
} {
  const plain = { cwd: '/', env: { PATH: '/usr/bin:/bin:/usr/sbin:/sbin', LC_ALL: 'C', TZ: 'UTC' } }
  return user ? { ...plain, uid: user.uid, gid: user.gid } : plain
}

/**
 * Runs a server program to its end, and no longer than that: after `signal` it is told to stop and waited for. Rejects
 * with an Error whose message is what the program printed last.
 */
export function runProgram(
  file: string,
  args: readonly string[],
  { user, signal }: { user: ServerUser; signal?: AbortSignal | undefined },
): Promise<string> {
  return new Promise((resolve, reject) => {
    const stop = (): void => void child.kill('SIGINT')
    const options = { ...spawnOptions(user), encoding: 'utf8' as const }
    const child = execFile(file, [...args], options, (error, stdout, stderr) => {
      signal?.removeEventListener('abort', stop)
      if (signal?.aborted === true) return reject(signal.reason as Error)
      if (!error) return resolve(stdout)
      const said = stderr.trim().split('\n').slice(-3).join(' ')
      reject(new Error(said === '' ? error.message : said, { cause: error }))
    })
    signal?.addEventListener('abort', stop, { once: true })
  })
}

/** True where the user can reach what is in the folder: each folder on the way lets it through. */
export async function canReach(user: ServerUser, folder: string): Promise<boolean> {
  if (user === null) return true
  for (let at = folder; ; at = dirname(at)) {
    const { mode, uid, gid } = await stat(at)
    const bit = uid === user.uid ? 0o100 : gid === user.gid ? 0o010 : 0o001
    if ((mode & bit) === 0) return false
    if (at === dirname(at)) return true
  }
}

/**
 * Refuses a folder under a shared place (/var/tmp) that somebody else made, or could change, before us.
 * Throws FOLDER_UNSAFE.
 */
export async function mustBeOurs(folder: string): Promise<void> {
  const found = await lstat(folder)
  const ours = found.isDirectory() && found.uid === process.getuid?.()
  if (!ours || (found.mode & 0o022) !== 0) {
    throw new BanyanError(POSTGRES_ERRORS.FOLDER_UNSAFE, [folder])
  }
}
