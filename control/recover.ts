/** What a controller finds when it starts: epochs that somebody began and didn't end. It settles them, then goes on. */
import type { Slice } from '../model/project.ts'
import { BanyanError } from '../model/errors.ts'
import { STAGES } from '../model/stage.ts'
import { readGate, setGate } from '../postgres/gate.ts'
import { settle, type Settled } from '../postgres/settle.ts'
import { nextEpoch, settlementOf } from './cutover-runner.ts'
import type { Databases, SliceSessions } from './databases.ts'
import type { Publisher } from './publisher.ts'
import { endFlip, type FlipRow, readFlips } from './store/flips.ts'
import { append } from './store/journal.ts'
import { readSlices, type SliceFact, setStage, useEpoch } from './store/slices.ts'
import { type Store, transact } from './store/store.ts'

const RAISE_LOCK_TIMEOUT_MS = 50

export interface RecoverOptions {
  readonly store: Store
  readonly databases: Databases
  readonly publisher: Publisher
  readonly headroom: number
}

/**
 * Settles what is closed and ends the flips that were begun. Returns the names of slices that couldn't be settled yet
 * (a database is away): the caller tries those again.
 */
export async function recover(
  options: RecoverOptions,
  slices: readonly Slice[],
): Promise<Map<string, unknown>> {
  const open = await readFlips(options.store, { open: true, limit: 1000 })
  const facts = await readSlices(options.store.pool)
  const failed = new Map<string, unknown>()
  for (const slice of slices) {
    const fact = facts.find(each => each.name === slice.name)
    if (!fact || Object.keys(slice.tables).length === 0) continue
    const flip = open.find(each => each.slice === slice.name && each.startedAtMs !== null)
    // A slice that never left legacy has no gate, and its databases may not even be Banyan's yet.
    if (!flip && STAGES[fact.stage].stream === 'off') continue
    try {
      await recoverSlice(options, slice, fact, flip)
    } catch (error) {
      failed.set(slice.name, error)
    }
  }
  return failed
}

async function recoverSlice(
  options: RecoverOptions,
  slice: Slice,
  fact: SliceFact,
  flip: FlipRow | undefined,
): Promise<void> {
  const legacy = await options.databases.legacy(slice.name)
  // Legacy must be able to reopen while a service is dead; everything else waits for it.
  const service = await options.databases.service(slice).catch(() => undefined)
  const epoch = flip?.epoch ?? (await closedEpoch(slice.name, { legacy, service }))
  if (epoch !== undefined) {
    const settled = await settle(settlementOf(slice, { legacy, service }, options.headroom), epoch)
    await record(options, slice, fact, flip, epoch, settled)
    // The hold was the epoch's: routers send what they parked to whoever owns the tables now.
    await options.publisher.release(slice.name)
    if (!settled.complete) throw new Error(`the database of "${slice.service}" is away`)
  } else if (flip) {
    // It moved no ownership: only its table may be missing, and that one is published anew anyway.
    await endFlip(options.store, flip.id, 'undone', {
      code: 'CONTROLLER_LOST',
      message: 'the controller ended in the middle of it',
      hint: again(flip),
      exit: 4,
    })
  }
  if (service) await raise(options.store, slice.name, fact.epoch, { legacy, service })
}

/** The epoch of a slice that is closed on both sides; undefined where one is open. */
async function closedEpoch(
  slice: string,
  sides: { legacy: SliceSessions['legacy']; service: SliceSessions['service'] | undefined },
): Promise<number | undefined> {
  const legacy = await readGate(sides.legacy, slice)
  const service = sides.service && (await readGate(sides.service, slice))
  if (!legacy || legacy.open || !service || service.open) return undefined
  return Math.max(legacy.epoch, service.epoch)
}

async function record(
  { store }: RecoverOptions,
  slice: Slice,
  fact: SliceFact,
  flip: FlipRow | undefined,
  epoch: number,
  settled: Settled,
): Promise<void> {
  const promoted = settled.verdict === 'PROMOTED'
  await transact(store, ['slice'], async client => {
    if (promoted && flip)
      await setStage(client, slice.name, { stage: flip.to, percent: flip.percent, epoch })
    else await setStage(client, slice.name, { stage: fact.stage, percent: fact.percent, epoch })
    await append(client, {
      actor: 'controller',
      slice: slice.name,
      kind: 'epoch settled',
      detail: { epoch, verdict: settled.verdict, complete: settled.complete },
    })
  })
  if (!flip || !settled.complete) return
  await endFlip(
    store,
    flip.id,
    promoted ? 'done' : 'undone',
    promoted
      ? null
      : {
          code: 'FLIP_UNDONE',
          message: 'the controller ended in the middle of it; its successor undid it',
          hint: again(flip),
          exit: 4,
        },
  )
}

function again({ kind, slice, to }: FlipRow): string {
  const command = kind === 'rehearsal' ? `rehearse ${slice}` : `flip ${slice} ${to}`
  return `nothing was lost; run it again: banyan ${command}`
}

/**
 * A floor under whatever a predecessor has in flight: its late fence carries an older epoch and is refused. No law rests
 * on it; it spares a pause. A closed word is never raised, and neither is one that somebody writes under for longer:
 * every other writer would queue behind us.
 */
async function raise(
  store: Store,
  slice: string,
  journalEpoch: number,
  sides: SliceSessions,
): Promise<void> {
  const [legacy, service] = [
    await readGate(sides.legacy, slice),
    await readGate(sides.service, slice),
  ]
  const epoch = nextEpoch(journalEpoch, legacy, service)
  const owner = legacy?.open ? sides.legacy : service?.open ? sides.service : undefined
  if (!owner) return
  try {
    await owner.query(`SET lock_timeout = '${RAISE_LOCK_TIMEOUT_MS}ms'`)
    await setGate(owner, slice, epoch)
  } catch (error) {
    if (!(error instanceof BanyanError)) throw error
  } finally {
    await owner.query('SET lock_timeout = 0').catch(() => undefined)
  }
  await useEpoch(store.pool, slice, epoch)
}
