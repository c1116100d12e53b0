/** The folder of one cluster: its data, its password, its log and its port. Survives restarts; never half made. */
import { randomBytes, randomUUID } from 'node:crypto'
import { execFile } from 'node:child_process'
import {
  chmod,
  chown,
  link,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { BanyanError } from '../model/errors.ts'
import { POSTGRES_ERRORS } from '../model/errors-postgres.ts'
import type { Binaries } from './binaries.ts'
import { canReach, mustBeOurs, runProgram, type ServerUser } from './server-user.ts'

export interface DataFolder {
  /** Holds `pgdata/`, `password`, `banyan.json` and `server.log`. */
  readonly folder: string
  /** The folder that was asked for, when the server's user can't reach it and `folder` is another; else null. */
  readonly movedFrom: string | null
  readonly pgdata: string
  readonly logFile: string
  /** The superuser's. */
  readonly password: string
}

export interface DataFolderWanted {
  readonly dataDir: string
  readonly user: ServerUser
  readonly binaries: Binaries
  /** Skip waiting for the disk while the data is made: for data that may be lost. */
  readonly noSync?: boolean
  readonly signal?: AbortSignal | undefined
}

/**
 * Opens the folder, or makes it with an empty cluster in it.
 * Throws DATA_VERSION, DATA_FOREIGN, DATA_UNKNOWN, DATA_NOT_MADE, FOLDER_UNSAFE.
 */
export async function openDataFolder(wanted: DataFolderWanted): Promise<DataFolder> {
  const { folder, movedFrom } = await placeFor(resolve(wanted.dataDir), wanted.user)
  const paths = {
    folder,
    movedFrom,
    pgdata: join(folder, 'pgdata'),
    logFile: join(folder, 'server.log'),
  }
  try {
    const isNew = !(await exists(paths.pgdata))
    if (isNew) await mustBeEmpty(folder)
    const password = await keepFirst(join(folder, 'password'), randomBytes(24).toString('hex'))
    if (isNew) await makeData(paths.pgdata, password, wanted)
    await checkData(paths.pgdata, wanted)
    return { ...paths, password }
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code !== 'EACCES' && code !== 'EPERM') throw error
    throw new BanyanError(POSTGRES_ERRORS.DATA_FOREIGN, [folder, code], { cause: error })
  }
}

/** The port that the cluster had when it last ran, or null. */
export async function rememberedPort(data: DataFolder): Promise<number | null> {
  const text = await readFile(join(data.folder, 'banyan.json'), 'utf8').catch(() => '{}')
  try {
    const { port } = JSON.parse(text) as { port?: unknown }
    return typeof port === 'number' ? port : null
  } catch {
    return null
  }
}

export async function rememberPort(
  data: DataFolder,
  note: { readonly name: string; readonly port: number; readonly version: string },
): Promise<void> {
  await replaceFile(join(data.folder, 'banyan.json'), `${JSON.stringify(note, null, 2)}\n`)
}

/** The folder itself; or one under /var/tmp that it names, when the server's user can't get there. */
async function placeFor(
  dataDir: string,
  user: ServerUser,
): Promise<{ folder: string; movedFrom: string | null }> {
  await mkdir(dataDir, { recursive: true, mode: user ? 0o711 : 0o700 })
  // Only the folder itself is ours to open; the ones above it are somebody's decision.
  if (user && (await stat(dataDir)).uid === process.getuid?.()) await chmod(dataDir, 0o711)
  if (await canReach(user, dataDir)) return { folder: dataDir, movedFrom: null }
  // Not a name made from the path: whoever removes the folder and makes it anew means to begin anew.
  const chosen = `/var/tmp/banyan-${randomBytes(6).toString('hex')}`
  const folder = await keepFirst(join(dataDir, 'moved-to'), chosen)
  await mkdir(folder, { mode: 0o711 }).catch(() => undefined)
  await mustBeOurs(folder)
  await chmod(folder, 0o711)
  return { folder, movedFrom: dataDir }
}

