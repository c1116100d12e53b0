/** An empty cluster made once per machine and copied for each test: a copy starts in a tenth of the time. */
import { execFile } from 'node:child_process'
import { randomBytes, randomUUID } from 'node:crypto'
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { findBinaries, type Binaries } from '../../postgres/binaries.ts'
import { connect } from '../../postgres/connection.ts'
import { type Cluster, startCluster } from '../../postgres/embedded.ts'
import { literal } from '../../postgres/sql.ts'
import { DATA_ROOTS, dataRoot } from './data-root.ts'

const run = promisify(execFile)
/** Stays from one run to the next. */
const TEMPLATES = '/var/tmp'
/** Grows when what is in the template changes. */
const TEMPLATE = 2
const FORGOTTEN_AFTER_MS = 15 * 60_000

let binaries: Promise<Binaries> | undefined
let swept: Promise<void> | undefined

/** The server programs, looked for once per process. */
export function testBinaries(): Promise<Binaries> {
  binaries ??= findBinaries({ override: process.env['BANYAN_PG_BIN'] })
  return binaries
}

/** Copies the template to a folder of its own, as a cluster with an identity of its own, and returns the folder. */
export async function copyTemplate(): Promise<string> {
  swept ??= sweep()
  await swept
  const template = await makeTemplate(await testBinaries())
  const folder = join(await dataRoot(), `banyan-test-${process.pid}-${randomUUID().slice(0, 8)}`)
  await run('cp', ['-a', template, folder])
  await renewIdentity(join(folder, 'pgdata'))
  return folder
}

async function makeTemplate(found: Binaries): Promise<string> {
  const name = `banyan-test-template-${found.version}-${process.getuid?.()}-${TEMPLATE}`
  const template = join(TEMPLATES, name)
  if (await stat(template).catch(() => null)) return template
  // One makes it, the others wait; a lock left by a killed process is taken over.
  const lock = `${template}.lock`
  for (;;) {
    if ((await mkdir(lock).catch(() => 'taken')) !== 'taken') break
    if (await stat(template).catch(() => null)) return template
    const madeAt = (await stat(lock).catch(() => null))?.mtimeMs ?? Date.now()
    if (Date.now() - madeAt > 60_000) await rm(lock, { recursive: true, force: true })
    await new Promise(resolve => setTimeout(resolve, 20))
  }
  const draft = `${template}.${randomUUID()}`
  try {
    if (await stat(template).catch(() => null)) return template
    const settings = { fsync: 'off' }
    const cluster = await startCluster({
      dataDir: draft,
      name: 'template',
      settings,
      binaries: found,
    })
    await weaken(cluster, found)
    await cluster.stop()
    for (const file of ['banyan.json', 'server.log']) await rm(join(draft, file), { force: true })
    await rename(draft, template).catch(() => stat(template))
  } finally {
    await rm(draft, { recursive: true, force: true })
    await rm(lock, { recursive: true, force: true })
  }
  return template
}

/** Settings by which a password is checked in no time: each of a thousand sessions would hash it 4,096 times. */
export function weakPasswords({ major }: Binaries): Readonly<Record<string, string>> {
  return major >= 16 ? { scram_iterations: '1' } : {}
}

/** The superuser's password was made before any setting was there. */
async function weaken(cluster: Cluster, found: Binaries): Promise<void> {
  if (Object.keys(weakPasswords(found)).length === 0) return
  const url = new URL(cluster.url())
  const client = await connect({ url: url.href, applicationName: 'test' })
  await client.query('SET scram_iterations = 1')
  await client.query(`ALTER ROLE postgres PASSWORD ${literal(url.password)}`)
  await client.end()
}

/** Removes the folders of test processes that were killed before they could. */
async function sweep(): Promise<void> {
  for (const root of DATA_ROOTS) {
    for (const name of await readdir(root).catch(() => [])) {
      const pid = Number(/^banyan-test-(\d+)-[0-9a-f]{8}$/.exec(name)?.[1])
      if (!(pid > 0) || isAlive(pid)) continue
      const folder = join(root, name)
      const mtimeMs = (await stat(folder).catch(() => null))?.mtimeMs ?? Date.now()
      if (Date.now() - mtimeMs > FORGOTTEN_AFTER_MS)
        await rm(folder, { recursive: true, force: true })
    }
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/**
 * Gives a copied cluster a system identifier of its own, as two clusters in the world have: it stands in pg_control,
 * under a checksum, and in the first page of each WAL file. The server must be down, cleanly.
 */
export async function renewIdentity(pgdata: string): Promise<void> {
  const identifier = randomBytes(8)
  // A positive bigint when PostgreSQL prints it.
  identifier[7] = identifier[7]! & 0x7f
  const control = await readFile(join(pgdata, 'global', 'pg_control'))
  const end = checksumOffset(control)
  identifier.copy(control, 0)
  control.writeUInt32LE(crc32c(control, end), end)
  await overwrite(join(pgdata, 'global', 'pg_control'), control, 0)
  for (const name of await readdir(join(pgdata, 'pg_wal'))) {
    // After a page's 20 bytes of header and 4 of padding.
    if (/^[0-9A-F]{24}$/.test(name)) await overwrite(join(pgdata, 'pg_wal', name), identifier, 24)
  }
}

async function overwrite(file: string, bytes: Buffer, at: number): Promise<void> {
  const handle = await open(file, 'r+')
  try {
    await handle.write(bytes, 0, bytes.length, at)
  } finally {
    await handle.close()
  }
}

/** Where the checksum stands differs by version: it is where the checksum of all that goes before stands. */
function checksumOffset(control: Buffer): number {
  let crc = 0xffffffff
  for (let end = 0; end < 512; end += 4) {
    if (end >= 200 && control.readUInt32LE(end) === (crc ^ 0xffffffff) >>> 0) return end
    for (let at = end; at < end + 4; at++) crc = crc32cByte(crc, control[at]!)
  }
  throw new Error('pg_control has no checksum where one was expected')
}

function crc32c(bytes: Buffer, end: number): number {
  let crc = 0xffffffff
  for (let at = 0; at < end; at++) crc = crc32cByte(crc, bytes[at]!)
  return (crc ^ 0xffffffff) >>> 0
}

function crc32cByte(crc: number, byte: number): number {
  let next = (crc ^ byte) >>> 0
  for (let bit = 0; bit < 8; bit++) next = (next >>> 1) ^ (next & 1 ? 0x82f63b78 : 0)
  return next >>> 0
}
