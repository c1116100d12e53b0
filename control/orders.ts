/** The routers' table, from files (intent) and facts: pure. */
import type { HoldOrder, Orders, SliceOrder } from '../model/orders.ts'
import type { Project, Slice } from '../model/project.ts'
import { STAGES } from '../model/stage.ts'
import type { SliceFact } from './store/slices.ts'

export interface Hold {
  readonly slice: string
  readonly epoch: number
  readonly holdMs: number
}

type Standing = Pick<SliceFact, 'name' | 'stage' | 'percent'>

/** Without its version: the store numbers it. */
export function buildOrders(
  project: Project,
  facts: readonly Standing[],
  holds: readonly Hold[],
): Omit<Orders, 'version'> {
  const { banyan } = project
  const services = Object.entries(banyan.services).map(([name, { url, insecure }]) => [
    name,
    { url, insecure },
  ])
  return {
    legacy: { url: banyan.legacy.url, insecure: banyan.legacy.insecure },
    services: Object.fromEntries(services) as Orders['services'],
    aliases: banyan.legacy.aliases,
    identity: banyan.identity ?? null,
    slices: project.slices.map(slice => sliceOrder(slice, facts, holds)),
  }
}

function sliceOrder(slice: Slice, facts: readonly Standing[], holds: readonly Hold[]): SliceOrder {
  const fact = facts.find(each => each.name === slice.name)
  const stage = fact?.stage ?? 'legacy'
  return {
    name: slice.name,
    service: slice.service,
    stage,
    owner: STAGES[stage].owner,
    ownsTables: Object.keys(slice.tables).length > 0,
    routes: slice.routes.map(({ methods, pattern }) => ({ methods, pattern })),
    percent: fact?.percent ?? 0,
    by: slice.canary.by,
    include: slice.canary.include,
    sample: slice.shadow.sample,
    hold: holdOrder(slice, holds),
  }
}

function holdOrder(slice: Slice, holds: readonly Hold[]): HoldOrder | null {
  const hold = holds.find(each => each.slice === slice.name)
  if (!hold) return null
  const { maxHeld, maxHeldBodyBytes } = slice.cutover
  return { epoch: hold.epoch, holdMs: hold.holdMs, maxHeld, maxHeldBodyBytes }
}
