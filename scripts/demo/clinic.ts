/** The clinic, running: two clusters with its three databases, the monolith and its two services. */
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Closers } from '../../model/closers.ts'
import { connect } from '../../postgres/connection.ts'
import { type Cluster, startCluster } from '../../postgres/embedded.ts'
import { rolesSql } from '../../postgres/roles.ts'
import { literal, quote } from '../../postgres/sql.ts'
import { JWKS_PATH } from '../../router/identity.ts'
import { createDatabase } from '../control-cluster.ts'
import { type Part, startPart } from '../supervise.ts'
import { type DemoDatabase, type DemoPorts, secretFile } from './project.ts'

const run = promisify(execFile)
const PROGRAMS = join(import.meta.dirname, '../..')

interface App {
  readonly database: DemoDatabase
  readonly cluster: 'legacy' | 'services'
  /** Role that owns the tables, and name of the database. */
  readonly owner: string
  readonly program: string
}

const APPS: readonly App[] = [
  {
    database: 'legacy',
    cluster: 'legacy',
    owner: 'clinic',
    program: 'examples/clinic/monolith.js',
  },
  {
    ...{ database: 'scheduling', cluster: 'services', owner: 'scheduling' },
    program: 'services/scheduling/server.js',
  },
  {
    ...{ database: 'people', cluster: 'services', owner: 'people' },
    program: 'services/people/server.js',
  },
]

export interface Size {
  readonly patients: number
  readonly appointments: number
}

const STANDARD: Size = { patients: 3_000, appointments: 30_000 }

/** The same rows each time. */
function seedArguments({ patients, appointments }: Size): string[] {
  return ['seed', '--patients', `${patients}`, '--appointments', `${appointments}`, '--seed', '7']
}

export interface Databases extends AsyncDisposable {
  readonly clusters: Readonly<Record<'legacy' | 'services', Cluster>>
  /** As the application's own role. */
  readonly owner: Readonly<Record<DemoDatabase, string>>
  readonly superuser: Readonly<Record<DemoDatabase, string>>
  /** What they were filled with. */
  readonly size: Size
}

/** What an earlier demo filled this folder's databases with; undefined where none has finished that. */
export async function isSetUp(folder: string): Promise<Size | undefined> {
  const text = await readFile(join(folder, READY), 'utf8').catch(() => undefined)
  return text === undefined ? undefined : (JSON.parse(text) as Size)
}

/** Written when everything is made: a set-up that was cut short leaves none. */
const READY = 'ready.json'

/** Starts both clusters; fills them where that wasn't done (a set-up that was cut short begins anew). */
export async function openDatabases(
  folder: string,
  wanted = STANDARD,
  settings: Readonly<Record<string, string>> = {},
): Promise<Databases> {
  const closers = new Closers()
  const known = await isSetUp(folder)
  const size = known ?? wanted
  const fresh = known === undefined
  if (fresh) {
    for (const each of ['data', '.banyan', 'secrets', 'slices']) {
      await rm(join(folder, each), { recursive: true, force: true })
    }
  }
  await mkdir(folder, { recursive: true, mode: 0o700 })
  try {
    const start = async (name: 'legacy' | 'services'): Promise<Cluster> => {
      const cluster = await startCluster({ dataDir: join(folder, 'data', name), name, settings })
      closers.defer(() => cluster.stop())
      return cluster
    }
    const [legacy, services] = await Promise.all([start('legacy'), start('services')])
    const clusters = { legacy, services }
    const owner = {} as Record<DemoDatabase, string>
    const superuser = {} as Record<DemoDatabase, string>
    for (const app of APPS) {
      const passwords = await keepPasswords(folder, app, clusters[app.cluster])
      superuser[app.database] = clusters[app.cluster].url(app.owner)
      owner[app.database] = passwords.owner
      if (fresh) await makeDatabase(app, clusters[app.cluster], passwords, size)
    }
    if (fresh) await writeFile(join(folder, READY), JSON.stringify(size))
    return {
      clusters,
      owner,
      superuser,
      size,
      [Symbol.asyncDispose]: () => closers[Symbol.asyncDispose](),
    }
  } catch (error) {
    await closers[Symbol.asyncDispose]()
    throw error
  }
}

