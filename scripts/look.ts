/** What the control database and the files say of every slice, as one value: `status` and `why` print it, `--json` is it. */
import { type ControllerFact, readController } from '../control/lease.ts'
import { type AbandonedFact, readAbandoned } from '../control/store/abandoned.ts'
import {
  type ListedRogue,
  readRefused,
  readRogue,
  type RefusedWrite,
} from '../control/store/findings.ts'
import { shortHash } from '../control/plan.ts'
import { readProposal } from '../control/reconcile.ts'
import { streamsOf } from '../control/slice-streams.ts'
import { type FlipRow, readFlips } from '../control/store/flips.ts'
import { readOrders } from '../control/store/orders.ts'
import { type LiveRouter, readRouters } from '../control/store/routers.ts'
import { readSlices, type SliceFact } from '../control/store/slices.ts'
import type { Store } from '../control/store/store.ts'
import { readStreams, type StreamRow } from '../control/store/streams.ts'
import {
  lastVerification,
  type VerificationRow,
  whyOutdated,
} from '../control/store/verifications.ts'
import type { Difference, SliceReport } from '../model/orders.ts'
import type { Slice } from '../model/project.ts'
import { type Stage, STAGES } from '../model/stage.ts'
import type { Wiring } from '../model/wiring.ts'
import type { Context } from './context.ts'
import { asWanted, readElsewhere } from './move.ts'

export const REFUSED_HOURS = 24

export interface Look {
  /** By the control database's clock, as all times here; milliseconds since the epoch. */
  readonly nowMs: number
  readonly control: ControlLook
  /** The newest table for routers; 0: there is none yet. */
  readonly ordersVersion: number
  readonly routers: readonly { readonly address: string; readonly version: number }[]
  readonly slices: readonly SliceLook[]
  /** Of the last 24 hours. */
  readonly refused: readonly RefusedWrite[]
  readonly rogue: readonly ListedRogue[]
}

export interface ControlLook {
  readonly alive: boolean
  /** Null where none ever ran. */
  readonly host: string | null
  readonly configPath: string | null
  /** What is wrong with the files that it reads. */
  readonly problems: readonly string[]
  /** It reads other files than the ones here. */
  readonly elsewhere: boolean
}

export interface SliceLook {
  readonly slice: string
  readonly service: string
  readonly stage: Stage
  readonly percent: number
  readonly epoch: number
  /** Null before a controller has seen it. */
  readonly sinceMs: number | null
  /** Null where its file is gone. */
  readonly want: { readonly stage: Stage; readonly percent: number; readonly file: string } | null
  readonly routes: number
  readonly tables: readonly string[]
  /** `legacy` or its service. */
  readonly owner: string
  readonly wayBack: string
  readonly brake: SliceFact['override']
  /** What the file wants where that would move the owner: it stands as proposed until it is approved. */
  readonly proposed: Proposed | null
  /** The one that is under way. */
  readonly flip: FlipRow | null
  readonly lastFlip: FlipRow | null
  /** Empty while nothing moves. */
  readonly streams: readonly StreamRow[]
  readonly verification: VerificationRow | null
  /** Why the last one doesn't count any more. */
  readonly outdated: string | null
  /** Null where no router has reported it yet. */
  readonly traffic: Traffic | null
  readonly rogueWrites: number
  /** Its service's database was given up, or came back from a backup; null once that is over. */
  readonly abandoned: AbandonedFact | null
}

export interface Proposed {
  readonly to: Stage
  readonly percent: number
  readonly hash: string
  /** As it is printed, and typed. */
  readonly short: string
  /** How many persons must approve it, and who has. */
  readonly needed: number
  readonly approvedBy: readonly string[]
}

/** What the live routers counted since each of them started. */
export type Traffic = Omit<SliceReport, 'slice'>

/** Asks nothing but the control database. `only`: a slice's name. */
export async function readLook(
  opened: { readonly wiring: Wiring; readonly store: Store },
  context: Context,
  only?: string,
): Promise<Look> {
  const { wiring, store } = opened
  const [
    nowMs,
    facts,
    controller,
    elsewhere,
    orders,
    routers,
    streams,
    open,
    refused,
    rogue,
    abandoned,
  ] = await Promise.all([
    clockOf(store),
    readSlices(store.pool),
    readController(store),
    readElsewhere(opened, context),
    readOrders(store),
    readRouters(store),
    readStreams(store),
    readFlips(store, { open: true, limit: 1000 }),
    readRefused(store, REFUSED_HOURS),
    readRogue(store),
    readAbandoned(store),
  ])
  const ours = (each: { readonly slice: string }): boolean =>
    only === undefined || each.slice === only
  const { slices, banyan } = wiring.project
  const gone = facts.filter(fact => !slices.some(slice => slice.name === fact.name))
  const looks = [
    ...slices.map(slice => {
      const fact = facts.find(each => each.name === slice.name)
      const all = streamsOf(slice, streams, banyan.services)
      return sliceLook(slice, fact, all, elsewhere !== undefined)
    }),
    ...gone.filter(fact => fact.stage !== 'legacy').map(withoutFile),
  ]
  return {
    nowMs,
    control: controlLook(controller, elsewhere !== undefined),
    ordersVersion: orders?.version ?? 0,
    routers: routers.map(({ address, version }) => ({ address, version })),
    slices: await Promise.all(
      looks.filter(ours).map(async look => ({
        ...look,
        proposed: await proposedOf(
          opened,
          facts.find(each => each.name === look.slice),
          elsewhere !== undefined,
        ),
        flip: open.find(each => each.slice === look.slice) ?? null,
        lastFlip: await lastEnded(store, look.slice),
        ...(await comparedLast(store, look.slice)),
        traffic: trafficOf(look.slice, routers),
        rogueWrites: rogue.filter(each => each.slice === look.slice).length,
        abandoned: abandoned.find(each => each.slice === look.slice) ?? null,
      })),
    ),
    refused: refused.filter(ours),
    rogue: rogue.filter(ours),
  }
}

