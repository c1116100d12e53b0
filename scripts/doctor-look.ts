/** Everything that `banyan doctor` looks at, in one value: a database that is down hides nothing of the others. */
import { dirname } from 'node:path'
import { ready } from '../control/gather.ts'
import { mustNotBeEmpty } from '../control/remembered.ts'
import { streamsOf } from '../control/slice-streams.ts'
import { type AbandonedFact, readAbandoned } from '../control/store/abandoned.ts'
import { type ListedRogue, readCensus, readRogue } from '../control/store/findings.ts'
import { readFlips } from '../control/store/flips.ts'
import { readSlices, type SliceFact } from '../control/store/slices.ts'
import type { Store } from '../control/store/store.ts'
import { readStreams, type StreamRow } from '../control/store/streams.ts'
import { place } from '../model/diagnostic.ts'
import { BanyanError, must } from '../model/errors.ts'
import { ABANDON_ERRORS } from '../model/errors-abandon.ts'
import { SYNC_ERRORS } from '../model/errors-sync.ts'
import type { Project, Slice } from '../model/project.ts'
import { type Side, type Stage, STAGES } from '../model/stage.ts'
import { COPIES, parseStream, slotOf } from '../model/stream.ts'
import { qualified } from '../model/wiring.ts'
import { clockText } from './amounts.ts'
import { lookAtControl } from './doctor-control.ts'
import { columnPairs } from './doctor-pairs.ts'
import { readSlots, slotBlockers } from '../sync/preflight-slots.ts'
import { type Context, FilesInvalid, type Problem } from './context.ts'
import { named } from './checks-now.ts'
import { askControl, findSlice, openStore } from './control-store.ts'
import { type Check, check, checksOf, PAIRS, problem, timed, unknown } from './doctor-checks.ts'
import { type GateSeen, lookAtGate, wordChecks } from './doctor-gates.ts'
import { crossingChecks, keysCheck, keysNotes } from './doctor-keys.ts'
import { lookAtSide, type SideSeen, type SideWanted } from './doctor-side.ts'
import { monolithGone } from './upstreams.ts'
import { openControlUrl, type openProject, openUrls } from './wiring.ts'

export type Loaded = Awaited<ReturnType<typeof openProject>>
type Opened = { defer(close: () => unknown): void }

export interface Examined {
  readonly slice: Slice
  /** Undefined where the control database couldn't be asked. */
  readonly stage: Stage | undefined
  readonly percent: number
  readonly checks: readonly Check[]
  readonly gates: Readonly<Record<Side, GateSeen | undefined>>
  /** What a person should know, and nothing has to be done about. */
  readonly notes: readonly string[]
  readonly rogue: readonly ListedRogue[]
  readonly abandoned: AbandonedFact | undefined
  readonly store: Store | undefined
  /** Why there is no store. */
  readonly controlError: BanyanError | undefined
  readonly sides: Readonly<Record<Side, SideSeen | undefined>>
}

interface Control {
  readonly store: Store
  readonly fact: SliceFact
  readonly facts: readonly SliceFact[]
  readonly streams: readonly StreamRow[]
  readonly rogue: readonly ListedRogue[]
  readonly abandoned: AbandonedFact | undefined
  readonly sideWrites: ReadonlyMap<string, number>
  readonly flipping: boolean
}