/** Written once: of two that start at the same time, both get the one that was first. */
async function keepFirst(file: string, text: string): Promise<string> {
  const draft = `${file}.${randomUUID()}`
  try {
    return (await readFile(file, 'utf8')).trim()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
  try {
    await writeFile(draft, `${text}\n`, { mode: 0o600 })
    await link(draft, file).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    })
  } finally {
    await rm(draft, { force: true })
  }
  return (await readFile(file, 'utf8')).trim()
}

/** In a folder of its own, renamed when it is whole: an initdb that was killed leaves nothing that looks like data. */
async function makeData(pgdata: string, password: string, wanted: DataFolderWanted): Promise<void> {
  const draft = `${pgdata}.${randomUUID()}`
  const secret = `${draft}.password`
  try {
    await mkdir(draft, { mode: 0o700 })
    await writeFile(secret, password, { mode: 0o600 })
    if (wanted.user) {
      for (const path of [draft, secret]) await chown(path, wanted.user.uid, wanted.user.gid)
    }
    await initdb(draft, secret, wanted)
    await rename(draft, pgdata).catch(async (error: unknown) => {
      if (!(await exists(pgdata))) throw error
    })
  } finally {
    await rm(secret, { force: true })
    await rm(draft, { recursive: true, force: true, maxRetries: 5 })
  }
}

async function initdb(folder: string, secret: string, wanted: DataFolderWanted): Promise<void> {
  const { binaries, user, signal } = wanted
  const common = [`--pgdata=${folder}`, '--username=postgres', `--pwfile=${secret}`]
  common.push('--auth=scram-sha-256', '--encoding=UTF8', '--data-checksums', '--no-instructions')
  if (wanted.noSync === true) common.push('--no-sync')
  // Unicode without any locale of the system's: PostgreSQL 17 brings its own; older ones may find C.UTF-8, or make do with C.
  const locales =
    binaries.major >= 17
      ? [['--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8']]
      : [['--locale=C.UTF-8'], ['--locale=C']]
  let failed: unknown
  for (const locale of locales) {
    try {
      await runProgram(join(binaries.folder, 'initdb'), [...common, ...locale], { user, signal })
      return
    } catch (error) {
      signal?.throwIfAborted()
      failed = error
    }
  }
  const details = [folder, (failed as Error).message]
  throw new BanyanError(POSTGRES_ERRORS.DATA_NOT_MADE, details, { cause: failed })
}

async function checkData(pgdata: string, { user, binaries }: DataFolderWanted): Promise<void> {
  const { uid } = await stat(pgdata)
  const runsAs = user?.uid ?? process.getuid?.()
  if (uid !== runsAs && user === null) {
    throw new BanyanError(POSTGRES_ERRORS.DATA_FOREIGN, [pgdata, `it belongs to user id ${uid}`])
  }
  const version = await readFile(join(pgdata, 'PG_VERSION'), 'utf8').catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error
      throw new BanyanError(POSTGRES_ERRORS.DATA_UNKNOWN, [pgdata])
    },
  )
  if (version.trim() !== String(binaries.major)) {
    const details = [pgdata, version.trim(), binaries.version, binaries.folder]
    throw new BanyanError(POSTGRES_ERRORS.DATA_VERSION, details)
  }
  if (uid !== runsAs && user !== null) {
    await promisify(execFile)('chown', ['-R', `${user.uid}:${user.gid}`, pgdata])
  }
}

/** What may lie in the folder before the first cluster does: only what we put there. */
async function mustBeEmpty(folder: string): Promise<void> {
  const ours = /^(password|moved-to|banyan\.json|server\.log|pgdata\.)/
  const others = (await readdir(folder)).filter(name => !ours.test(name))
  if (others.length > 0) throw new BanyanError(POSTGRES_ERRORS.DATA_UNKNOWN, [folder])
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return false
      throw error
    },
  )
}

async function replaceFile(file: string, text: string): Promise<void> {
  const draft = `${file}.${randomUUID()}`
  await writeFile(draft, text, { mode: 0o600 })
  await rename(draft, file)
}
