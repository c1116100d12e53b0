/** The decision that legacy takes the tables without the stream, as one call within a bounded wait. */
import type pg from 'pg'
import { BanyanError } from '../model/errors.ts'
import { CONTROL_ERRORS } from '../model/errors-control.ts'
import { abandon } from '../postgres/abandon.ts'
import type { Settlement } from '../postgres/settle.ts'

/** Who says so, why, and how they know: kept with the evidence. */
export type Said = Readonly<Record<string, unknown>>

/** Until then a session that works on the tables may be in the way; then the flip is undone, and asked for again. */
const LOCK_MS = 2_000

/** The point of no return. Throws FLIP_UNDONE where somebody aborted the epoch first, and what `abandon` throws. */
export async function decideAbandon({
  settlement,
  epoch,
  said,
}: {
  readonly settlement: Settlement
  readonly epoch: number
  readonly said: Said
}): Promise<void> {
  const { slice, legacy } = settlement
  const preparation = await settlement.preparation(epoch, 'legacy')
  const verdict = await withLockLimit(legacy, () =>
    abandon(legacy, { slice, epoch, preparation, said }),
  )
  if (verdict === 'PROMOTED') return
  const details = [slice, 'moved', 'its epoch was aborted by somebody else']
  throw new BanyanError(CONTROL_ERRORS.FLIP_UNDONE, details)
}

export async function withLockLimit<T>(client: pg.ClientBase, work: () => Promise<T>): Promise<T> {
  await client.query(`SET lock_timeout = ${LOCK_MS}`)
  try {
    return await work()
  } finally {
    await client.query('SET lock_timeout = 0').catch(() => undefined)
  }
}
