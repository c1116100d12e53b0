/** Is the source of a stream the owner of record? The latest PROMOTED in legacy says so, and from which position on. */
import type pg from 'pg'
import { type Lsn, LSN_ZERO, parseLsn } from '../../model/position.ts'
import type { Side } from '../../model/stage.ts'

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
  const { rows } = await query.legacy.query<{ epoch: string; forward: boolean }>(
    `SELECT d.epoch::text, EXISTS (SELECT 1 FROM banyan.fence f WHERE f.slice = d.slice AND f.epoch = d.epoch) AS forward
     FROM banyan.decision d WHERE d.slice = $1 AND d.verdict = 'PROMOTED' ORDER BY d.epoch DESC LIMIT 1`,
    [query.slice],
  )
  const latest = rows[0]
  if (!latest) return query.side === 'legacy' ? LSN_ZERO : null
  const forward = String(latest.forward).startsWith('t')
  const owner: Side = forward ? 'service' : 'legacy'
  if (owner !== query.side) return null
  const here = query.side === 'legacy' ? query.legacy : query.service
  const prepared = await here.query<{ after: string }>(
    `SELECT detail->>'ownsAfter' AS after FROM banyan.evidence WHERE slice = $1 AND epoch = $2 AND kind = 'PREPARED'`,
    [query.slice, latest.epoch],
  )
  // Promoted and not prepared here can't be (§6); until the evidence is seen nothing is the owner's.
  return prepared.rows[0] ? parseLsn(prepared.rows[0].after) : null
}
