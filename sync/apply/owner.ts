/** Is the source of a stream the owner of record? The latest PROMOTED in legacy says so, and from which position on. */
import type pg from 'pg'
import { BanyanError } from '../../model/errors.ts'
import { APPLY_ERRORS } from '../../model/errors-apply.ts'
import { type Lsn, LSN_ZERO, parseLsn } from '../../model/position.ts'
import type { Side } from '../../model/stage.ts'
import { type OwnerOfRecord, ownerOfRecord } from '../../postgres/abandon.ts'

export interface OwnerQuery {
  readonly slice: string
  /** The side whose changes are judged. */
  readonly side: Side
  readonly legacy: pg.ClientBase
  readonly service: pg.ClientBase
}

/**
 * The position in `side`'s database after which its writes are the owner's; null where it isn't the owner. A position,
 * because the stream is read late: what was written before the gate opened stays rogue, whenever it is judged.
 */
export async function ownsAfter(query: OwnerQuery): Promise<Lsn | null> {
  const latest = await ownerOfRecord(query.legacy, query.slice)
  if (!latest) return query.side === 'legacy' ? LSN_ZERO : null
  if (latest.side !== query.side) return null
  const here = query.side === 'legacy' ? query.legacy : query.service
  if (latest.abandoned) mustBeCopied(query.slice, latest)
  const { rows } = await here.query<{ after: string }>(
    `SELECT detail->>'ownsAfter' AS after FROM banyan.evidence
     WHERE slice = $1 AND epoch = $2 AND kind IN ('PREPARED', 'ABANDONED')`,
    [query.slice, latest.epoch],
  )
  // Promoted and not prepared here can't be (§6); until the evidence is seen nothing is the owner's.
  return rows[0] ? parseLsn(rows[0].after) : null
}

/**
 * Invariant: what legacy took without the stream is never brought to a service that still has what the stream hadn't
 * brought. Throws RESYNC_REQUIRED.
 */
export function mustBeCopied(slice: string, { epoch, abandoned }: OwnerOfRecord): void {
  if (!abandoned || abandoned.copied) return
  throw new BanyanError(APPLY_ERRORS.RESYNC_REQUIRED, [slice, epoch])
}
