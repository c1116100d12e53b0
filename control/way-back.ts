/** Whether a slice that its service owns could go back now without losing anything, and if not, what it would lose. */
import { BanyanError, must } from '../model/errors.ts'
import { ABANDON_ERRORS } from '../model/errors-abandon.ts'
import { type Lsn, parseLsn } from '../model/position.ts'
import type { Slice } from '../model/project.ts'
import { parseStream } from '../model/stream.ts'
import { qualified, type Wiring } from '../model/wiring.ts'
import { connect } from '../postgres/connection.ts'
import { explain } from '../postgres/explain.ts'
import { type Pending, pendingWrites } from '../sync/pending.ts'
import { streamTo } from './cutover-runner.ts'
import type { Blocked } from './facts.ts'
import { streamsOf } from './slice-streams.ts'
import type { Store } from './store/store.ts'
import { LASTING, readStreams, type StreamRow } from './store/streams.ts'

export interface WayBack {
  /**
   * `waits`: it goes on by itself, as soon as a database is back. `broken`: it doesn't, and what the service has stored
   * since would be lost. `away`: the service's database doesn't answer.
   */
  readonly state: 'lossless' | 'waits' | 'broken' | 'away'
  /** What is wrong with the stream; null where nothing is. */
  readonly why: string | null
  /** Of a broken one. */
  readonly loses: Loss | null
}

export interface Loss extends Omit<Pending, 'count'> {
  /** Null: it can't be known. */
  readonly count: number | null
  /** Why not. */
  readonly unknown: string | null
}

/** Older than this a worker's word isn't believed. Milliseconds. */
export const SILENT_MAX_MS = 3_000
/** A worker that has tried in vain for so long doesn't get over it. */
const VAIN_MS = 30_000
/** Who hasn't answered by then is away. */
const CONNECT_MS = 1_000
const STATEMENT_MS = 5_000

/** A healthy stream costs one look at the control database; only a broken one is counted. Never throws for a database that is away. */
export async function readWayBack(
  { store, wiring }: { readonly store: Store; readonly wiring: Wiring },
  slice: Slice,
): Promise<WayBack> {
  const name = streamTo(slice, 'legacy')
  const streams = streamsOf(slice, await readStreams(store), wiring.project.banyan.services)
  const stream = must(
    streams.find(each => each.name === name),
    name,
  )
  const why = troubleOf(stream)
  if (why === null) return { state: 'lossless', why, loses: null }
  const url = must(wiring.services[slice.service], slice.service).capture
  const applicationName = 'banyan way back'
  const timeouts = { statementMs: STATEMENT_MS }
  const session = (at: string) =>
    connect({ url: at, applicationName, timeouts, connectTimeoutMs: CONNECT_MS })
  let service
  try {
    service = await session(url)
  } catch (error) {
    return { state: 'away', why: explain(error, url).message, loses: null }
  }
  try {
    if (passes(stream)) return { state: 'waits', why, loses: null }
    const after = await durable(wiring, name, session)
    const pending = await pendingWrites(service, {
      stream: must(parseStream(name), name),
      after,
      tables: Object.values(slice.tables).map(({ to }) => qualified(to)),
    })
    return { state: 'broken', why, loses: { ...pending, unknown: null } }
  } catch (error) {
    const unknown = explain(error, url).message
    return { state: 'broken', why, loses: { count: null, more: false, writes: [], unknown } }
  } finally {
    await service.end().catch(() => undefined)
  }
}

/** Null where it is in step, and its worker is heard. */
function troubleOf({ name, state, error, silentMs }: StreamRow): string | null {
  if (error) return `${name}: ${error.message}`
  if (state !== 'streaming') return `${name} is ${state}`
  if (silentMs !== null && silentMs <= SILENT_MAX_MS) return null
  return `nothing is heard of the stream ${name}`
}

/** Its worker tries again, and hasn't tried in vain for long. */
function passes({ error, silentMs, unheardMs }: StreamRow): boolean {
  if (error !== null && LASTING.includes(error.code)) return false
  return (silentMs ?? Infinity) <= SILENT_MAX_MS && (unheardMs ?? Infinity) <= VAIN_MS
}

/** The last position of the stream that is durable in legacy. */
async function durable(
  wiring: Wiring,
  stream: string,
  session: (url: string) => ReturnType<typeof connect>,
): Promise<Lsn> {
  const legacy = await session(wiring.legacy.capture)
  try {
    const { rows } = await legacy.query<{ position: string }>(
      'SELECT position::text FROM banyan.progress WHERE stream = $1',
      [stream],
    )
    return parseLsn(must(rows[0], `the progress of ${stream}`).position)
  } finally {
    await legacy.end().catch(() => undefined)
  }
}

/** `212 writes`, `at least 10,000 writes`, or that nobody can say. */
export function lossText({ count, more }: Loss): string {
  if (count === null) return 'writes, how many is not known,'
  const number = count.toLocaleString('en')
  return `${more ? 'at least ' : ''}${number} ${count === 1 ? 'write' : 'writes'}`
}

/** What stands in the way of going back; null where nothing does. */
export function lossBlocker(slice: Slice['name'], service: string, way: WayBack): Blocked | null {
  if (way.state === 'lossless' || way.state === 'waits') return null
  const error =
    way.state === 'away'
      ? new BanyanError(ABANDON_ERRORS.SERVICE_AWAY, [slice, service, way.why ?? ''])
      : new BanyanError(ABANDON_ERRORS.WOULD_LOSE, [
          slice,
          way.loses ? lossText(way.loses) : 'writes',
          way.loses?.unknown ?? way.why ?? '',
        ])
  const { code, message, hint } = error
  return { code, message, hint }
}
