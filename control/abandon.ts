/**
 * Giving up what a service's database hasn't brought to legacy, on a person's word (protocol.md §6): never a guard's, and
 * never the controller's own. Where that database answers it is fenced first; where it doesn't, it is closed when it is back.
 */
import type pg from 'pg'
import { BanyanError, must } from '../model/errors.ts'
import { ABANDON_ERRORS } from '../model/errors-abandon.ts'
import { formatLsn, parseLsn } from '../model/position.ts'
import type { Slice } from '../model/project.ts'
import { type Stage, STAGES } from '../model/stage.ts'
import {
  abandon,
  closeOlder,
  finishAbandon,
  hasSchema,
  ownerOfRecord,
  type OwnerOfRecord,
} from '../postgres/abandon.ts'
import { type GateState, readGate } from '../postgres/gate.ts'
import { settle, type Settlement } from '../postgres/settle.ts'
import { Unsettled } from './cutover-run.ts'
import { decideAbandon, type Said, withLockLimit } from './decide-abandon.ts'
import { nextEpoch, settlementOf, streamTo } from './cutover-runner.ts'
import type { SliceSessions } from './databases.ts'
import type { PerformContext } from './perform.ts'
import type { RecoverOptions } from './recover.ts'
import { readAbandoned, recordAbandoned, recordReturned } from './store/abandoned.ts'
import { beginStep, type FlipRow, startFlip } from './store/flips.ts'
import { append } from './store/journal.ts'
import { raiseEpoch, readSlices, setOverride, setStage } from './store/slices.ts'
import { type Store, transact } from './store/store.ts'
import { readStreams } from './store/streams.ts'
import { readWayBack } from './way-back.ts'

/**
 * Without the service. Everything up to the decision may be repeated; what comes after it, whoever settles the epoch does.
 * Throws what `abandon` throws (nothing has changed then), and whatever leaves the epoch to be settled.
 */
export async function abandonAlone(
  context: PerformContext,
  slice: Slice,
  flip: FlipRow,
): Promise<void> {
  const { store, wiring, databases } = context
  const legacy = await databases.legacy(slice.name)
  const headroom = wiring.project.banyan.limits.sequenceHeadroom
  const sides = { legacy, service: undefined }
  const settlement = settlementOf(slice, sides, headroom)
  await settleBegun(context, slice, legacy, settlement)
  const journal = (await readSlices(store.pool)).find(each => each.name === slice.name)?.epoch ?? 0
  const epoch = nextEpoch(journal, await readGate(legacy, slice.name))
  await startFlip(store, flip.id, epoch)
  const done = await beginStep(store, flip.id, 'decide')
  const started = context.now()
  try {
    await decideAbandon({ settlement, epoch, said: await saidOf(store, slice, flip) })
    await done(context.now() - started)
  } catch (error) {
    await done(context.now() - started, { failed: (error as { code?: string }).code })
    const settled = await settle(settlement, epoch).catch((cause: unknown) => {
      throw new Unsettled('the epoch is not settled', { cause })
    })
    if (settled.verdict === 'ABORTED') throw error
  }
  await finishAbandon({ slice: slice.name, ...sides }, epoch).catch((cause: unknown) => {
    throw new Unsettled('the epoch is not settled', { cause })
  })
}

/** Why it may not be done; undefined where it may. `away`: why the service's database can't be reached. */
export async function mayAbandon(
  context: PerformContext,
  slice: Slice,
  flip: FlipRow,
  away: BanyanError | undefined,
): Promise<BanyanError | undefined> {
  const facts = await readSlices(context.store.pool)
  const stage = facts.find(each => each.name === slice.name)?.stage ?? 'legacy'
  const owns = Object.keys(slice.tables).length > 0
  if (!owns || STAGES[stage].owner !== 'service') {
    return new BanyanError(ABANDON_ERRORS.NOT_MOVED, [slice.name, stage])
  }
  if (away) {
    if (flip.proof !== null) return undefined
    const why = 'it must be known that its database can not come back writable'
    return new BanyanError(ABANDON_ERRORS.CONSENT_MISSING, [slice.name, why])
  }
  const way = await readWayBack(context, slice)
  if (way.state === 'broken') return undefined
  const why = way.why ?? 'its stream is in step'
  return new BanyanError(ABANDON_ERRORS.ABANDON_NEEDLESS, [slice.name, slice.service, why])
}

