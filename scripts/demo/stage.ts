/** What the story is told with: the clinic at work, Banyan running, the load, and how to wait for something. */
import { readFlips, type FlipRow } from '../../control/store/flips.ts'
import { readRouters } from '../../control/store/routers.ts'
import { readStreams } from '../../control/store/streams.ts'
import { readVerification, requestVerification } from '../../control/store/verifications.ts'
import { must } from '../../model/errors.ts'
import type { SliceReport } from '../../model/orders.ts'
import { parseLsn } from '../../model/position.ts'
import type { WantedStage } from '../../model/slice-file.ts'
import type { Stage } from '../../model/stage.ts'
import { parseStream } from '../../model/stream.ts'
import { connect } from '../../postgres/connection.ts'
import type { Context } from '../context.ts'
import { findSlice, type Opened } from '../control-store.ts'
import { moveSlice } from '../flip.ts'
import type { Running } from '../up.ts'
import type { Databases } from './clinic.ts'
import type { Load } from './load.ts'
import type { Screen } from './screen.ts'

export interface Demo {
  readonly context: Context
  readonly opened: Opened
  readonly databases: Databases
  readonly running: Running
  readonly load: Load
  readonly screen: Screen
  readonly journal: string
  readonly lagMs: number
  readonly sabotage: string | undefined
  readonly enough: Enough
}

/** How much has to be seen before the story goes on; less where the load doesn't give it in time. */
export interface Enough {
  readonly compared: number
  readonly canaryReads: number
}

/** The story can't go on; what is said already stands, and the report follows. */
export class Stopped extends Error {}

const LOOK_MS = 50
const TOPICS = ['flip', 'step', 'stream', 'slice', 'verification'] as const

/** Looks until it is so. Stops the story after `timeoutMs`, with what it waited for. */
export async function until(
  demo: Demo,
  what: string,
  test: () => Promise<boolean>,
  timeoutMs = 30_000,
): Promise<void> {
  if (await soon(demo, what, test, timeoutMs)) return
  demo.screen.bad('waited', `${timeoutMs / 1000} s for this, in vain: ${what}`)
  throw new Stopped(what)
}

/** The same, for what may as well not happen: true if it did. */
export async function soon(
  { context, opened, screen }: Demo,
  what: string,
  test: () => Promise<boolean>,
  timeoutMs: number,
): Promise<boolean> {
  const deadline = performance.now() + timeoutMs
  screen.doing(what)
  while (performance.now() < deadline) {
    context.signal.throwIfAborted()
    if (await test()) return true
    await opened.ear.heard(TOPICS, LOOK_MS, context.signal)
  }
  return false
}

/** Flips as `banyan flip` does. */
export async function flip(demo: Demo, name: string, to: WantedStage): Promise<FlipRow> {
  const { slice, fact } = await findSlice(demo.opened, name)
  demo.screen.doing(`${name} → ${to}`)
  return moveSlice(demo.context, demo.opened, {
    ...{ slice, fact, to, percent: undefined, reason: 'the demo' },
  })
}

/** Flips, and stops the story where that is refused. */
export async function mustFlip(demo: Demo, name: string, to: WantedStage): Promise<FlipRow> {
  const ended = await flip(demo, name, to)
  if (ended.outcome === 'done') return ended
  return halt(demo, ended)
}

/** A flip that wasn't done ends the story; the screen says why. */
export function halt({ screen }: Demo, { slice, to, error }: FlipRow): never {
  const { code, message } = error ?? { code: 'UNEXPECTED', message: 'no error on record' }
  const blockers = (error?.blockers ?? []).map(each => `${each.code} ${each.message}`)
  screen.bad(to, [`${slice}: ${code} ${message}`, ...blockers].join('; '))
  throw new Stopped(code)
}

export async function stageOf(demo: Demo, name: string): Promise<Stage> {
  return (await findSlice(demo.opened, name)).fact.stage
}

export async function verify(
  demo: Demo,
  name: string,
): Promise<{ rows: number; differences: number; ms: number }> {
  const { store } = demo.opened
  const id = await requestVerification(store, name, demo.context.actor)
  const read = async () => must(await readVerification(store, id), 'the verification')
  const ended = async () => (await read()).endedAtMs !== null
  await until(demo, `comparing both sides of ${name}`, ended)
  const { rows, differences, ms, error } = await read()
  if (error) {
    demo.screen.bad('verify', `${name}: ${error.code} ${error.message}`)
    throw new Stopped(error.code)
  }
  return { rows: rows ?? 0, differences: differences ?? 0, ms: ms ?? 0 }
}

/** What the routers have counted for a slice since they started. */
export async function counted(demo: Demo, name: string): Promise<SliceReport> {
  const reports = (await readRouters(demo.opened.store)).flatMap(router => router.report)
  return reports.find(each => each.slice === name) ?? nothing(name)
}

function nothing(slice: string): SliceReport {
  const none = { legacy: 0, service: 0 }
  return {
    ...{ slice, requests: none, failed: none, examples: [] },
    held: { now: 0, total: 0, overflowed: 0, expired: 0 },
    shadow: { compared: 0, different: 0, dropped: 0 },
  }
}

/** All streams have applied whatever their sources have committed until now. */
export async function quiet(demo: Demo): Promise<void> {
  const { databases, opened } = demo
  const urls = { legacy: databases.superuser.legacy, services: databases.superuser.scheduling }
  const ends: Record<string, bigint> = {}
  for (const [name, url] of Object.entries(urls)) {
    const [row] = await query<{ lsn: string }>(
      url,
      'SELECT pg_current_wal_insert_lsn()::text AS lsn',
    )
    ends[name] = parseLsn(must(row, 'a position').lsn)
  }
  await until(demo, 'everything applied', async () => {
    const streams = await readStreams(opened.store)
    return streams.every(({ name, watermark }) => {
      const from = parseStream(name)?.from === 'legacy' ? 'legacy' : 'services'
      return watermark !== null && parseLsn(watermark) >= (ends[from] ?? 0n)
    })
  })
}

export async function query<T>(url: string, sql: string, values: unknown[] = []): Promise<T[]> {
  const client = await connect({ url, applicationName: 'demo' })
  try {
    return (await client.query(sql, values)).rows as T[]
  } finally {
    await client.end()
  }
}

/** Has the slice been moved, and brought back, before? */
export async function wentBack(demo: Demo, name: string): Promise<boolean> {
  const flips = await readFlips(demo.opened.store, { slice: name, limit: 1_000 })
  return flips.some(each => each.from === 'moved' && each.outcome === 'done')
}
