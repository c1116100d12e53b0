/** All that `banyan status` shows, as one value: the control database first, then whatever answers in time. */
import { basename, dirname, resolve } from 'node:path'
import type { Asker } from '../control/approval.ts'
import type { BanyanFile } from '../model/banyan-file.ts'
import { STAGES } from '../model/stage.ts'
import type { DatabaseUrls, Wiring } from '../model/wiring.ts'
import { connect } from '../postgres/connection.ts'
import { type Asked, checkFlip, type Checked, problemOf, unheldKeys } from './checks-now.ts'
import type { Context } from './context.ts'
import { type Look, readLook, type SliceLook } from './look.ts'
import { readUpstreams, type UpstreamLook } from './upstreams.ts'
import { atWant, nextAfterStatus, nextStage, type SliceSeen } from './next-step.ts'

/** Who hasn't answered by then is shown as away. */
const DATABASE_MS = 1_000
const CHECKS_MS = 2_000
/** While watching, databases aren't asked at every glance. */
const CHECKS_KEEP_MS = 2_000
const PREFLIGHT_KEEP_MS = 30_000
const DATABASES_KEEP_MS = 5_000
const UPSTREAMS_KEEP_MS = 2_000

export interface Status extends Omit<Look, 'slices'> {
  readonly project: string
  /** The slice that was asked for; null: all. */
  readonly only: string | null
  readonly databases: readonly DatabaseLook[]
  /** Legacy, and the services that requests go to. */
  readonly upstreams: readonly UpstreamLook[]
  readonly progress: {
    readonly slices: number
    readonly moved: number
    readonly requests: { readonly total: number; readonly byServices: number }
    readonly tables: number
    readonly tablesMoved: number
    /** All of legacy's tables; null where legacy wasn't asked, or did not answer. */
    readonly tablesOfLegacy: number | null
  }
  readonly lagMaxMs: number
  readonly slices: readonly SliceSeen[]
  /** Of the slice that was asked for: foreign keys of legacy that are not valid, in words. */
  readonly unheld: readonly string[]
  /** Upstreams whose certificates nobody checks. */
  readonly insecure: readonly { readonly name: string; readonly url: string }[]
  /** Without `banyan` in front. */
  readonly next: string
}

export interface DatabaseLook {
  /** `legacy`, or a service. */
  readonly name: string
  /** WAL that the server keeps because of Banyan's slots: as much as the slot that is furthest behind needs. */
  readonly walHeldBytes: number | null
  /** The server's max_slot_wal_keep_size; null: no limit, or unknown. */
  readonly walLimitBytes: number | null
  readonly slots: readonly { readonly name: string; readonly active: boolean }[]
  readonly tables: number | null
  /** Why nothing is known. */
  readonly away: { readonly code: string; readonly message: string } | null
}

/** Remembers answers for a while; one for each `status` that goes on watching. */
export class Memory {
  readonly #known = new Map<string, { readonly at: number; readonly value: Promise<unknown> }>()

  get<T>(key: string, keepMs: number, ask: () => Promise<T>): Promise<T> {
    const known = this.#known.get(key)
    if (known && performance.now() - known.at < keepMs) return known.value as Promise<T>
    const value = ask()
    this.#known.set(key, { at: performance.now(), value })
    return value
  }
}

export async function readStatus(
  asked: Asked,
  context: Context,
  options: { readonly only: string | undefined; readonly memory: Memory },
): Promise<Status> {
  const { wiring } = asked
  const { banyan } = wiring.project
  const { only, memory } = options
  const [look, databases] = await Promise.all([
    readLook(asked, context, only),
    memory.get('databases', DATABASES_KEEP_MS, () => readDatabases(wiring)),
  ])
  const slices = await Promise.all(
    look.slices.map(async slice => {
      const askedFor = { ...asked, asker: askerOf(wiring, context, slice) }
      return { ...slice, checks: await checksOf(askedFor, slice, options) }
    }),
  )
  const using = wiring.project.slices.filter(({ name }) =>
    slices.some(each => each.slice === name && STAGES[each.stage].reads !== 'legacy'),
  )
  const upstreams = await memory.get('upstreams', UPSTREAMS_KEEP_MS, () =>
    readUpstreams(
      banyan,
      using.map(each => each.service),
    ),
  )
  const embedded = banyan.control.database === 'embedded'
  return {
    ...look,
    project: basename(dirname(resolve(context.config))).replace(/^\./, ''),
    only: only ?? null,
    databases,
    upstreams,
    progress: progressOf(slices, databases),
    lagMaxMs: banyan.limits.lagMaxMs,
    slices,
    unheld:
      only === undefined
        ? []
        : await memory.get('keys', DATABASES_KEEP_MS, () =>
            unheldKeys(
              asked,
              wiring.project.slices.find(each => each.name === only),
              CHECKS_MS,
            ),
          ),
    insecure: insecureOf(banyan),
    next: nextAfterStatus({ ...look, slices, upstreams }, embedded),
  }
}

