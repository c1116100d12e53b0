/** What `banyan plan` measures before it says anything: here what the control database knows. Reads only. */
import { streamsOf } from '../control/slice-streams.ts'
import { foreignWriters } from '../control/gather.ts'
import { type CensusFact, readCensus } from '../control/store/findings.ts'
import { type FlipRow, readFlips } from '../control/store/flips.ts'
import { readRouters } from '../control/store/routers.ts'
import type { SliceFact } from '../control/store/slices.ts'
import { readStreams, type StreamRow } from '../control/store/streams.ts'
import { readWayBack, type WayBack } from '../control/way-back.ts'
import { lastVerification, type VerificationRow } from '../control/store/verifications.ts'
import type { Slice } from '../model/project.ts'
import { movesOwner, type Stage, STAGES } from '../model/stage.ts'
import type { Asked } from './checks-now.ts'
import { pauseOf } from './flip-text.ts'
import { type InDatabases, NOTHING, readDatabases } from './plan-databases.ts'

const PAUSES_MAX = 10
/** So many flips are looked through for those. */
const FLIPS_MAX = 200

export interface Measured extends InDatabases {
  readonly routers: number
  readonly streams: readonly StreamRow[]
  /** Of a slice on its way home. */
  readonly wayBack: WayBack | null
  readonly verification: VerificationRow | null
  /** Of the last ten fenced flips and rehearsals of the slice that were done; newest first. */
  readonly pauses: readonly Pause[]
  readonly census: {
    readonly transactions: number
    /** Who writes most; null where nobody was seen. */
    readonly monolith: string | null
    readonly writers: readonly { name: string; perDay: number; waived: boolean }[]
  }
}

export interface Pause {
  readonly ms: number
  readonly rehearsal: boolean
}

export async function measure(
  asked: Asked,
  slice: Slice,
  fact: Pick<SliceFact, 'stage' | 'epoch'>,
  to: Stage,
): Promise<Measured> {
  const { store, wiring } = asked
  const owns = Object.keys(slice.tables).length > 0
  const census = await readCensus(store, slice.name)
  const streams = streamsOf(slice, await readStreams(store), wiring.project.banyan.services)
  const moving = owns && STAGES[fact.stage].stream !== 'off'
  return {
    routers: (await readRouters(store)).length,
    streams: moving ? streams : [],
    wayBack:
      moving && STAGES[fact.stage].owner === 'service' && STAGES[to].owner === 'legacy'
        ? await readWayBack(asked, slice)
        : null,
    verification: (await lastVerification(store, slice.name)) ?? null,
    pauses: pausesOf(await readFlips(store, { slice: slice.name, limit: FLIPS_MAX })),
    census: {
      transactions: census.transactions,
      monolith: monolithIn(census),
      writers: writersIn(slice, census),
    },
    ...(owns ? await readDatabases(asked, slice, fact, to) : NOTHING),
  }
}

export function pausesOf(flips: readonly FlipRow[]): Pause[] {
  return flips
    .filter(each => each.outcome === 'done' && each.steps.length > 0)
    .filter(each => movesOwner(each.from, each.to))
    .slice(0, PAUSES_MAX)
    .map(each => ({ ms: pauseOf(each), rehearsal: each.kind === 'rehearsal' }))
}

function monolithIn({ writers: [most] }: CensusFact): string | null {
  if (!most) return null
  return most.application === '' ? `role ${most.role}` : `${most.application} (role ${most.role})`
}

/** All but the monolith itself, who writes most. */
function writersIn(slice: Slice, { writers }: CensusFact): Measured['census']['writers'] {
  const refused = foreignWriters(slice, writers).map(each => each.name)
  return foreignWriters({ writers: {} }, writers).map(({ name, perDay }) => ({
    name,
    perDay,
    waived: !refused.includes(name),
  }))
}