/** `opened` closes what this opens. Throws only what is no finding: a defect. */
export async function examine(
  context: Context,
  loaded: Loaded,
  slice: Slice,
  opened: Opened,
): Promise<Examined> {
  const asked = await askControlFor(context, loaded, slice, opened)
  const control = asked instanceof BanyanError ? undefined : asked
  const controlError = asked instanceof BanyanError ? asked : undefined
  const stage = control?.fact.stage
  const ownsTables = Object.keys(slice.tables).length > 0
  const legacy = ownsTables ? await sideOf(context, loaded, slice, 'legacy', opened) : undefined
  const service = ownsTables ? await sideOf(context, loaded, slice, 'service', opened) : undefined
  const seen = { legacy: seenOf(legacy), service: seenOf(service) }
  const gateOf = async (side: SideSeen | undefined) =>
    side ? lookAtGate(slice.name, stage, side) : { gate: undefined, checks: [] }
  const gates = { legacy: await gateOf(seen.legacy), service: await gateOf(seen.service) }
  const standing = { legacy: gates.legacy.gate, service: gates.service.gate }
  const answer = await ready(must(loaded.project.banyan.services[slice.service], slice.service).url)
  const checks = [
    check('control', 'answers', controlError ? problemsOfError(controlError) : []),
    ...(control ? await lookAtControl(control.store) : []),
    ...[legacy, service].flatMap(each => each?.checks ?? []),
    ...(ownsTables ? pairChecks(slice, loaded.project, seen) : []),
    ...gates.legacy.checks,
    ...gates.service.checks,
    ...wordChecks(slice, stage, standing, control?.flipping ?? false),
    ...(control ? await slotChecks(control, loaded.project, slice, seen) : []),
    ...(ownsTables ? await crossingChecks(loaded, slice, seen.legacy, control?.sideWrites) : []),
    ...(ownsTables ? [await keysCheck(slice, seen.legacy)] : []),
    check(slice.name, 'writes round the gate', rogueProblems(slice, control?.rogue ?? [])),
    check(slice.name, 'nothing given up', abandonedProblems(slice, control?.abandoned)),
    ...(await monolithChecks(loaded)),
    check(slice.service, 'ready', answer.ok ? [] : [serviceDown(slice, answer)]),
  ]
  return {
    slice,
    stage,
    percent: control?.fact.percent ?? 0,
    checks: checks.map(each => ofSlice(each, slice.name, stage ?? 'legacy')),
    gates: standing,
    notes: ownsTables ? await keysNotes(slice, stage, seen.legacy) : [],
    rogue: control?.rogue ?? [],
    abandoned: control?.abandoned,
    store: control?.store,
    controlError,
    sides: seen,
  }
}

/** The rules' hints are written for every slice; here the command to run again is known, and the step it keeps from. */
function ofSlice(one: Check, slice: string, stage: Stage): Check {
  return { ...one, problems: one.problems.map(each => timed(named(each, slice), stage)) }
}

async function askControlFor(
  context: Context,
  loaded: Loaded,
  slice: Slice,
  opened: Opened,
): Promise<Control | BanyanError> {
  try {
    const url = await openControlUrl(context.config, loaded)
    await askControl(url)
    const control = openStore(url)
    opened.defer(() => control[Symbol.asyncDispose]())
    const { store } = control
    const legacyUrls = await openUrls(context.config, loaded, 'legacy').catch(() => undefined)
    if (legacyUrls) await mustNotBeEmpty(store, { ...loaded, legacy: legacyUrls })
    const { fact } = await findSlice({ wiring: loaded, store }, slice.name)
    const rows = await readStreams(store)
    const flips = await readFlips(store, { slice: slice.name, open: true, limit: 1 })
    return {
      store,
      fact,
      facts: await readSlices(store.pool),
      streams: streamsOf(slice, rows, loaded.project.banyan.services),
      rogue: (await readRogue(store)).filter(each => each.slice === slice.name),
      abandoned: (await readAbandoned(store)).find(each => each.slice === slice.name),
      sideWrites: (await readCensus(store, slice.name)).sideWrites,
      flipping: flips.some(flip => flip.startedAtMs !== null),
    }
  } catch (error) {
    if (error instanceof BanyanError) return error
    throw error
  }
}

/** A side, or only why it can't be looked at. */
export type SideFound = SideSeen | { readonly checks: readonly Check[] }

async function sideOf(
  context: Context,
  loaded: Loaded,
  slice: Slice,
  side: Side,
  opened: Opened,
): Promise<SideFound> {
  const name = side === 'legacy' ? 'legacy' : slice.service
  const tables = Object.entries(slice.tables)
  const copies = must(loaded.project.banyan.services[slice.service], slice.service).copies
  const other = side === 'legacy' ? slice.service : 'legacy'
  const streams = [{ from: name, to: other, what: slice.name }]
  if (side === 'legacy' && copies.length > 0) streams.push({ from: name, to: other, what: COPIES })
  const wanted = {
    ...{ side, name },
    tables: tables.map(([table, { to }]) => qualified(side === 'legacy' ? table : to)),
    copies: copies.map(qualified),
    slots: streams.map(slotOf),
  }
  return lookAtDatabase(context, loaded, wanted, opened)
}

/** A database by its name in banyan.yaml. `opened` ends the sessions. */
export async function lookAtDatabase(
  context: Context,
  loaded: Loaded,
  wanted: Omit<SideWanted, 'urls' | 'folder'>,
  opened: Opened,
): Promise<SideFound> {
  const { name } = wanted
  try {
    const urls = await openUrls(context.config, loaded, name)
    return await lookAtSide({ ...wanted, urls, folder: dirname(context.config) }, opened)
  } catch (error) {
    if (!(error instanceof BanyanError)) throw error
    return { checks: [check(name, 'named in the files', problemsOfError(error))] }
  }
}

