/** Starts real PostgreSQL clusters of our own, on any machine that npm reaches, without installing or leaving anything. */
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { BanyanError } from '../model/errors.ts'
import { POSTGRES_ERRORS } from '../model/errors-postgres.ts'
import { findBinaries, type Binaries } from './binaries.ts'
import { openDataFolder, rememberedPort, rememberPort, type DataFolder } from './data-folder.ts'
import { waitUntilReady, waitUntilStopped } from './postmaster.ts'
import { runServer, type ServerProcess, type StopMode } from './server-process.ts'
import { serverUser, type ServerUser } from './server-user.ts'

export interface ClusterWanted {
  /** A folder of its own; made when missing. The data survives restarts. */
  readonly dataDir: string
  /** For logs and errors. */
  readonly name: string
  /** Absent: the one it had last time if that is free, else any free one. */
  readonly port?: number
  /** postgresql.conf names and values, over ours. */
  readonly settings?: Readonly<Record<string, string>>
  readonly binaries?: Binaries
  readonly log?: { info(fields: object, message: string): void }
  /** Stops the start, not the cluster. */
  readonly signal?: AbortSignal
  /** How long to wait for a predecessor that is stopping. Default 10 s. */
  readonly waitMs?: number
}

export interface Ended {
  /** Null: a signal ended it, or it never ran. */
  readonly code: number | null
  /** True after `stop()`. */
  readonly expected: boolean
}

export interface Cluster extends AsyncDisposable {
  readonly name: string
  readonly host: '127.0.0.1'
  readonly port: number
  /** Where the data really is. */
  readonly dataDir: string
  /** The folder that was asked for, when the server's user couldn't reach it and `dataDir` is another; else null. */
  readonly movedFrom: string | null
  /** '18.4' */
  readonly version: string
  /** The postmaster's. */
  readonly pid: number
  /** The user that the server runs as, when that isn't ourselves. */
  readonly runsAs: string | null
  /** Resolves when the server has ended, for whatever reason; never rejects. */
  readonly exited: Promise<Ended>
  /** Without a user: the superuser's, with its password. With one: without a password. */
  url(database?: string, user?: string): string
  /** Safe to repeat; resolves when the server has ended. Default fast: clean. */
  stop(mode?: StopMode): Promise<void>
}

const HOST = '127.0.0.1'
const START_ATTEMPTS = 3

/**
 * Starts the cluster in `dataDir`, making it first when there is none. It listens on 127.0.0.1 only, asks for a password
 * (SCRAM), keeps every acknowledged commit, and can feed change streams (`wal_level=logical`). It stops with this
 * process, cleanly, even when that is killed.
 * Throws BINARIES_MISSING, SERVER_USER_MISSING, FOLDER_UNSAFE, DATA_VERSION, DATA_FOREIGN, DATA_UNKNOWN, DATA_NOT_MADE,
 * CLUSTER_RUNNING, PORT_IN_USE, CLUSTER_NOT_STARTED.
 */
export async function startCluster(wanted: ClusterWanted): Promise<Cluster> {
  const { name, signal, log } = wanted
  signal?.throwIfAborted()
  const user = await serverUser()
  const binaries = wanted.binaries ?? (await findBinaries({ user }))
  const noSync = wanted.settings?.['fsync'] === 'off'
  const data = await openDataFolder({ dataDir: wanted.dataDir, user, binaries, noSync, signal })
  await waitUntilStopped(data.pgdata, { waitMs: wanted.waitMs ?? 10_000, signal })
  const { server, port } = await startOnPort({ wanted, user, binaries, data })
  await rememberPort(data, { name, port, version: binaries.version })
  log?.info({ cluster: name, port, version: binaries.version, folder: data.folder }, 'postgres up')
  return cluster({ name, port, user, binaries, data, server, log })
}

interface Start {
  readonly wanted: ClusterWanted
  readonly user: ServerUser
  readonly binaries: Binaries
  readonly data: DataFolder
}

