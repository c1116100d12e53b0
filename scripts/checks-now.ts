/** What stands in the way of a flip at this moment, asked as the flip itself would ask; a database that is away is an answer too. */
import type { Blocker } from '../control/checks.ts'
import type { Asker } from '../control/approval.ts'
import { Databases } from '../control/databases.ts'
import { decideFlip } from '../control/flip.ts'
import { gatherFacts } from '../control/gather.ts'
import type { SliceFacts } from '../control/facts.ts'
import { readNotValid } from '../control/orphans.ts'
import { streamsOf } from '../control/slice-streams.ts'
import type { Store } from '../control/store/store.ts'
import { readStreams } from '../control/store/streams.ts'
import { readWayBack, type WayBack } from '../control/way-back.ts'
import { BanyanError } from '../model/errors.ts'
import { POSTGRES_ERRORS } from '../model/errors-postgres.ts'
import type { Slice } from '../model/project.ts'
import { type Stage, STAGES } from '../model/stage.ts'
import type { Wiring } from '../model/wiring.ts'
import { explain } from '../postgres/explain.ts'

export interface Asked {
  readonly store: Store
  readonly wiring: Wiring
  readonly databases: Databases
  /** Whose flip it would be; absent: it isn't asked who must approve it. */
  readonly asker?: Asker | undefined
}

export interface Checked {
  readonly to: Stage
  /** `unknown`: not everything could be looked at; what is known to be in the way is in `blockers` all the same. */
  readonly state: 'go' | 'blocked' | 'unknown'
  readonly blockers: readonly Blocker[]
  /** Why not everything is known. */
  readonly missing: Blocker | null
  /** Of a slice that its service owns, on its way home. */
  readonly wayBack: WayBack | null
}

/** One session per database for all slices: looking must not take connections that the monolith needs. */
export class SharedDatabases extends Databases {
  override legacy() {
    return super.legacy('')
  }

  override service({ service }: Pick<Slice, 'service'>) {
    return super.service({ name: '', service })
  }
}

/** Changes nothing. Never throws. `limitMs`: who has not answered by then is away. */
export async function checkFlip(
  asked: Asked,
  slice: Slice,
  to: Stage,
  limitMs = Infinity,
): Promise<Checked> {
  try {
    return checked(to, await within(limitMs, gatherFacts(asked, slice, to)), null)
  } catch (error) {
    const missing = named(problemOf(error), slice.name)
    try {
      return checked(to, await within(limitMs, factsWithoutDatabases(asked, slice, to)), missing)
    } catch {
      return { to, state: 'unknown', blockers: [], missing, wayBack: null }
    }
  }
}

/** Foreign keys of legacy that are back and NOT VALID, each with the command that says more. Never throws. */
export async function unheldKeys(
  { databases }: Pick<Asked, 'databases'>,
  slice: Slice | undefined,
  limitMs: number,
): Promise<string[]> {
  if (!slice || Object.keys(slice.tables).length === 0) return []
  const ask = async () => readNotValid(await databases.legacy(slice.name), slice)
  const found = await within(limitMs, ask()).catch(() => [])
  return found.map(
    ({ key, fact }) =>
      `${key}: the foreign key ${fact.name} of legacy is NOT VALID: rows there may have no parent`,
  )
}

function checked(to: Stage, facts: SliceFacts, missing: Blocker | null): Checked {
  const verdict = decideFlip(facts, to)
  const blockers = verdict.go ? [] : verdict.blockers
  const state = missing ? 'unknown' : verdict.go ? 'go' : 'blocked'
  return { to, state, blockers, missing, wayBack: facts.wayBack?.fact ?? null }
}

/** As much as the control database and the service itself know. */
async function factsWithoutDatabases(asked: Asked, slice: Slice, to: Stage): Promise<SliceFacts> {
  const { store, wiring } = asked
  const ownsTables = Object.keys(slice.tables).length > 0
  const facts = await gatherFacts(asked, { ...slice, tables: {} }, to)
  const moving = ownsTables && STAGES[facts.stage].stream !== 'off'
  const streams = streamsOf(slice, await readStreams(store), wiring.project.banyan.services)
  const home = STAGES[facts.stage].owner === 'service' && STAGES[to].owner === 'legacy'
  const fact = moving && home ? await readWayBack({ store, wiring }, slice) : undefined
  return {
    ...facts,
    ownsTables,
    streams: moving ? streams : [],
    wayBack: fact ? { service: slice.service, fact } : null,
  }
}

async function within<T>(limitMs: number, work: Promise<T>): Promise<T> {
  if (limitMs === Infinity) return work
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    const details = ['one of its two sides', `no answer within ${limitMs} ms`]
    const error = new BanyanError(POSTGRES_ERRORS.UNREACHABLE, details)
    timer = setTimeout(() => reject(error), limitMs)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
    work.catch(() => undefined)
  }
}

/** The rules' hints are written for every slice. */
export function named<T extends Blocker>(problem: T, slice: string): T {
  return { ...problem, hint: problem.hint.replaceAll('<slice>', slice) }
}

/** What an error says to a person. */
export function problemOf(error: unknown): Blocker {
  const known = explain(error)
  if (known instanceof BanyanError) {
    return { code: known.code, message: known.message, hint: known.hint }
  }
  return { code: 'UNEXPECTED', message: known.message, hint: 'run the same command again' }
}
