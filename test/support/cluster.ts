/** A real PostgreSQL cluster for one test: up in about 150 ms, gone when the test ends. */
import { randomBytes } from 'node:crypto'
import { rm } from 'node:fs/promises'
import pg from 'pg'
import { must } from '../../model/errors.ts'
import { startCluster, type Cluster } from '../../postgres/embedded.ts'
import { copyTemplate, testBinaries, weakPasswords } from './cluster-template.ts'

export interface TestCluster {
  readonly port: number
  /** Without a user: the superuser's. With one: that of a role that `createRole` made, with its password. */
  url(database?: string, user?: string): string
  /** Returns the superuser's URL of the new database. */
  createDatabase(name: string, options?: { readonly owner?: string }): Promise<string>
  /** Makes a role that can log in. `traits`: as in CREATE ROLE. Returns its password, which `url` knows from now on. */
  createRole(
    name: string,
    options?: { readonly traits?: string; readonly password?: string },
  ): Promise<string>
  /** The launcher's own handle: data folder, process, settings. */
  readonly cluster: Cluster
  stop(mode?: 'fast' | 'immediate'): Promise<void>
  /** Starts it again after `stop`, on the same data and port. */
  restart(settings?: Readonly<Record<string, string>>): Promise<void>
}

/** As much of tap's test as is needed here; the root `t` will do. */
interface Teardown {
  teardown(action: () => Promise<void>): void
}

/**
 * Starts a cluster with its own identity: wal_level=logical, 20 slots, fsync off, 127.0.0.1. `settings` go over these.
 * Removed with its data at the test's end.
 */
export async function testCluster(
  t: Teardown,
  options: {
    readonly settings?: Readonly<Record<string, string>>
    /** Default: any free one. */
    readonly port?: number
  } = {},
): Promise<TestCluster> {
  const dataDir = await copyTemplate()
  const binaries = await testBinaries()
  const start = async (port?: number, settings = options.settings): Promise<Cluster> =>
    startCluster({
      dataDir,
      name: 'test',
      binaries,
      settings: { ...SETTINGS, ...weakPasswords(binaries), ...settings },
      ...(port !== undefined && { port }),
    })
  const clusters: Cluster[] = []
  t.teardown(async () => {
    for (const cluster of clusters) await cluster.stop('immediate')
    await rm(dataDir, { recursive: true, force: true })
  })
  clusters.push(await start(options.port))
  const running = (): Cluster => must(clusters.at(-1), 'a started cluster')
  const passwords = new Map<string, string>()
  return {
    port: running().port,
    get cluster() {
      return running()
    },
    url(database, user) {
      if (user === undefined) return running().url(database)
      const password = passwords.get(user)
      if (password === undefined) return running().url(database, user)
      return running().url(database, user).replace('@', `:${password}@`)
    },
    async createDatabase(name, { owner } = {}) {
      const clause = owner === undefined ? '' : ` OWNER ${pg.escapeIdentifier(owner)}`
      await query(running().url(), `CREATE DATABASE ${pg.escapeIdentifier(name)}${clause}`)
      return running().url(name)
    },
    async createRole(name, { traits = '', password = randomBytes(12).toString('hex') } = {}) {
      const role = pg.escapeIdentifier(name)
      await query(running().url(), `CREATE ROLE ${role} LOGIN ${traits} PASSWORD '${password}'`)
      passwords.set(name, password)
      return password
    },
    stop: mode => running().stop(mode),
    async restart(settings) {
      const { port } = running()
      await running().stop()
      clusters.push(await start(port, { ...options.settings, ...settings }))
    },
  }
}

const SETTINGS: Readonly<Record<string, string>> = {
  fsync: 'off',
  synchronous_commit: 'on',
  shared_buffers: '32MB',
  max_connections: '200',
  // A test that waits for a plan or a count wants statement and detail in the log.
  log_error_verbosity: 'default',
  log_min_error_statement: 'error',
}

/** Connects, runs one statement (or several, without parameters), disconnects. Returns the rows of the last one. */
export async function query<Row extends pg.QueryResultRow = pg.QueryResultRow>(
  url: string,
  sql: string,
  params?: unknown[],
): Promise<Row[]> {
  const client = new pg.Client({ connectionString: url, application_name: 'test' })
  client.on('error', () => undefined)
  await client.connect()
  try {
    const result = await client.query<Row>(sql, params)
    const last = (Array.isArray(result) ? result.at(-1) : result) as pg.QueryResult<Row>
    return last.rows
  } finally {
    await client.end()
  }
}