async function comparedLast(
  store: Store,
  slice: string,
): Promise<Pick<SliceLook, 'verification' | 'outdated'>> {
  const verification = (await lastVerification(store, slice)) ?? null
  const outdated = verification ? null : ((await whyOutdated(store, slice)) ?? null)
  return { verification, outdated }
}

async function proposedOf(
  { wiring, store }: { readonly wiring: Wiring; readonly store: Store },
  fact: SliceFact | undefined,
  elsewhere: boolean,
): Promise<Proposed | null> {
  const slice = wiring.project.slices.find(each => each.name === fact?.name)
  if (!fact || !slice) return null
  const wanted = asWanted(fact, slice, elsewhere)
  const proposal = await readProposal(store, wiring.project, wanted)
  if (!proposal) return null
  const { plan, needed, approvals } = proposal
  const { to, percent, hash } = plan
  const approvedBy = approvals.map(each => each.actor)
  return { to, percent, hash, short: shortHash(plan), needed, approvedBy }
}

type Standing = Omit<
  SliceLook,
  | 'proposed'
  | 'flip'
  | 'lastFlip'
  | 'verification'
  | 'outdated'
  | 'traffic'
  | 'rogueWrites'
  | 'abandoned'
>

function sliceLook(
  slice: Slice,
  fact: SliceFact | undefined,
  streams: readonly StreamRow[],
  elsewhere: boolean,
): Standing {
  const { name, service, file } = slice
  const stage = fact?.stage ?? 'legacy'
  const tables = Object.keys(slice.tables)
  const moving = tables.length > 0 && STAGES[stage].stream !== 'off'
  // The controller's own files are the intent; the ones here only where they are the same.
  const wanted =
    elsewhere && fact?.wantedStage
      ? { stage: fact.wantedStage, percent: fact.wantedPercent ?? 0 }
      : { stage: slice.stage, percent: slice.canary.percent }
  return {
    ...standing(fact, stage, service),
    // Without tables there is nothing to wait for.
    ...(tables.length === 0 && STAGES[stage].owner === 'service' && { wayBack: 'instant' }),
    slice: name,
    want: { ...wanted, percent: wanted.stage === 'canary' ? wanted.percent : 0, file },
    routes: slice.routes.length,
    tables,
    streams: moving ? streams : [],
  }
}

function withoutFile(fact: SliceFact): Standing {
  const rest = { want: null, routes: 0, tables: [], streams: [] }
  return { ...standing(fact, fact.stage, fact.service), slice: fact.name, ...rest }
}

function standing(fact: SliceFact | undefined, stage: Stage, service: string) {
  return {
    service,
    stage,
    percent: fact?.percent ?? 0,
    epoch: fact?.epoch ?? 0,
    sinceMs: fact?.sinceMs ?? null,
    brake: fact?.override ?? null,
    owner: STAGES[stage].owner === 'legacy' ? 'legacy' : service,
    wayBack: STAGES[stage].wayBack,
  }
}

function controlLook(controller: ControllerFact | undefined, elsewhere: boolean): ControlLook {
  return {
    alive: controller?.alive ?? false,
    host: controller?.host ?? null,
    configPath: controller?.configPath ?? null,
    problems: controller?.alive ? controller.problems : [],
    elsewhere,
  }
}

async function lastEnded(store: Store, slice: string): Promise<FlipRow | null> {
  // At most one is under way, and it is the newest.
  const flips = await readFlips(store, { slice, limit: 2 })
  return flips.find(each => each.endedAtMs !== null) ?? null
}

async function clockOf(store: Store): Promise<number> {
  const { rows } = await store.pool.query<{ now: number }>(
    'SELECT extract(epoch from clock_timestamp())::float8 * 1000 AS now',
  )
  return rows[0]!.now
}

const EXAMPLES_MAX = 3

function trafficOf(slice: string, routers: readonly LiveRouter[]): Traffic | null {
  const reports = routers.flatMap(each => each.report.filter(report => report.slice === slice))
  if (reports.length === 0) return null
  const total = (pick: (report: SliceReport) => number): number =>
    reports.reduce((sum, report) => sum + pick(report), 0)
  const examples = new Map<string, Difference>()
  for (const each of reports.flatMap(report => report.examples)) {
    examples.set(`${each.route} ${each.path} ${each.kind}`, each)
  }
  return {
    requests: {
      legacy: total(each => each.requests.legacy),
      service: total(each => each.requests.service),
    },
    failed: {
      legacy: total(each => each.failed.legacy),
      service: total(each => each.failed.service),
    },
    held: {
      now: total(each => each.held.now),
      total: total(each => each.held.total),
      overflowed: total(each => each.held.overflowed),
      expired: total(each => each.held.expired),
    },
    shadow: {
      compared: total(each => each.shadow.compared),
      different: total(each => each.shadow.different),
      dropped: total(each => each.shadow.dropped),
    },
    examples: [...examples.values()].slice(0, EXAMPLES_MAX),
  }
}
