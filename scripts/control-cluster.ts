/** The control database, wherever it is: an embedded cluster in the project's folder, or the one that banyan.yaml names. */
import { createHmac } from 'node:crypto'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { controlMigrations } from '../migrations/control/control.ts'
import { migrateUp } from '../migrations/runner.ts'
import { pause } from '../model/pause.ts'
import type { Project } from '../model/project.ts'
import { connect } from '../postgres/connection.ts'
import { type Cluster, startCluster } from '../postgres/embedded.ts'
import { roleSql } from '../postgres/roles.ts'
import { foldersOf } from './folders.ts'
import { openWiring } from './wiring.ts'

const DATABASE = 'banyan'
const ROLE = 'banyan'
const LOOKS = 3
const LOOK_MS = 500

export interface ControlDatabase extends AsyncDisposable {
  /** Undefined where banyan.yaml names a database of its own. */
  readonly cluster: Cluster | undefined
  readonly url: string
}

/**
 * Starts it where it is embedded, and brings its schema up to date. While it runs, its URL lies where the other commands
 * look for it. Throws what `startCluster`, `openWiring` and `migrateUp` throw.
 */
export async function openControlDatabase(
  config: string,
  project: Project,
): Promise<ControlDatabase> {
  const folders = foldersOf(config)
  await mkdir(folders.state, { recursive: true, mode: 0o700 })
  if (project.banyan.control.database !== 'embedded') {
    const { control } = await openWiring(config)
    await migrateUp(control, controlMigrations())
    return { cluster: undefined, url: control, async [Symbol.asyncDispose]() {} }
  }
  const cluster = await startCluster({
    ...{ dataDir: folders.controlData, name: 'control' },
    ...((await atWork(folders.controlUrl)) && { waitMs: 0 }),
  })
  try {
    const url = await ownDatabase(cluster)
    await migrateUp(url, controlMigrations())
    await writeFile(folders.controlUrl, `${url}\n`, { mode: 0o600 })
    return {
      cluster,
      url,
      async [Symbol.asyncDispose]() {
        await rm(folders.controlUrl, { force: true })
        await cluster.stop()
      },
    }
  } catch (error) {
    await cluster.stop()
    throw error
  }
}

/** Owned by a role that owns nothing else: all that Banyan's parts log in as. Its password follows from the cluster's. */
async function ownDatabase(cluster: Cluster): Promise<string> {
  const superuser = cluster.url('postgres')
  const secret = decodeURIComponent(new URL(superuser).password)
  const password = createHmac('sha256', secret).update(ROLE).digest('hex')
  const client = await connect({ url: superuser, applicationName: 'banyan setup' })
  try {
    for (const statement of roleSql({ name: ROLE, password }, 'NOREPLICATION NOBYPASSRLS')) {
      await client.query(statement)
    }
  } finally {
    await client.end()
  }
  await createDatabase(superuser, DATABASE, ROLE)
  const url = new URL(cluster.url(DATABASE, ROLE))
  url.password = password
  return url.href
}

/** One that is stopping takes no more sessions: whoever still does after a moment is at work, and not waited for. */
async function atWork(controlUrl: string): Promise<boolean> {
  const url = await readFile(controlUrl, 'utf8').catch(() => undefined)
  if (url === undefined) return false
  for (let looks = 0; looks < LOOKS; looks++) {
    if (looks > 0) await pause(LOOK_MS)
    const wanted = { url: url.trim(), applicationName: 'banyan setup', connectTimeoutMs: LOOK_MS }
    const client = await connect(wanted).catch(() => undefined)
    if (!client) return false
    await client.end()
  }
  return true
}

/** Makes the database where there is none of that name. */
export async function createDatabase(url: string, name: string, owner?: string): Promise<void> {
  const client = await connect({ url, applicationName: 'banyan setup' })
  try {
    const known = await client.query('SELECT 1 FROM pg_database WHERE datname = $1', [name])
    if (known.rowCount === 0) {
      await client.query(`CREATE DATABASE "${name}"${owner ? ` OWNER "${owner}"` : ''}`)
    }
  } finally {
    await client.end()
  }
}
