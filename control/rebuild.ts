/**
 * Makes the facts of the control database again from what the databases say: settles what is closed, then reads who owns,
 * which epochs were issued and which streams go on. Stages are as cautious as the streams allow; the files' wishes are
 * for the controller, one step at a time.
 */
import type pg from 'pg'
import { BanyanError, must } from '../model/errors.ts'
import { CONTROL_ERRORS } from '../model/errors-control.ts'
import type { Slice } from '../model/project.ts'
import type { Lsn } from '../model/position.ts'
import { type Stage, STAGES } from '../model/stage.ts'
import type { Wiring } from '../model/wiring.ts'
import { connect } from '../postgres/connection.ts'
import { settle, type Settled } from '../postgres/settle.ts'
import { settlementOf } from './cutover-runner.ts'
import {
  findCopies,
  findSlice,
  findStreams,
  hasTables,
  type Sides,
  type SliceFound,
  type StreamFound,
} from './in-databases.ts'

const CONNECT_MS = 5_000

export interface RebuiltSlice extends SliceFound {
  readonly service: string
  readonly stage: Stage
  readonly streams: Readonly<Record<'forward' | 'reverse', StreamFound>>
  /** What was closed on both sides, and how it ended; `why`: it couldn't be ended. */
  readonly settled: (Partial<Settled> & { readonly epoch: number; readonly why?: unknown }) | null
}

/** A row of `banyan.stream`; without a position a worker begins it anew, or takes down what is left of it. */
export interface RebuiltStream {
  readonly name: string
  readonly slice: string | null
  readonly position: Lsn | null
  /** Why it can't go on. */
  readonly error: BanyanError | null
}

export interface Rebuilt {
  readonly slices: readonly RebuiltSlice[]
  /** Of each service that has read copies. */
  readonly copies: readonly { readonly service: string; readonly stream: StreamFound }[]
  readonly streams: readonly RebuiltStream[]
  /** Numbers up to here are taken, also by slices that have no file. */
  readonly highestNumber: number
  /** Databases that were asked, and those that didn't answer. */
  readonly asked: readonly string[]
  readonly away: ReadonlyMap<string, unknown>
}

/**
 * `settle`: end the epochs that somebody left open; else nothing is changed. Throws what `connect` throws for legacy,
 * SLICE_FILE_GONE where a slice in motion has no file, GATES_DISAGREE where words and decisions contradict each other.
 */
export async function readRebuilt(
  wiring: Wiring,
  options: { readonly settle: boolean },
): Promise<Rebuilt> {
  await using open = new Sessions(wiring)
  const legacy = await open.legacy()
  const slices: RebuiltSlice[] = []
  for (const slice of wiring.project.slices) {
    if (Object.keys(slice.tables).length === 0) continue
    const sides = { legacy, service: await open.service(slice.service) }
    const rebuilt = await rebuildSlice(sides, slice, options.settle ? wiring : undefined)
    if (rebuilt) slices.push(rebuilt)
  }
  const gone = await movingWithout(legacy, wiring)
  if (gone.length > 0) throw new BanyanError(CONTROL_ERRORS.SLICE_FILE_GONE, [gone.join(', ')])
  const copies: { service: string; stream: StreamFound }[] = []
  for (const [name, { copies: tables }] of Object.entries(wiring.project.banyan.services)) {
    if (tables.length === 0) continue
    const sides = { legacy, service: await open.service(name) }
    copies.push({ service: name, stream: await findCopies(sides, name) })
  }
  return {
    slices,
    copies,
    streams: [...slices.flatMap(streamsOf), ...copies.flatMap(each => copiesOf(each, slices))],
    highestNumber: Math.max(0, ...(await Promise.all(open.all().map(highestNumber)))),
    asked: open.names(),
    away: open.away,
  }
}

/** `wiring`: where what is unsettled is to be settled. */
async function rebuildSlice(
  sides: Sides,
  slice: Slice,
  wiring: Wiring | undefined,
): Promise<RebuiltSlice | undefined> {
  let found = await findSlice(sides, slice)
  if (!found) return undefined
  let settled: RebuiltSlice['settled'] = null
  const epoch = found.unsettled
  if (epoch !== undefined && wiring) {
    const { sequenceHeadroom } = wiring.project.banyan.limits
    settled = await settle(settlementOf(slice, sides, sequenceHeadroom), epoch).then(
      outcome => ({ ...outcome, epoch }),
      (why: unknown) => ({ epoch, why }),
    )
    found = must(await findSlice(sides, slice), slice.name)
  }
  if (found.unsettled === undefined) mustAgree(found, slice)
  const streams = await findStreams(sides, slice)
  const { service } = slice
  return { ...found, service, stage: stageOf(found, streams.forward), streams, settled }
}

/** The most cautious one that keeps the streams. */
export function stageOf({ owner }: Pick<SliceFound, 'owner'>, forward: StreamFound): Stage {
  if (owner === 'service') return 'moved'
  return forward.kind === 'goes on' ? 'sync' : 'legacy'
}

