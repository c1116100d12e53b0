import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { chmod, cp, lstat, mkdir, mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { npmPackage } from '../../postgres/binaries-npm.ts'
import { query } from '../support/cluster.ts'
import { copyTemplate } from '../support/cluster-template.ts'

const PROGRAM = fileURLToPath(new URL('../support/cluster-process.js', import.meta.url))
const root = process.getuid?.() === 0
const npm = npmPackage()
const NOBODY = { uid: 65534, gid: 65534 }

interface Said {
  readonly port: number
  readonly pid: number
  readonly runsAs: string | null
  readonly movedFrom: string | null
  readonly dataDir: string
  readonly url: string
  readonly binaries: { readonly folder: string }
}

/** Runs the program that starts a cluster, as whom it is told; resolves when the cluster is up. */
async function run(
  t: Test,
  args: readonly string[],
  user: { uid?: number; gid?: number } = {},
): Promise<{ child: ChildProcess; said: Said }> {
  const child = spawn(process.execPath, [PROGRAM, ...args], {
    ...user,
    cwd: '/',
    env: {},
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  t.teardown(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.stdin?.end()
    await once(child, 'exit')
  })
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string]
  return { child, said: JSON.parse(line) as Said }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

/** Looks again until the file is gone. */
async function gone(file: string, withinMs: number): Promise<boolean> {
  const deadline = performance.now() + withinMs
  while (performance.now() < deadline) {
    if (!(await stat(file).catch(() => null))) return true
    await sleep(5)
  }
  return false
}

/** A folder with an empty cluster in it, down; the user's who will run it. */
async function dataFolder(t: Test, user?: { uid: number; gid: number }): Promise<string> {
  const folder = await copyTemplate()
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  if (user) await promisify(execFile)('chown', ['-R', `${user.uid}:${user.gid}`, folder])
  return folder
}

async function emptyFolder(t: Test): Promise<string> {
  const folder = await mkdtemp('/var/tmp/banyan-try-')
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  await chmod(folder, 0o755)
  return folder
}

void t.test(
  'when we are killed, PostgreSQL stops by itself, cleanly, and its data opens again',
  async t => {
    const dataDir = await copyTemplate()
    t.teardown(() => rm(dataDir, { recursive: true, force: true }))
    const { child, said } = await run(t, [dataDir])
    await query(said.url, 'CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)')
    child.kill('SIGKILL')
    await once(child, 'exit')
    t.ok(await gone(join(dataDir, 'pgdata', 'postmaster.pid'), 10_000))
    while (isAlive(said.pid)) await sleep(5)
    const log = await readFile(join(dataDir, 'server.log'), 'utf8')
    t.match(log, /database system is shut down\n$/, 'a clean stop: nothing to recover')
    const again = await run(t, [dataDir])
    t.equal(again.said.port, said.port)
    t.same(await query(again.said.url, 'SELECT n FROM kept'), [{ n: 7 }])
  },
)

void t.test('links between libraries are made from none, once, by many at a time', async t => {
  if (npm === null) return t.pass('npm brought no PostgreSQL for this machine')
  const folder = await emptyFolder(t)
  const bare = await bareCopy(folder, npm)
  const data = await Promise.all([dataFolder(t), dataFolder(t)])
  for (const { said } of await Promise.all(data.map(each => run(t, [each, bare])))) {
    t.equal(said.binaries.folder, join(bare, 'native', 'bin'))
    t.same(await query(said.url, 'SELECT 1 AS n'), [{ n: 1 }])
  }
})

void t.test(
  'programs that the server’s user can’t reach are copied, once, by many at a time',
  async t => {
    if (npm === null || !root) return t.pass('only root has somebody else run its server')
    const folder = await emptyFolder(t)
    const closed = join(folder, 'closed')
    await mkdir(closed, { mode: 0o700 })
    const bare = await bareCopy(closed, npm)
    const data = await Promise.all([dataFolder(t), dataFolder(t)])
    for (const { said } of await Promise.all(data.map(each => run(t, [each, bare, folder])))) {
      t.match(said.binaries.folder, new RegExp(`^${folder}/banyan-pg-[^/]+/native/bin$`))
      t.same(await query(said.url, 'SELECT 1 AS n'), [{ n: 1 }])
    }
    const copies = (await readdir(folder)).filter(name => name.startsWith('banyan-pg-'))
    t.equal(copies.length, 1)
  },
)

void t.test('programs in a folder that can’t be written to are copied too', async t => {
  if (npm === null || !root) return t.pass('only root can become somebody who may not write')
  const folder = await emptyFolder(t)
  await chmod(folder, 0o777)
  const bare = await bareCopy(folder, npm)
  const data = await dataFolder(t, NOBODY)
  const { said } = await run(t, [data, bare, folder], NOBODY)
  t.match(said.binaries.folder, new RegExp(`^${folder}/banyan-pg-[^/]+/native/bin$`))
  t.same(await query(said.url, 'SELECT 1 AS n'), [{ n: 1 }])
})

void t.test('root hands the server to a user that is there', async t => {
  if (!root) return t.pass('not root')
  const { said } = await run(t, [await dataFolder(t)])
  t.match(said.runsAs, /^(postgres|nobody)$/)
  t.equal(said.movedFrom, null)
  const { uid } = await stat(join(said.dataDir, 'pgdata'))
  t.not(uid, 0)
})

void t.test('data that the server’s user couldn’t reach lies elsewhere, and says so', async t => {
  if (!root) return t.pass('not root')
  const folder = await emptyFolder(t)
  await chmod(folder, 0o700)
  const wanted = join(folder, 'data')
  const { child, said } = await run(t, [wanted])
  t.teardown(() => rm(said.dataDir, { recursive: true, force: true }))
  t.equal(said.movedFrom, wanted)
  t.match(said.dataDir, /^\/var\/tmp\/banyan-[0-9a-f]{12}$/)
  await query(said.url, 'CREATE TABLE kept (n int)')
  child.stdin?.end()
  await once(child, 'exit')
  const again = await run(t, [wanted])
  t.equal(again.said.dataDir, said.dataDir)
  t.same(await query(again.said.url, 'SELECT * FROM kept'), [])
})

void t.test('an ordinary user runs it as itself', async t => {
  const folder = await emptyFolder(t)
  await chmod(folder, 0o777)
  const { said } = await run(t, [join(folder, 'data')], root ? NOBODY : {})
  t.equal(said.runsAs, null)
  t.same(await query(said.url, 'SELECT 1 AS n'), [{ n: 1 }])
  const { uid } = await stat(join(said.dataDir, 'pgdata'))
  t.equal(uid, root ? 65534 : process.getuid?.())
})

/** npm's package as npm 12 leaves it: without links. */
async function bareCopy(folder: string, packageFolder: string): Promise<string> {
  const bare = join(folder, 'package')
  const noLinks = async (path: string): Promise<boolean> => !(await lstat(path)).isSymbolicLink()
  await cp(packageFolder, bare, { recursive: true, filter: noLinks })
  return bare
}