async function startOnPort(start: Start): Promise<{ server: ServerProcess; port: number }> {
  const fixed = start.wanted.port
  if (fixed !== undefined && !(await isFree(fixed))) {
    throw new BanyanError(POSTGRES_ERRORS.PORT_IN_USE, [fixed, HOST])
  }
  const last = fixed ?? (await rememberedPort(start.data))
  for (let attempt = 1; ; attempt++) {
    const wish = attempt === 1 || fixed !== undefined ? last : null
    const port = wish !== null && (await isFree(wish)) ? wish : await freePort()
    const server = await tryStart(start, port)
    if (server !== null) return { server, port }
    // Somebody took the port between our look and the server's.
    if (fixed !== undefined || attempt === START_ATTEMPTS) {
      throw new BanyanError(POSTGRES_ERRORS.PORT_IN_USE, [port, HOST])
    }
  }
}

/** Null when the port was taken meanwhile. */
async function tryStart(start: Start, port: number): Promise<ServerProcess | null> {
  const { wanted, user, binaries, data } = start
  const settings = Object.entries({ ...SETTINGS, ...wanted.settings, port: String(port) })
  const args = ['-D', data.pgdata, ...settings.flatMap(([key, value]) => ['-c', `${key}=${value}`])]
  const program = join(binaries.folder, 'postgres')
  const server = await runServer({ program, args, user, logFile: data.logFile })
  const ended = new AbortController()
  void server.exited.then(() => ended.abort())
  try {
    const ready = { pid: server.pid, ended: ended.signal, signal: wanted.signal }
    if (await waitUntilReady(data.pgdata, ready)) return server
  } catch (error) {
    await server.stop('immediate')
    wanted.signal?.throwIfAborted()
    throw error
  }
  if (!(await isFree(port))) return null
  const reason = await lastFatal(data.logFile)
  throw new BanyanError(POSTGRES_ERRORS.CLUSTER_NOT_STARTED, [wanted.name, reason, data.logFile])
}

const SETTINGS: Readonly<Record<string, string>> = {
  listen_addresses: HOST,
  unix_socket_directories: '',
  wal_level: 'logical',
  max_replication_slots: '20',
  max_wal_senders: '20',
  fsync: 'on',
  full_page_writes: 'on',
  synchronous_commit: 'on',
  timezone: 'UTC',
  log_timezone: 'UTC',
  lc_messages: 'C',
  // Values of rows stand in statements and in details (`Key (email)=(…) already exists`): they stay out of the log.
  log_min_error_statement: 'panic',
  log_error_verbosity: 'terse',
}

function cluster(parts: {
  name: string
  port: number
  user: ServerUser
  binaries: Binaries
  data: DataFolder
  server: ServerProcess
  log: ClusterWanted['log']
}): Cluster {
  const { name, port, data, server } = parts
  let stopping = false
  const exited = server.exited.then(code => {
    parts.log?.info({ cluster: name, code, expected: stopping }, 'postgres down')
    return { code, expected: stopping }
  })
  const stop = async (mode: StopMode = 'fast'): Promise<void> => {
    stopping = true
    await server.stop(mode)
    await exited
  }
  return {
    name,
    host: HOST,
    port,
    dataDir: data.folder,
    movedFrom: data.movedFrom,
    version: parts.binaries.version,
    pid: server.pid,
    runsAs: parts.user?.name ?? null,
    exited,
    url(database = 'postgres', user) {
      const who = user === undefined ? `postgres:${data.password}` : encodeURIComponent(user)
      return `postgres://${who}@${HOST}:${port}/${encodeURIComponent(database)}`
    },
    stop,
    [Symbol.asyncDispose]: () => stop(),
  }
}

async function isFree(port: number): Promise<boolean> {
  const probe = createServer()
  return new Promise(resolve => {
    probe.once('error', () => resolve(false))
    probe.listen({ port, host: HOST, exclusive: true }, () => probe.close(() => resolve(true)))
  })
}

async function freePort(): Promise<number> {
  const probe = createServer()
  return new Promise((resolve, reject) => {
    probe.once('error', reject)
    probe.listen({ port: 0, host: HOST, exclusive: true }, () => {
      const address = probe.address()
      const port = typeof address === 'object' && address ? address.port : 0
      probe.close(() => resolve(port))
    })
  })
}

async function lastFatal(logFile: string): Promise<string> {
  const lines = (await readFile(logFile, 'utf8').catch(() => '')).trim().split('\n')
  const said = lines.findLast(line => / (FATAL|PANIC): {2}/.test(line)) ?? lines.at(-1) ?? ''
  return said.replace(/^.*? (?=FATAL|PANIC)/, '') || 'it said nothing'
}
