/** Collects what the checks look at, from the control database, both sides of the slice, and the service itself. */
import { unansweredCrossings } from '../model/crossings.ts'
import type { Diagnostic } from '../model/diagnostic.ts'
import type { Project, Slice } from '../model/project.ts'
import { must } from '../model/errors.ts'
import { STAGES, type Stage } from '../model/stage.ts'
import { COPIES, formatStream } from '../model/stream.ts'
import { type DatabaseUrls, qualified, unqualified, type Wiring } from '../model/wiring.ts'
import { connect } from '../postgres/connection.ts'
import { fingerprintDifference } from '../postgres/gate.ts'
import { preflight } from '../sync/preflight.ts'
import { readPreflight } from '../sync/preflight-facts.ts'
import { readForeignKeys, readLoosened, readTriggers } from './crossing-facts.ts'
import type { Databases } from './databases.ts'
import type { Blocked, SliceFacts } from './facts.ts'
import { readCensus, readRogue } from './store/findings.ts'
import { readOrders } from './store/orders.ts'
import { readRouters } from './store/routers.ts'
import { readSlices } from './store/slices.ts'
import type { Store } from './store/store.ts'
import { readStreams } from './store/streams.ts'
import { lastVerification } from './store/verifications.ts'

const READY_TIMEOUT_MS = 1_000
const SILENT_MAX_MS = 3_000

export interface GatherContext {
  readonly store: Store
  readonly wiring: Wiring
  readonly databases: Databases
}

export async function gatherFacts(
  context: GatherContext,
  slice: Slice,
  to: Stage,
): Promise<SliceFacts> {
  const { store, wiring } = context
  const fact = must(
    (await readSlices(store.pool)).find(each => each.name === slice.name),
    'the slice',
  )
  const ownsTables = Object.keys(slice.tables).length > 0
  const inMotion = STAGES[fact.stage].stream !== 'off'
  const wanted = streamsOf(slice, wiring.project)
  const streams = (await readStreams(store)).filter(each => wanted.includes(each.name))
  const missing = wanted.filter(name => !streams.some(each => each.name === name))
  const verification = await lastVerification(store, slice.name)
  const census = await readCensus(store, slice.name)
  return {
    slice: slice.name,
    stage: fact.stage,
    ownsTables,
    preflight: to === 'sync' && ownsTables ? await preflightOf(wiring, slice) : [],
    streams:
      inMotion && ownsTables
        ? [
            ...streams,
            ...missing.map(name => ({
              name,
              state: 'new' as const,
              lagMs: null,
              silentMs: null,
              error: null,
            })),
          ]
        : [],
    routers: await readRouters(store),
    ordersVersion: (await readOrders(store))?.version ?? 0,
    serviceReady: await ready(
      must(wiring.project.banyan.services[slice.service], slice.service).url,
    ),
    verification: verification
      ? {
          ageMs: verification.ageMs ?? 0,
          rows: verification.rows ?? 0,
          differences: verification.differences ?? 0,
        }
      : null,
    unanswered:
      to === 'moved' && ownsTables ? await unanswered(context, slice, census.sideWrites) : [],
    foreignWriters: census.writers
      .filter(writer => !known(writer, slice, census.writers[0]))
      .map(writer => ({ name: writer.application || writer.role, perDay: writer.perDay })),
    rogueWrites: (await readRogue(store)).filter(write => write.slice === slice.name).length,
    fingerprints: inMotion && ownsTables ? await fingerprints(context, slice) : [],
    limits: wiring.project.banyan.limits,
    silentMaxMs: SILENT_MAX_MS,
  }
}

function streamsOf(slice: Slice, project: Project): string[] {
  const { name, service } = slice
  const copies = (project.banyan.services[service]?.copies.length ?? 0) > 0
  return [
    formatStream({ from: 'legacy', to: service, what: name }),
    formatStream({ from: service, to: 'legacy', what: name }),
    ...(copies ? [formatStream({ from: 'legacy', to: service, what: COPIES })] : []),
  ]
}

/** The one who writes most is the monolith itself; whoever else writes must be waived by role or application. */
function known(
  writer: { role: string; application: string },
  slice: Slice,
  most: { role: string; application: string } | undefined,
): boolean {
  const waived = slice.writers[writer.role] ?? slice.writers[writer.application]
  return (
    waived !== undefined || (writer.role === most?.role && writer.application === most.application)
  )
}

async function unanswered(
  { store, wiring, databases }: GatherContext,
  slice: Slice,
  sideWrites: ReadonlyMap<string, number>,
): Promise<Diagnostic[]> {
  const legacy = await databases.legacy(slice.name)
  const foreignKeys = [...(await readForeignKeys(legacy)), ...(await readLoosened(store, 'legacy'))]
  const owned = new Set(Object.keys(slice.tables))
  const others = [...sideWrites].map(([table, share]) => [unqualified(table), share] as const)
  return unansweredCrossings({
    slice,
    source: must(wiring.sources.slices.get(slice.name), 'the text of a slice file'),
    copies: wiring.project.banyan.services[slice.service]?.copies ?? [],
    facts: {
      foreignKeys,
      triggers: await readTriggers(legacy),
      sideWrites: new Map(others.filter(([table]) => !owned.has(table))),
    },
  })
}

async function fingerprints(
  { databases }: GatherContext,
  slice: Slice,
): Promise<SliceFacts['fingerprints']> {
  const { legacy, service } = await databases.both(slice)
  return [
    { side: 'legacy', difference: await fingerprintDifference(legacy, slice.name) },
    { side: slice.service, difference: await fingerprintDifference(service, slice.name) },
  ]
}

async function preflightOf(wiring: Wiring, slice: Slice): Promise<Blocked[]> {
  const service = must(wiring.services[slice.service], slice.service)
  const source = await sessions('legacy', wiring.legacy)
  const target = await sessions(slice.service, service)
  try {
    const tables = Object.entries(slice.tables).map(([table, { to, columns }]) => ({
      table: qualified(table),
      to: qualified(to),
      renames: new Map(Object.entries(columns)),
    }))
    const facts = await readPreflight({ source, target, tables, direction: 'back', viaRoot: true })
    return preflight(facts).map(({ code, message, hint }) => ({ code, message, hint }))
  } finally {
    for (const side of [source, target]) await Promise.all([side.capture.end(), side.apply.end()])
  }
}

async function sessions(name: string, urls: DatabaseUrls) {
  const applicationName = 'banyan preflight'
  return {
    name,
    where: new URL(urls.capture).host,
    capture: await connect({ url: urls.capture, applicationName }),
    apply: await connect({ url: urls.apply, applicationName }),
  }
}

async function ready(url: string): Promise<SliceFacts['serviceReady']> {
  try {
    const answer = await fetch(new URL('/ready', url), {
      signal: AbortSignal.timeout(READY_TIMEOUT_MS),
    })
    await answer.arrayBuffer()
    return answer.ok
      ? { ok: true, why: '' }
      : { ok: false, why: `GET /ready answered ${answer.status}` }
  } catch (error) {
    const cause = (error as { cause?: { code?: string } }).cause?.code
    return {
      ok: false,
      why: `GET ${new URL('/ready', url).href}: ${cause ?? (error as Error).message}`,
    }
  }
}
