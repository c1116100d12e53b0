/** What a test of a lost control database waits for, breaks and counts. */
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import pg from 'pg'
import type { Test } from 'tap'
import { readSlices } from '../../control/store/slices.ts'
import { readStreams } from '../../control/store/streams.ts'
import { must } from '../../model/errors.ts'
import { query } from './cluster.ts'
import { same, until } from './flipping.ts'
import type { Clients, MovingSlice } from './moving-slice.ts'
import type { Project } from './screen.ts'

/** Until the controller has followed the file so far, one step at a time. */
export async function climbed(moving: MovingSlice, stage: string): Promise<void> {
  await until(moving, `at ${stage}`, async () => {
    const [fact] = await readSlices(moving.store.pool)
    return fact?.stage === stage
  })
}

/** In step, and a worker says so. */
export async function atWork(moving: MovingSlice): Promise<void> {
  await until(moving, 'a worker', async () => {
    const streams = await readStreams(moving.store)
    const heard = streams.filter(each => (each.silentMs ?? Infinity) < 1_000)
    const steady = heard.filter(
      each => each.state === 'streaming' && (each.lagMs ?? Infinity) < 500,
    )
    return steady.length === 3 && steady.every(each => !each.error)
  })
}

export async function written(moving: MovingSlice, clients: Clients, what: string): Promise<void> {
  const before = clients.told.length
  await until(moving, what, async () => clients.told.length > before + 5)
}

/** Every operation that a client was told of, once on each side. */
export async function nothingLost(t: Test, moving: MovingSlice, clients: Clients): Promise<void> {
  await until(moving, 'both sides are equal', () => same(moving))
  const ops = clients.told.map(each => each.op)
  for (const [url, table] of [
    [moving.legacy, 'visits'],
    [moving.service, 'visit'],
  ] as const) {
    const [found] = await query(
      url,
      `SELECT count(*)::int AS rows, count(DISTINCT op)::int AS ops FROM ${table} WHERE op = ANY ($1)`,
      [ops],
    )
    t.same(found, { rows: ops.length, ops: ops.length }, `${table} has them all, once`)
  }
}

export async function gate(url: string): Promise<{ number: number; word: number }> {
  const [slice] = await query<{ number: number }>(
    url,
    `SELECT number FROM banyan.slice WHERE name = 'visits'`,
  )
  const { number } = must(slice, 'the slice')
  const [row] = await query(url, `SELECT last_value::int AS word FROM banyan.gate_${number}`)
  return { number, word: row!['word'] as number }
}

/** Whoever writes there waits, until this session ends. */
export async function locked(url: string, table: string): Promise<pg.Client> {
  const session = new pg.Client({ connectionString: url })
  session.on('error', () => undefined)
  await session.connect()
  await session.query(`BEGIN; LOCK TABLE ${table} IN EXCLUSIVE MODE`)
  return session
}

export async function cutSessions(moving: MovingSlice, name: string): Promise<void> {
  const sql = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1`
  for (const url of [moving.legacy, moving.service]) await query(url, sql, [name])
}

/** The same files, in a folder that PostgreSQL's user can reach. */
export async function embeddedProject(t: Test, project: Project): Promise<string> {
  const folder = await mkdtemp('/var/tmp/banyan-test-rebuild-')
  t.teardown(async () => {
    const moved = await readFile(join(folder, '.banyan/control/moved-to'), 'utf8').catch(() => '')
    for (const each of [folder, moved.trim()]) {
      if (each.startsWith('/var/tmp/banyan-')) await rm(each, { recursive: true, force: true })
    }
  })
  await cp(dirname(project.config), folder, { recursive: true })
  const config = join(folder, 'banyan.yaml')
  const text = await readFile(config, 'utf8')
  await writeFile(config, text.replace('database: file:control.url', 'database: embedded'))
  return config
}