function seenOf(found: SideFound | undefined): SideSeen | undefined {
  return found && 'sessions' in found ? found : undefined
}

/** Files that can't be used say so at each place. */
export function problemsOfError(error: BanyanError): Problem[] {
  if (!(error instanceof FilesInvalid)) return [problem(error)]
  return error.diagnostics.map(({ code, message, hint, ...at }) => {
    return { code, message: `${message} (${place(at.file, at)})`, hint }
  })
}

function pairChecks(slice: Slice, project: Project, seen: Examined['sides']): Check[] {
  const found = columnPairs(slice, project, seen)
  return found ? checksOf(slice.name, PAIRS, found) : unknown(slice.name, PAIRS)
}

/** Slots that a stream has left off at, and how many there would be. */
async function slotChecks(
  { streams, facts, fact }: Control,
  project: Project,
  slice: Slice,
  seen: Examined['sides'],
): Promise<Check[]> {
  const sides = [seen.legacy, seen.service].flatMap(side => {
    const session = side && (side.sessions.capture ?? side.sessions.apply ?? side.sessions.setup)
    return side && session ? [{ side, session }] : []
  })
  const moving = STAGES[fact.stage].stream !== 'off'
  const kept = streams.flatMap(({ name, position }): BanyanError[] => {
    const stream = parseStream(name)
    const at = sides.find(({ side }) => side.wanted.name === stream?.from)
    if (!moving || !stream || !at || position === null) return []
    const slot = at.side.slots.find(each => each.slot === slotOf(stream))
    if (!slot) return [new BanyanError(SYNC_ERRORS.SLOT_MISSING, [slotOf(stream)])]
    return slot.walStatus === 'lost' ? [new BanyanError(SYNC_ERRORS.SLOT_LOST, [slot.slot])] : []
  })
  const stages = new Map(facts.map(each => [each.name, each.stage]))
  if (fact.stage === 'legacy') stages.set(slice.name, 'sync')
  const slots = new Map<string, string[]>()
  for (const { side, session } of sides) slots.set(side.wanted.name, await readSlots(session))
  return [
    ...(moving ? [check(slice.name, 'slots are kept', kept.map(problem))] : []),
    check(slice.name, 'limits.maxSlots', slotBlockers({ project, stages, slots }).map(problem)),
  ]
}

function rogueProblems(slice: Slice, rogue: readonly ListedRogue[]): Problem[] {
  if (rogue.length === 0) return []
  const count = `${rogue.length} ${rogue.length === 1 ? 'write' : 'writes'}`
  const message = `${count} went round the gate on the side that isn't the owner; nothing of it was carried over`
  const hint = `look at the keys; if it was right: banyan doctor ${slice.name} --accept`
  return [{ code: 'ROGUE_WRITES', message, hint }]
}

function abandonedProblems({ name, service }: Slice, found: AbandonedFact | undefined): Problem[] {
  if (!found || found.accepted) return []
  const { returnedAtMs, wasOpen } = found
  if (returnedAtMs === null) {
    return [
      problem(new BanyanError(ABANDON_ERRORS.ABANDONED, [name, service, 'has not come back'])),
    ]
  }
  const until = clockText(returnedAtMs)
  const error = wasOpen
    ? new BanyanError(ABANDON_ERRORS.BOTH_OPEN, [name, service, until])
    : new BanyanError(ABANDON_ERRORS.ABANDONED, [name, service, `was closed again at ${until}`])
  return [problem(error)]
}

/** Routers send all to it that no service owns. */
export async function monolithChecks({ project }: Loaded): Promise<Check[]> {
  const { url } = project.banyan.legacy
  const why = await monolithGone(url)
  const message = `the monolith at ${url} can't be reached: ${why}`
  const hint = `start it, then run \`banyan doctor\``
  return [
    check('legacy', 'monolith', why === null ? [] : [{ code: 'MONOLITH_DOWN', message, hint }]),
  ]
}

function serviceDown(
  { name, service }: Slice,
  { why, mend }: Awaited<ReturnType<typeof ready>>,
): Problem {
  const message = `the service ${service} isn't ready: ${why}`
  return { code: 'SERVICE_DOWN', message, hint: `${mend}, then run \`banyan doctor ${name}\`` }
}