/** A flip that was under way when the service died could still be promoted: it ends first, and legacy alone can end it. */
async function settleBegun(
  { store }: Pick<PerformContext, 'store'>,
  slice: Slice,
  legacy: pg.Client,
  settlement: Settlement,
): Promise<void> {
  const gate = await readGate(legacy, slice.name)
  const begun = await store.pool.query<{ epoch: number }>(
    'SELECT DISTINCT epoch::int FROM banyan.flip WHERE slice = $1 AND epoch IS NOT NULL',
    [slice.name],
  )
  const rows = [...(gate?.fences ?? []), ...(gate?.evidence ?? []), ...begun.rows]
  const open = new Set(rows.map(row => row.epoch).filter(epoch => !isDecided(gate, epoch)))
  for (const epoch of open) await settle(settlement, epoch)
  const owner = await ownerOfRecord(legacy, slice.name)
  if (owner?.side === 'service') return
  throw new BanyanError(ABANDON_ERRORS.NOT_MOVED, [slice.name, 'a stage that was just settled'])
}

function isDecided(gate: GateState | undefined, epoch: number): boolean {
  return gate?.decisions.some(row => row.epoch === epoch) ?? false
}

/** What is kept with the evidence: a control database that is lost can be told it again. */
export async function saidOf(store: Store, slice: Slice, flip: FlipRow): Promise<Said> {
  const { actor, reason, proof } = flip
  return { actor, reason, proof, heardAtMs: await heardAt(store, slice) }
}

async function heardAt(store: Store, slice: Slice): Promise<number | null> {
  const name = streamTo(slice, 'legacy')
  return (await readStreams(store)).find(each => each.name === name)?.heardAtMs ?? null
}

/** The stage, the brake that holds it there, and who said why: in one transaction, also for whoever settles it later. */
export async function recordAbandonment(
  store: Store,
  slice: Slice,
  flip: FlipRow,
  owner: OwnerOfRecord,
): Promise<void> {
  const { epoch } = owner
  const position = owner.abandoned?.position ?? null
  const heardAtMs = await heardAt(store, slice)
  await transact(store, ['slice'], async client => {
    await setStage(client, slice.name, { stage: flip.to, percent: 0, epoch })
    await setOverride(client, slice.name, {
      stage: flip.to,
      by: flip.actor,
      reason: flip.reason ?? 'its database was given up',
    })
    const { actor, proof } = flip
    await recordAbandoned(client, { slice: slice.name, epoch, actor, proof, position, heardAtMs })
    await append(client, {
      actor,
      slice: slice.name,
      kind: 'abandoned',
      detail: {
        epoch,
        proof,
        position: position === null ? null : formatLsn(position),
        reason: flip.reason,
      },
    })
  })
}

/**
 * At the first contact with a service's database, before anything else reads or writes it: what was left behind is closed.
 * One whose word is past the record (it was raised, and nobody remembers) needs a newer epoch in legacy first.
 */
export async function closeReturned(
  { store, headroom }: Pick<RecoverOptions, 'store' | 'headroom'>,
  slice: Slice,
  { legacy, service }: SliceSessions,
): Promise<void> {
  let contact = await closeOlder({ slice: slice.name, legacy, service })
  if (contact && 'newer' in contact) {
    const facts = await readSlices(store.pool)
    const journal = facts.find(each => each.name === slice.name)?.epoch ?? 0
    const gate = await readGate(legacy, slice.name)
    const epoch = nextEpoch(Math.max(journal, contact.newer), gate)
    await raiseEpoch(store.pool, slice.name, epoch)
    const settlement = settlementOf(slice, { legacy, service }, headroom)
    const preparation = await settlement.preparation(epoch, 'legacy')
    const said = { actor: 'controller', reason: 'the old database came back with a newer epoch' }
    // Refused where nobody gave the service up: then a person must look.
    await withLockLimit(legacy, () =>
      abandon(legacy, { slice: slice.name, epoch, preparation, said }),
    )
    contact = await closeOlder({ slice: slice.name, legacy, service })
  }
  if (contact && 'closed' in contact) await recordReturned(store, slice.name, contact.closed)
}

/**
 * For a database that was given up and hasn't been seen since. One that is closed already (it was fenced first, or a
 * worker was quicker) has come back too.
 */
export async function watchReturned(
  options: Pick<RecoverOptions, 'store' | 'headroom'>,
  slice: Slice,
  sessions: SliceSessions,
): Promise<void> {
  await closeReturned(options, slice, sessions)
  const found = (await readAbandoned(options.store)).find(each => each.slice === slice.name)
  if (!found || found.returnedAtMs !== null || !(await hasSchema(sessions.service))) return
  const gate = await readGate(sessions.service, slice.name)
  if (!gate || gate.open || gate.word < BigInt(2 * found.epoch)) return
  const { rows } = await sessions.service.query<{ position: string }>(
    'SELECT pg_catalog.pg_current_wal_insert_lsn()::text AS position',
  )
  const position = parseLsn(must(rows[0], 'a position').position)
  await recordReturned(options.store, slice.name, { epoch: found.epoch, wasOpen: false, position })
}

/** Where an abandonment leads: legacy owns and reads, and the streams stay on record. */
export const ABANDONED_TO: Stage = 'sync'
