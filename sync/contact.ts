/** The first thing that a worker does with a slice's databases: what was given up is closed before it is read or written. */
import type pg from 'pg'
import { BanyanError } from '../model/errors.ts'
import { PROTOCOL_ERRORS } from '../model/errors-protocol.ts'
import { COPIES, formatStream, slotOf } from '../model/stream.ts'
import { closeOlder, ownerOfRecord } from '../postgres/abandon.ts'
import { dropSlot } from '../postgres/slot.ts'
import { mustBeCopied } from './apply/owner.ts'
import type { StreamTask } from './plan.ts'
import type { BeginContext } from './stream-begin.ts'

/** How long a slot that nobody needs may be in use, milliseconds. */
const DROP_MS = 2_000

/** The stream of read copies touches a service before any slice's own stream may: it closes for all of them. */
export async function firstContact(
  { store, wiring }: BeginContext,
  task: Pick<StreamTask, 'stream' | 'service'>,
  sessions: { readonly legacy: pg.ClientBase; readonly service: pg.ClientBase },
): Promise<void> {
  const { what } = task.stream
  const slices =
    what === COPIES
      ? wiring.project.slices.filter(each => each.service === task.service).map(each => each.name)
      : [what]
  for (const slice of slices) {
    const contact = await closeOlder({ slice, ...sessions })
    if (contact === undefined) continue
    if ('closed' in contact) await store.returned(slice, contact.closed)
    else throw new BanyanError(PROTOCOL_ERRORS.WORD_REFUSED, [pastRecord(slice, contact.newer)])
  }
}

/** Only the controller may take a new epoch. */
function pastRecord(slice: string, epoch: number): string {
  return `the service's database takes writes of "${slice}" in epoch ${epoch}, and legacy owns it in an older one`
}

/**
 * A forward stream goes on only where the service was copied after legacy last took the tables without it. Until then its
 * slot would hold back legacy's WAL for nothing. Throws RESYNC_REQUIRED.
 */
export async function mustHaveCopy(
  { store, wiring }: BeginContext,
  { stream, slice }: StreamTask,
  legacy: pg.ClientBase,
  signal: AbortSignal,
): Promise<void> {
  if (!slice || stream.from !== 'legacy' || !(await store.streaming(formatStream(stream)))) return
  const owner = await ownerOfRecord(legacy, slice.name)
  if (owner?.side !== 'legacy' || !owner.abandoned || owner.abandoned.copied) return
  const stop = AbortSignal.any([signal, AbortSignal.timeout(DROP_MS)])
  await dropSlot({ url: wiring.legacy.capture, slot: slotOf(stream), signal: stop })
  mustBeCopied(slice.name, owner)
}

/** A first copy is complete: what was given up before it doesn't count any more. */
export async function copyIsComplete(
  { store }: Pick<BeginContext, 'store'>,
  slice: string,
  legacy: pg.ClientBase,
): Promise<void> {
  const owner = await ownerOfRecord(legacy, slice)
  if (owner?.side !== 'legacy' || !owner.abandoned || owner.abandoned.copied) return
  await legacy.query(
    `INSERT INTO banyan.evidence (slice, epoch, kind) VALUES ($1, $2, 'COPIED') ON CONFLICT DO NOTHING`,
    [slice, owner.epoch],
  )
  await store.copied(slice)
}
