/** Collects what the checks look at, from the control database, both sides of the slice, and the service itself. */
import type pg from 'pg'
import { unansweredCrossings } from '../model/crossings.ts'
import { type Diagnostic, diagnostic } from '../model/diagnostic.ts'
import { copyOf, renamesOf } from '../model/mapping.ts'
import type { Slice } from '../model/project.ts'
import { must } from '../model/errors.ts'
import { movesOwner, STAGE_NAMES, STAGES, type Stage } from '../model/stage.ts'
import { type DatabaseUrls, unqualified, type Wiring } from '../model/wiring.ts'
import { readCatalog } from '../postgres/catalog.ts'
import { connect } from '../postgres/connection.ts'
import { ownerOfRecord } from '../postgres/abandon.ts'
import { databaseChange, fingerprintDifference, shortDifference } from '../postgres/gate.ts'
import { preflight } from '../sync/preflight.ts'
import { oneWayBlockers } from '../sync/preflight-columns.ts'
import { readPreflight } from '../sync/preflight-facts.ts'
import { readSlots, slotBlockers } from '../sync/preflight-slots.ts'
import { familyOf } from '../sync/writer-name.ts'
import { type Asker, readApproval } from './approval.ts'
import { readForeignKeys, readLoosened, readTriggers } from './crossing-facts.ts'
import type { Databases } from './databases.ts'
import type { Blocked, SliceFacts } from './facts.ts'
import { streamsOf } from './slice-streams.ts'
import { readAbandoned } from './store/abandoned.ts'
import { type CensusFact, readCensus, readRogue } from './store/findings.ts'
import { readOrders } from './store/orders.ts'
import { readRouters } from './store/routers.ts'
import { readSlices } from './store/slices.ts'
import type { Store } from './store/store.ts'
import { readStreams } from './store/streams.ts'
import { readWayBack, SILENT_MAX_MS } from './way-back.ts'
import { lastVerification, whyOutdated } from './store/verifications.ts'

const READY_TIMEOUT_MS = 1_000
const ANSWERS = 'it must answer 2xx at GET /ready'

export interface GatherContext {
  readonly store: Store
  readonly wiring: Wiring
  readonly databases: Databases
  /** Who asks for it; absent: nobody does, and nobody's approval is missing. */
  readonly asker?: Asker | undefined
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
  const verification = await lastVerification(store, slice.name)
  const census = await readCensus(store, slice.name)
  // Where legacy stays the owner, going back asks nothing of a service that may be dead.
  const looked = inMotion && ownsTables && (movesOwner(fact.stage, to) || !isBack(fact.stage, to))
  return {
    slice: slice.name,
    stage: fact.stage,
    ownsTables,
    preflight: to === 'sync' && ownsTables ? await preflightOf(context, slice) : [],
    streams:
      inMotion && ownsTables
        ? streamsOf(slice, await readStreams(store), wiring.project.banyan.services)
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
    outdated: verification ? null : ((await whyOutdated(store, slice.name)) ?? null),
    unanswered:
      to === 'moved' && ownsTables
        ? [
            ...(await unanswered(context, slice, census.sideWrites)),
            ...(await oneWay(context, slice)),
          ]
        : [],
    foreignWriters: foreignWriters(slice, census.writers),
    rogueWrites: (await readRogue(store)).filter(write => write.slice === slice.name).length,
    approval: context.asker
      ? await readApproval(
          store,
          wiring.project,
          { slice: slice.name, from: fact.stage, to },
          context.asker,
        )
      : null,
    ...(looked ? await sidesOf(context, slice) : { fingerprints: [], changedDatabases: [] }),
    limits: wiring.project.banyan.limits,
    abandoned: to === 'legacy' ? await abandonedOf(context, slice) : null,
    wayBack:
      ownsTables && STAGES[fact.stage].owner === 'service' && STAGES[to].owner === 'legacy'
        ? { service: slice.service, fact: await readWayBack(context, slice) }
        : null,
    silentMaxMs: SILENT_MAX_MS,
  }
}

/**
 * The one who writes most is the monolith itself, all of its processes together; whoever else writes must be waived, by
 * application or role. The monolith's own role waives only what has no application_name, or it would waive everybody.
 */
export function foreignWriters(
  slice: Pick<Slice, 'writers'>,
  [monolith, ...others]: CensusFact['writers'],
): SliceFacts['foreignWriters'] {
  const waived = Object.keys(slice.writers)
  const applications = new Set(waived.map(familyOf))
  return others
    .filter(({ role, application }) => {
      const byRole = waived.includes(role) && (role !== monolith?.role || application === '')
      return !byRole && (application === '' || !applications.has(application))
    })
    .map(({ role, application, perDay }) => {
      const named = application !== '' && application !== monolith?.application
      return { name: named ? application : role, perDay }
    })
}

async function unanswered(
  { wiring, databases }: GatherContext,
  slice: Slice,
  sideWrites: ReadonlyMap<string, number>,
): Promise<Diagnostic[]> {
  const legacy = await databases.legacy(slice.name)
  return unansweredIn({ wiring, legacy, sideWrites }, slice)
}

