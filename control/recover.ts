/** What a controller finds when it starts: epochs that somebody began and didn't end. It settles them, then goes on. */
import type { Slice } from '../model/project.ts'
import { BanyanError } from '../model/errors.ts'
import { ABANDON_ERRORS } from '../model/errors-abandon.ts'
import { STAGES } from '../model/stage.ts'
import { ownerOfRecord } from '../postgres/abandon.ts'
import { explain } from '../postgres/explain.ts'
import { databaseChange, readGate, setGate } from '../postgres/gate.ts'
import { settle, type Settled } from '../postgres/settle.ts'
import { closeReturned, recordAbandonment } from './abandon.ts'
import { nextEpoch, settlementOf } from './cutover-runner.ts'
import type { Databases, SliceSessions } from './databases.ts'
import { type Lease, mustLead } from './lease.ts'
import { asFlipError } from './perform.ts'
import type { Publisher } from './publisher.ts'
import { endFlip, type FlipRow, readFlips } from './store/flips.ts'
import { append } from './store/journal.ts'
import { raiseEpoch, readSlices, type SliceFact, setStage } from './store/slices.ts'
import { type Store, transact } from './store/store.ts'

const RAISE_LOCK_TIMEOUT_MS = 50

export interface RecoverOptions {
  readonly store: Store
  readonly lease: Pick<Lease, 'holder'>
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
  let away: string | undefined
  let service = await options.databases.service(slice).catch((error: unknown) => {
    away = explain(error).message
    return undefined
  })
  if (service) await closeReturned(options, slice, { legacy, service })
  // After a restore or a failover nothing opens there before a person has looked; in legacy, nothing anywhere.
  const changed = await changeOf(slice, 'legacy', legacy)
  if (changed) throw changed
  const other = service && (await changeOf(slice, slice.service, service))
  if (other) {
    away = other.message
    service = undefined
  }
  const epoch = flip?.epoch ?? (await closedEpoch(slice.name, { legacy, service }))
  if (epoch !== undefined) {
    const settled = await settle(settlementOf(slice, { legacy, service }, options.headroom), epoch)
    await record(options, slice, fact, flip, epoch, settled, legacy)
    // The hold was the epoch's: routers send what they parked to whoever owns the tables now.
    await options.publisher.release(slice.name)
    if (!settled.complete && flip?.kind !== 'abandon') {
      throw (
        other ??
        new BanyanError(ABANDON_ERRORS.SERVICE_AWAY, [slice.name, slice.service, away ?? ''])
      )
    }
  } else if (flip) {
    // It moved no ownership: only its table may be missing, and that one is published anew anyway.
    await endFlip(options.store, flip.id, 'undone', {
      code: 'CONTROLLER_LOST',
      message: 'the controller ended in the middle of it',
      hint: again(flip),
      exit: 4,
    })
  }
  if (other) throw other
  if (service) return raise(options.store, slice.name, fact.epoch, { legacy, service })
  // Whether it was left open or fenced, nobody can say; if nothing is open, it must be asked again.
  if ((await readGate(legacy, slice.name))?.open === false) {
    throw new BanyanError(ABANDON_ERRORS.SERVICE_AWAY, [slice.name, slice.service, away ?? ''])
  }
}

async function changeOf(
  slice: Slice,
  name: string,
  client: SliceSessions['legacy'],
): Promise<BanyanError | undefined> {
  const change = await databaseChange(client, slice.name)
  if (!change) return undefined
  const details = [name, change.was, change.is, slice.name]
  return new BanyanError(ABANDON_ERRORS.DATABASE_CHANGED, details)
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
  { store, lease }: RecoverOptions,
  slice: Slice,
  fact: SliceFact,
  flip: FlipRow | undefined,
  epoch: number,
  settled: Settled,
  legacy: SliceSessions['legacy'],
): Promise<void> {
  const promoted = settled.verdict === 'PROMOTED'
  const owner = promoted ? await ownerOfRecord(legacy, slice.name) : undefined
  if (flip?.kind === 'abandon' && owner) await recordAbandonment(store, slice, flip, owner)
  await transact(store, ['slice'], async client => {
    await mustLead(client, lease)
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
  // Once legacy has the tables, or the epoch is aborted, what is left to do in the service is no part of the flip.
  const open = promoted && owner?.side === 'service' && !settled.complete
  if (!flip || open) return
  const lost = !promoted && !settled.complete && STAGES[flip.from].owner === 'service'
  const gone = [slice.name, slice.service, 'it went away in the middle of the flip']
  await endFlip(
    store,
    flip.id,
    promoted ? 'done' : 'undone',
    promoted
      ? null
      : lost
        ? asFlipError(new BanyanError(ABANDON_ERRORS.SERVICE_AWAY, gone))
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
  // Written down first: a service's word must never be past what is known, or it couldn't be closed should it be given up.
  await raiseEpoch(store.pool, slice, epoch)
  try {
    await owner.query(`SET lock_timeout = '${RAISE_LOCK_TIMEOUT_MS}ms'`)
    await setGate(owner, slice, epoch)
  } catch (error) {
    if (!(error instanceof BanyanError)) throw error
  } finally {
    await owner.query('SET lock_timeout = 0').catch(() => undefined)
  }
}
