/**
 * The table for a router that begins while the control database has none: every request goes to the owner, and legacy
 * says who that is. Reads are never stale, and a word that is older than a flip meets the gate.
 */
import type pg from 'pg'
import type { Orders } from '../model/orders.ts'
import type { Project } from '../model/project.ts'
import { hasTables } from './in-databases.ts'
import { buildOrders } from './orders.ts'

/** `legacy`: any role of ours. Rejects where legacy can't be asked; then nobody knows. */
export async function ordersByLegacy(
  legacy: pg.Pool,
  project: Project,
): Promise<Omit<Orders, 'version'>> {
  const facts = (await movedIn(legacy)).map(name => ({ name, stage: 'moved', percent: 0 }) as const)
  return buildOrders(project, facts, [])
}

/** Slices whose latest PROMOTED is fenced in legacy: their services own them. */
async function movedIn(legacy: pg.Pool): Promise<string[]> {
  if (!(await hasTables(legacy))) return []
  const { rows } = await legacy.query<{ slice: string }>(
    `SELECT d.slice FROM banyan.fence f JOIN (
       SELECT slice, max(epoch) AS epoch FROM banyan.decision WHERE verdict = 'PROMOTED' GROUP BY slice
     ) d USING (slice, epoch) ORDER BY d.slice`,
  )
  return rows.map(row => row.slice)
}
