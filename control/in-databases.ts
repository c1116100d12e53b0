/** What the databases themselves say of a slice: who owns it, the highest epoch that was ever issued, which streams go on. */
import type pg from 'pg'
import { BanyanError } from '../model/errors.ts'
import type { Slice } from '../model/project.ts'
import { type Lsn, parseLsn } from '../model/position.ts'
import type { Side } from '../model/stage.ts'
import { COPIES, formatStream, publicationOf, slotOf, type StreamName } from '../model/stream.ts'
import { type GateState, readGate } from '../postgres/gate.ts'
import { verifySlot } from '../postgres/replication-start.ts'

/** The apply role's sessions; `service` is undefined while its database is away. */
export interface Sides {
  readonly legacy: pg.Client
  readonly service: pg.Client | undefined
}

/** `seen: false`: the database that has its other half is away. */
export type StreamFound =
  | {
      readonly kind: 'goes on'
      readonly name: string
      readonly position: Lsn
      readonly seen: boolean
    }
  /** Its slot and its progress don't fit together any more. */
  | {
      readonly kind: 'stuck'
      readonly name: string
      readonly position: Lsn
      readonly why: BanyanError
    }
  /** It has no progress. `slot`: one was left behind. */
  | { readonly kind: 'none'; readonly name: string; readonly slot: boolean }

export interface SliceFound {
  readonly name: string
  /** That its gates have in legacy. */
  readonly number: number
  readonly owner: Side
  /** The highest that is seen in either database: words, fences, evidence, decisions, progress. */
  readonly epoch: number
  /** Open on each side; null: away. */
  readonly open: { readonly legacy: boolean; readonly service: boolean | null }
  /** An epoch that somebody began and nobody ended: both sides are closed. */
  readonly unsettled: number | undefined
}

/** Undefined where legacy has no gate for the slice: it never left. */
export async function findSlice(sides: Sides, slice: Slice): Promise<SliceFound | undefined> {
  const legacy = await gateIn(sides.legacy, slice.name)
  if (!legacy) return undefined
  const service = sides.service && (await gateIn(sides.service, slice.name))
  return {
    name: slice.name,
    number: legacy.number,
    owner: ownerBy(legacy),
    epoch: Math.max(legacy.highestEpoch, service?.highestEpoch ?? 0),
    open: {
      legacy: legacy.open,
      service: sides.service ? (service?.open ?? false) : null,
    },
    unsettled: unsettledEpoch(legacy, service),
  }
}

/** By the latest PROMOTED: the way to the service is fenced in legacy, the way back isn't. */
export function ownerBy(legacy: Pick<GateState, 'decisions' | 'fences'>): Side {
  const latest = lastPromoted(legacy)
  return legacy.fences.some(fence => fence.epoch === latest) ? 'service' : 'legacy'
}

/**
 * The epoch of a slice that is closed on both sides. Where the service is away, legacy alone says whether it is legacy that
 * must open again: it is then the one that was fenced, or the one that was promoted.
 */
export function unsettledEpoch(
  legacy: GateState,
  service: GateState | undefined,
): number | undefined {
  if (legacy.open || service?.open) return undefined
  if (service) return Math.max(legacy.epoch, service.epoch)
  if (ownerBy(legacy) === 'service') return undefined
  return Math.max(legacy.epoch, lastPromoted(legacy))
}

/** Forward and reverse. */
export async function findStreams(
  sides: Sides,
  { name, service }: Pick<Slice, 'name' | 'service'>,
): Promise<{ readonly forward: StreamFound; readonly reverse: StreamFound }> {
  const { legacy, service: there } = sides
  return {
    forward: await findStream({ from: 'legacy', to: service, what: name }, legacy, there),
    reverse: await findStream({ from: service, to: 'legacy', what: name }, there, legacy),
  }
}

export function findCopies(sides: Sides, service: string): Promise<StreamFound> {
  return findStream({ from: 'legacy', to: service, what: COPIES }, sides.legacy, sides.service)
}

async function findStream(
  stream: StreamName,
  source: pg.Client | undefined,
  target: pg.Client | undefined,
): Promise<StreamFound> {
  const name = formatStream(stream)
  const slot = slotOf(stream)
  const left = source && (await slotIn(source, slot))
  if (!target) {
    // What its slot has forgotten was durable there. Should the copy never have ended, its worker will say so.
    const confirmed = left?.lost === false ? left.confirmed : null
    if (confirmed === null) return { kind: 'none', name, slot: left !== undefined }
    return { kind: 'goes on', name, position: (confirmed - 1n) as Lsn, seen: false }
  }
  const position = await progressOf(target, name)
  if (position === undefined) return { kind: 'none', name, slot: left !== undefined }
  if (!source) return { kind: 'goes on', name, position, seen: false }
  try {
    const from = (position + 1n) as Lsn
    await verifySlot(source, { slot, publications: [publicationOf(stream)], from })
  } catch (error) {
    if (!(error instanceof BanyanError)) throw error
    // Whoever reads it is a worker that works on.
    if (!error.rule.retry) return { kind: 'stuck', name, position, why: error }
  }
  return { kind: 'goes on', name, position, seen: true }
}

async function progressOf(target: pg.Client, stream: string): Promise<Lsn | undefined> {
  if (!(await hasTables(target))) return undefined
  const { rows } = await target.query<{ position: string }>(
    'SELECT position::text FROM banyan.progress WHERE stream = $1',
    [stream],
  )
  return rows[0] && parseLsn(rows[0].position)
}

async function slotIn(
  source: pg.Client,
  slot: string,
): Promise<{ readonly confirmed: Lsn | null; readonly lost: boolean } | undefined> {
  const { rows } = await source.query<{ confirmed: string | null; lost: boolean }>(
    `SELECT confirmed_flush_lsn::text AS confirmed, coalesce(wal_status = 'lost', false) AS lost
     FROM pg_catalog.pg_replication_slots WHERE slot_name = $1 AND database = pg_catalog.current_database()`,
    [slot],
  )
  const { confirmed, lost } = rows[0] ?? {}
  if (lost === undefined) return undefined
  return { confirmed: confirmed ? parseLsn(confirmed) : null, lost }
}

async function gateIn(client: pg.Client, slice: string): Promise<GateState | undefined> {
  return (await hasTables(client)) ? readGate(client, slice) : undefined
}

/** False before our schema is there. */
export async function hasTables(client: pg.ClientBase | pg.Pool): Promise<boolean> {
  const { rowCount } = await client.query(
    `SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = 'banyan' AND c.relname = 'decision'`,
  )
  return rowCount === 1
}

function lastPromoted({ decisions }: Pick<GateState, 'decisions'>): number {
  const promoted = decisions.filter(each => each.verdict === 'PROMOTED').map(each => each.epoch)
  return Math.max(0, ...promoted)
}