const ROLES = ['setup', 'apply', 'capture'] as const
type Urls = Readonly<Record<'owner' | (typeof ROLES)[number], string>>

/** One password for each role of a database; the ports may be others than last time. */
async function keepPasswords(folder: string, app: App, cluster: Cluster): Promise<Urls> {
  const urls: Record<string, string> = {}
  await mkdir(join(folder, 'secrets'), { recursive: true, mode: 0o700 })
  for (const role of ['owner', ...ROLES]) {
    const file = join(folder, secretFile(app.database, role))
    const known = await readFile(file, 'utf8').catch(() => undefined)
    const password = known ? new URL(known).password : randomBytes(18).toString('hex')
    const name = role === 'owner' ? app.owner : `banyan_${app.owner}_${role}`
    urls[role] = `postgres://${name}:${password}@${cluster.host}:${cluster.port}/${app.owner}`
    await writeFile(file, `${urls[role]}\n`, { mode: 0o600 })
  }
  return urls as Urls
}

async function makeDatabase(app: App, cluster: Cluster, urls: Urls, size: Size): Promise<void> {
  const password = (url: string): string => new URL(url).password
  await execute(cluster.url('postgres'), [
    `CREATE ROLE ${quote(app.owner)} LOGIN PASSWORD ${literal(password(urls.owner))}`,
  ])
  await createDatabase(cluster.url('postgres'), app.owner, app.owner)
  const role = (name: (typeof ROLES)[number]) => ({
    name: new URL(urls[name]).username,
    password: password(urls[name]),
  })
  const roles = { setup: role('setup'), apply: role('apply'), capture: role('capture') }
  const wanted = { database: app.owner, owner: app.owner, schema: 'public', ...roles }
  const env = { ...process.env, DATABASE_URL: urls.owner }
  const program = join(PROGRAMS, app.program)
  await run(process.execPath, [program, 'migrate'], { env })
  if (app.database === 'legacy')
    await run(process.execPath, [program, ...seedArguments(size)], { env })
  await execute(cluster.url(app.owner), rolesSql(wanted))
  await execute(cluster.url(app.owner), ['ANALYZE'])
}

async function execute(url: string, statements: readonly string[]): Promise<void> {
  const client = await connect({ url, applicationName: 'demo' })
  try {
    for (const statement of statements) await client.query(statement)
  } finally {
    await client.end()
  }
}

/** Monolith and services. They know each other's addresses, and nothing of Banyan but where its keys are. */
export async function startApps(
  folder: string,
  ports: DemoPorts,
  databases: Databases,
): Promise<AsyncDisposable> {
  const closers = new Closers()
  const key = randomBytes(18).toString('hex')
  const monolith = `http://127.0.0.1:${ports.monolith}`
  const facade = `http://127.0.0.1:${ports.facade}`
  const start = async (app: App, name: string, port: number): Promise<Part> => {
    const part = await startPart({
      name,
      script: join(import.meta.dirname, 'child.js'),
      args: [join(PROGRAMS, app.program)],
      env: {
        DATABASE_URL: databases.owner[app.database],
        PORT: String(port),
        HOST: '127.0.0.1',
        INTERNAL_KEY: key,
        LEGACY_URL: monolith,
        IDENTITY_JWKS_URL: `${facade}${JWKS_PATH}`,
      },
      folder: join(folder, '.banyan'),
      readyUrl: `http://127.0.0.1:${port}/ready`,
    })
    closers.defer(() => part[Symbol.asyncDispose]())
    return part
  }
  await mkdir(join(folder, '.banyan'), { recursive: true, mode: 0o700 })
  try {
    const [legacy, scheduling, people] = APPS as readonly [App, App, App]
    await Promise.all([
      start(legacy, 'monolith', ports.monolith),
      start(scheduling, 'scheduling', ports.scheduling),
      start(people, 'people', ports.people),
    ])
  } catch (error) {
    await closers[Symbol.asyncDispose]()
    throw error
  }
  return closers
}