/** What the slice's file doesn't answer; keys that were loosened count as if they were there. */
export async function unansweredIn(
  {
    wiring,
    legacy,
    sideWrites,
  }: {
    readonly wiring: Pick<Wiring, 'project' | 'sources'>
    /** Any role's session in legacy. */
    readonly legacy: pg.ClientBase
    readonly sideWrites: ReadonlyMap<string, number>
  },
  slice: Slice,
): Promise<Diagnostic[]> {
  const foreignKeys = [...(await readForeignKeys(legacy)), ...(await readLoosened(legacy))]
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

/** Columns of legacy that a row of the service couldn't fill, or that the service would do without unasked. */
async function oneWay({ wiring, databases }: GatherContext, slice: Slice): Promise<Diagnostic[]> {
  const { legacy, service } = await databases.both(slice)
  const source = must(wiring.sources.slices.get(slice.name), 'the text of a slice file')
  const tables = renamesOf(slice)
  const here = await readCatalog(
    legacy,
    tables.map(each => each.table),
  )
  const there = await readCatalog(
    service,
    tables.map(each => each.to),
  )
  return tables.flatMap(wanted => {
    const [from, to] = [here.get(wanted.table), there.get(wanted.to)]
    const blockers = from && to ? oneWayBlockers({ wanted, from, to }) : []
    const span = source.at(['tables', wanted.name], 'key')
    return blockers.map(({ rule, details }) => diagnostic({ source, span, rule, details }))
  })
}

function isBack(from: Stage, to: Stage): boolean {
  return STAGE_NAMES.indexOf(to) < STAGE_NAMES.indexOf(from)
}

/** While the streams are there, what it had stored can still be listed; the way to `legacy` takes them down. */
async function abandonedOf(
  { store, databases }: GatherContext,
  slice: Slice,
): Promise<SliceFacts['abandoned']> {
  const found = (await readAbandoned(store)).find(each => each.slice === slice.name)
  if (!found || found.accepted || found.copied) return null
  const { service } = slice
  if (found.returnedAtMs === null) return { service, why: 'has not come back' }
  const owner = await ownerOfRecord(await databases.legacy(slice.name), slice.name)
  if (!owner?.abandoned || owner.abandoned.listed) return null
  return { service, why: 'its change stream is not read to its end' }
}

async function sidesOf(
  { databases }: GatherContext,
  slice: Slice,
): Promise<Pick<SliceFacts, 'fingerprints' | 'changedDatabases'>> {
  const { legacy, service } = await databases.both(slice)
  const sides = [
    { side: 'legacy', client: legacy },
    { side: slice.service, client: service },
  ]
  const fingerprints = []
  const changedDatabases = []
  for (const { side, client } of sides) {
    const change = await databaseChange(client, slice.name)
    if (change) changedDatabases.push({ side, ...change })
    const difference = await fingerprintDifference(client, slice.name)
    // Another server is said once, by its own code.
    fingerprints.push({
      side,
      difference:
        difference === null || difference.startsWith('database: ')
          ? null
          : shortDifference(difference),
    })
  }
  return { fingerprints, changedDatabases }
}

async function preflightOf({ store, wiring }: GatherContext, slice: Slice): Promise<Blocked[]> {
  const service = must(wiring.services[slice.service], slice.service)
  const source = await sessions('legacy', wiring.legacy)
  const target = await sessions(slice.service, service)
  try {
    const tables = renamesOf(slice)
    const copied = (wiring.project.banyan.services[slice.service]?.copies ?? []).map(copyOf)
    const facts = await readPreflight({
      ...{ source, target, direction: 'back', viaRoot: true },
      tables: [...tables, ...copied],
    })
    const stages = new Map((await readSlices(store.pool)).map(each => [each.name, each.stage]))
    const slots = new Map([
      [source.name, await readSlots(source.capture)],
      [target.name, await readSlots(target.capture)],
    ])
    const { project } = wiring
    const blockers = [
      ...preflight({ ...facts, tables }),
      ...preflight({ ...facts, tables: copied, direction: 'forward' }),
      ...slotBlockers({ project, stages: stages.set(slice.name, 'sync'), slots }),
    ].map(({ code, message, hint }) => ({
      code,
      message,
      hint: hint.replaceAll('<slice>', slice.name),
    }))
    // What is wrong with a server is said once.
    return [...new Map(blockers.map(each => [each.message, each])).values()]
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

/** Asks the service itself: `GET /ready`. */
export async function ready(url: string): Promise<SliceFacts['serviceReady']> {
  try {
    const answer = await fetch(new URL('/ready', url), {
      signal: AbortSignal.timeout(READY_TIMEOUT_MS),
    })
    await answer.arrayBuffer()
    if (answer.ok) return { ok: true, why: '', mend: '' }
    return { ok: false, why: `GET /ready answered ${answer.status}`, mend: ANSWERS }
  } catch (error) {
    const cause = (error as { cause?: { code?: string } }).cause?.code
    return {
      ok: false,
      why: `GET ${new URL('/ready', url).href}: ${cause ?? (error as Error).message}`,
      mend: (error as Error).name === 'TimeoutError' ? `${ANSWERS} within 1 s` : 'start it',
    }
  }
}