/** Words are read, not believed: where they say something else than the decisions do, a person must look. */
function mustAgree({ name, owner, open }: SliceFound, { service }: Slice): void {
  const there = open.service ?? owner === 'service'
  if (open.legacy === (owner === 'legacy') && there === (owner === 'service')) return
  const is =
    open.legacy && there
      ? 'both sides do'
      : open.legacy || there
        ? `only ${open.legacy ? 'legacy' : service} does`
        : 'neither does'
  const owns = owner === 'legacy' ? 'legacy' : service
  const hint =
    'stop whoever writes there, and look at banyan.decision in legacy and the gates on both sides; nothing was rebuilt: banyan doctor --rebuild-control'
  throw new BanyanError(CONTROL_ERRORS.GATES_DISAGREE, [
    ...[name, owner === 'legacy' ? 'sync' : 'moved', owns, is, hint],
  ])
}

/** What workers are told of a slice's streams. */
export function streamsOf({ name, stage, streams }: RebuiltSlice): RebuiltStream[] {
  const { forward, reverse } = streams
  // At rest all that is left is taken down.
  if (STAGES[stage].stream === 'off') {
    return [forward, reverse].filter(isLeft).map(each => ({ ...leftOf(each), slice: name }))
  }
  return [forward, reverse].flatMap(each => {
    // While legacy owns, the reverse stream can begin anew; after the move its worker must say what is wrong with it.
    const kept = each.kind === 'goes on' || (each.kind === 'stuck' && stage === 'moved')
    return kept ? [begunOf(each, name)] : []
  })
}

function copiesOf(
  { service, stream }: Rebuilt['copies'][number],
  slices: readonly RebuiltSlice[],
): RebuiltStream[] {
  const moving = (each: RebuiltSlice): boolean => STAGES[each.stage].stream !== 'off'
  if (!slices.some(each => each.service === service && moving(each))) {
    return isLeft(stream) ? [leftOf(stream)] : []
  }
  return stream.kind === 'goes on' ? [begunOf(stream, null)] : []
}

function begunOf(
  stream: Exclude<StreamFound, { readonly kind: 'none' }>,
  slice: string | null,
): RebuiltStream {
  const { name, position } = stream
  return { name, slice, position, error: stream.kind === 'stuck' ? stream.why : null }
}

function leftOf({ name }: StreamFound): RebuiltStream {
  return { name, slice: null, position: null, error: null }
}

function isLeft(stream: StreamFound): boolean {
  return stream.kind !== 'none' || stream.slot
}

/** Slices that legacy has in motion, and that have no file: nobody knows their routes. */
async function movingWithout(legacy: pg.Client, { project }: Wiring): Promise<string[]> {
  if (!(await hasTables(legacy))) return []
  const { rows } = await legacy.query<{ name: string }>(
    `SELECT s.name FROM banyan.slice s WHERE s.name <> ALL ($1) AND (
       EXISTS (SELECT 1 FROM banyan.progress p WHERE split_part(p.stream, ':', 2) = s.name)
       OR EXISTS (SELECT 1 FROM pg_catalog.pg_replication_slots r
         WHERE r.slot_name = 'banyan_' || s.name || '_forward' AND r.database = pg_catalog.current_database()))
     ORDER BY 1`,
    [project.slices.map(slice => slice.name)],
  )
  return rows.map(row => row.name)
}

async function highestNumber(client: pg.Client): Promise<number> {
  if (!(await hasTables(client))) return 0
  const { rows } = await client.query<{ highest: number }>(
    'SELECT coalesce(max(number), 0) AS highest FROM banyan.slice',
  )
  return rows[0]!.highest
}

/** One session of the apply role to each database, for as long as this takes. */
class Sessions implements AsyncDisposable {
  readonly #wiring: Wiring
  readonly #open = new Map<string, pg.Client>()
  readonly away = new Map<string, unknown>()

  constructor(wiring: Wiring) {
    this.#wiring = wiring
  }

  legacy(): Promise<pg.Client> {
    return this.#session('legacy', this.#wiring.legacy.apply)
  }

  async service(name: string): Promise<pg.Client | undefined> {
    if (this.away.has(name)) return undefined
    try {
      return await this.#session(name, must(this.#wiring.services[name], name).apply)
    } catch (error) {
      this.away.set(name, error)
      return undefined
    }
  }

  names(): string[] {
    return [...this.#open.keys()]
  }

  all(): pg.Client[] {
    return [...this.#open.values()]
  }

  async #session(name: string, url: string): Promise<pg.Client> {
    const known = this.#open.get(name)
    if (known) return known
    const wanted = { url, applicationName: 'banyan doctor', connectTimeoutMs: CONNECT_MS }
    const client = await connect(wanted)
    this.#open.set(name, client)
    return client
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#open.values()) await client.end().catch(() => undefined)
  }
}