/** Whoever looks is who would ask for the next flip. */
export function askerOf({ project }: Wiring, { actor }: Context, look: SliceLook): Asker {
  const slice = project.slices.find(each => each.name === look.slice)
  const percent = nextStage(look) === 'canary' ? (slice?.canary.percent ?? 0) : 0
  return { actor, kind: 'flip', percent }
}

/** Null where it isn't looked at: the way out of `legacy` is only checked for whoever wants it, it asks a lot of both sides. */
async function checksOf(
  asked: Asked,
  look: SliceLook,
  { only, memory }: { readonly only: string | undefined; readonly memory: Memory },
): Promise<Checked | null> {
  const slice = asked.wiring.project.slices.find(each => each.name === look.slice)
  const still = look.stage === 'legacy' && atWant(look) && only === undefined
  if (!slice || look.sinceMs === null || still) return null
  const to = nextStage(look)
  const keepMs = look.stage === 'legacy' ? PREFLIGHT_KEEP_MS : CHECKS_KEEP_MS
  const key = `${look.slice} ${look.stage} ${to}`
  return memory.get(key, keepMs, () => checkFlip(asked, slice, to, CHECKS_MS))
}

function progressOf(
  slices: readonly SliceLook[],
  databases: readonly DatabaseLook[],
): Status['progress'] {
  const moved = slices.filter(each => STAGES[each.stage].owner === 'service')
  const count = (list: readonly SliceLook[], pick: (each: SliceLook) => number): number =>
    list.reduce((sum, each) => sum + pick(each), 0)
  const byServices = count(slices, each => each.traffic?.requests.service ?? 0)
  const byLegacy = count(slices, each => each.traffic?.requests.legacy ?? 0)
  return {
    slices: slices.length,
    moved: moved.length,
    requests: { total: byServices + byLegacy, byServices },
    tables: count(slices, each => each.tables.length),
    tablesMoved: count(moved, each => each.tables.length),
    tablesOfLegacy: databases.find(each => each.name === 'legacy')?.tables ?? null,
  }
}

function insecureOf({ legacy, services }: BanyanFile): Status['insecure'] {
  const all = [['legacy', legacy] as const, ...Object.entries(services)]
  return all
    .filter(([, upstream]) => upstream.insecure)
    .map(([name, upstream]) => ({ name, url: upstream.url }))
}

function readDatabases(wiring: Wiring): Promise<DatabaseLook[]> {
  const all = [['legacy', wiring.legacy] as const, ...Object.entries(wiring.services)]
  return Promise.all(all.map(([name, urls]) => readDatabase(name, urls)))
}

// How much WAL a server keeps: https://www.postgresql.org/docs/current/view-pg-replication-slots.html
const SLOTS = `
  SELECT (SELECT coalesce(json_agg(json_build_object('name', slot_name, 'active', active) ORDER BY slot_name), '[]')
      FROM pg_catalog.pg_replication_slots s WHERE slot_name LIKE 'banyan\\_%' AND database = pg_catalog.current_database()) AS slots,
    (SELECT max(pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), restart_lsn))::float8
      FROM pg_catalog.pg_replication_slots s WHERE slot_name LIKE 'banyan\\_%' AND database = pg_catalog.current_database()) AS held,
    (SELECT nullif(setting, '-1')::float8 * 1048576 FROM pg_catalog.pg_settings WHERE name = 'max_slot_wal_keep_size') AS "limit",
    (SELECT count(*)::int FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
      AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'banyan')) AS tables`

async function readDatabase(name: string, urls: DatabaseUrls): Promise<DatabaseLook> {
  const nothing = { name, walHeldBytes: null, walLimitBytes: null, slots: [], tables: null }
  try {
    const client = await connect({
      url: urls.capture,
      applicationName: 'banyan status',
      connectTimeoutMs: DATABASE_MS,
      timeouts: { statementMs: DATABASE_MS },
    })
    try {
      const { rows } = await client.query<{
        slots: DatabaseLook['slots']
        held: number | null
        limit: number | null
        tables: number
      }>(SLOTS)
      const { slots, held, limit, tables } = rows[0]!
      return { name, walHeldBytes: held, walLimitBytes: limit, slots, tables, away: null }
    } finally {
      await client.end().catch(() => undefined)
    }
  } catch (error) {
    const { code, message } = problemOf(error)
    return { ...nothing, away: { code, message } }
  }
}
