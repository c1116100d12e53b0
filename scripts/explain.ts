/** `banyan explain`: where a request would go, and why, by the code that the routers run. Asks no router and no application. */
import { buildOrders, type Hold } from '../control/orders.ts'
import { readOrders } from '../control/store/orders.ts'
import { readSlices, type SliceFact } from '../control/store/slices.ts'
import { readStreams, type StreamRow } from '../control/store/streams.ts'
import { BanyanError } from '../model/errors.ts'
import type { Orders } from '../model/orders.ts'
import type { LoadedProject, Project, Slice } from '../model/project.ts'
import { COPIES, formatStream } from '../model/stream.ts'
import { decide, type Decision } from '../router/decide.ts'
import { JWKS_PATH } from '../router/identity.ts'
import { bucketOf, BUCKETS, keyOf, type RequestFacts } from '../router/keys.ts'
import { compileTable, type Table, type TableSlice } from '../router/table.ts'
import { type Context, type ExitCode, FilesInvalid, jsonText } from './context.ts'
import { askControl, openStore } from './control-store.ts'
import { requestOf } from './explain-request.ts'
import { findRoutes, type FoundRoutes } from './explain-routes.ts'
import { explainJson, explainText } from './explain-text.ts'
import { openControlUrl, openProject } from './wiring.ts'

/** A stream whose worker was silent this long is not believed by a router either. */
const SILENT_MAX_MS = 2_000

export interface Explained {
  readonly request: RequestFacts
  readonly project: Project
  readonly basis: Basis
  /** The façade's own page: no slice and no legacy is asked. */
  readonly own: boolean
  readonly decision: Decision
  /** By the table that routers have, where it says something else than these files. */
  readonly inForce: Decision | undefined
  readonly routes: FoundRoutes
  /** Of the route that matched. */
  readonly slice: Slice | undefined
  readonly order: TableSlice | undefined
  readonly key: Key | undefined
}

export type Basis =
  | { readonly from: 'control'; readonly version: number | null }
  /** Why the control database couldn't be asked. */
  | { readonly from: 'files'; readonly why: string }

/** A key of `canary.by` that the request has. Never its value: that is a session, often. */
export interface Key {
  /** `cookie:clinic_sid` */
  readonly rule: string
  /** 0 to 9999. */
  readonly bucket: number
  /** The buckets below are in: of the stage it is at, or of the percentage that the file has for canary. */
  readonly below: number
  readonly in: boolean
}

/** Throws OPTION_INVALID, CONFIG_MISSING, FilesInvalid. */
export async function runExplain(
  context: Context,
  method: string,
  path: string,
  headers: readonly string[],
): Promise<ExitCode> {
  const request = requestOf(method, path, headers)
  const loaded = await openProject(context.config)
  const known = await readFacts(context, loaded)
  const explained = explainRequest(request, loaded, known)
  const json = () => jsonText(explainJson(explained))
  context.write(context.json ? json() : explainText(context, explained))
  return 0
}

export interface Known {
  readonly basis: Basis
  readonly facts: readonly SliceFact[]
  readonly streams: readonly StreamRow[]
  /** What the routers have been told; undefined: nothing that is known here. */
  readonly stored: Orders | undefined
}

/** Decides, and collects what the decision rests on. Pure. */
export function explainRequest(
  request: RequestFacts,
  loaded: LoadedProject & { readonly project: Project },
  known: Known,
): Explained {
  const { project } = loaded
  const orders = buildOrders(project, known.facts, holdsOf(known.stored))
  const table = compileTable({ ...orders, version: known.stored?.version ?? 0 })
  const fresh = (slice: string) => isFresh(project, known.streams, slice)
  let methods: readonly string[] = []
  const watched: Table = {
    ...table,
    find(asked, target) {
      methods = asked
      return table.find(asked, target)
    },
  }
  const decision = decide(watched, request, fresh)
  const own = request.method === 'GET' && request.target === JWKS_PATH
  const stored = known.stored && decide(compileTable(known.stored), request, fresh)
  const found = decision.kind === 'forward' ? decision : undefined
  const slice = project.slices.find(each => each.name === found?.slice?.name)
  return {
    request,
    project,
    basis: known.basis,
    own,
    decision,
    inForce: stored && outcome(stored) !== outcome(decision) ? stored : undefined,
    routes: findRoutes(loaded, { methods, target: request.target, won: found }),
    slice,
    order: found?.slice ?? undefined,
    key: slice && found?.slice ? keyFound(slice, found.slice, request) : undefined,
  }
}

async function readFacts(
  context: Context,
  loaded: Awaited<ReturnType<typeof openProject>>,
): Promise<Known> {
  try {
    const url = await openControlUrl(context.config, loaded)
    await askControl(url)
    await using opened = openStore(url)
    const { store } = opened
    const stored = await readOrders(store)
    return {
      basis: { from: 'control', version: stored?.version ?? null },
      facts: await readSlices(store.pool),
      streams: await readStreams(store),
      stored,
    }
  } catch (error) {
    if (!(error instanceof BanyanError)) throw error
    const why =
      error instanceof FilesInvalid
        ? error.diagnostics.map(each => each.message).join('; ')
        : error.message
    return { basis: { from: 'files', why }, facts: [], streams: [], stored: undefined }
  }
}

function holdsOf(stored: Orders | undefined): Hold[] {
  return (stored?.slices ?? []).flatMap(({ name, hold }) =>
    hold ? [{ slice: name, epoch: hold.epoch, holdMs: hold.holdMs }] : [],
  )
}

/** Whether a router believes the copy's watermark. What this key has just written only a router knows. */
function isFresh(project: Project, streams: readonly StreamRow[], name: string): boolean {
  const slice = project.slices.find(each => each.name === name)
  if (!slice) return false
  const to = slice.service
  const believed = (what: string, needed: boolean): boolean => {
    const stream = streams.find(each => each.name === formatStream({ from: 'legacy', to, what }))
    if (!stream) return !needed
    const { state, watermark, silentMs } = stream
    return state === 'streaming' && watermark !== null && (silentMs ?? Infinity) < SILENT_MAX_MS
  }
  return believed(name, true) && believed(COPIES, false)
}

function keyFound(slice: Slice, order: TableSlice, request: RequestFacts): Key | undefined {
  const rule = order.by.find(each => keyOf([each], request) !== null)
  if (!rule) return undefined
  const bucket = bucketOf(keyOf([rule], request) ?? '')
  const split = order.rule.reads === 'split'
  const below = split ? order.bucketsBelow : Math.round((slice.canary.percent * BUCKETS) / 100)
  return { rule: `${rule.from}:${rule.name}`, bucket, below, in: bucket < below }
}

/** What two decisions are compared by. */
function outcome(decision: Decision): string {
  if (decision.kind === 'refuse') return decision.reason
  const { side, reason, slice, hold } = decision
  return [side, reason, slice?.name, slice?.order.service, hold?.epoch].join(' ')
}
