/** Whether one more slice would give Banyan more replication slots in a database than banyan.yaml allows. */
import type pg from 'pg'
import { BanyanError } from '../model/errors.ts'
import { PREFLIGHT_ERRORS as RULES } from '../model/errors-preflight.ts'
import type { Project } from '../model/project.ts'
import type { Stage } from '../model/stage.ts'
import { type Database, slotOf } from '../model/stream.ts'
import { wantedStreams } from './plan.ts'

export interface SlotFacts {
  readonly project: Project
  /** As they would be after the step. */
  readonly stages: ReadonlyMap<string, Stage>
  /** What `readSlots` found in each database that is asked about. */
  readonly slots: ReadonlyMap<Database, readonly string[]>
}

/** Banyan's own slots in this database; not those of a verification, which are gone with it. Any role may look. */
export async function readSlots(client: pg.ClientBase): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(
    `SELECT slot_name AS name FROM pg_catalog.pg_replication_slots
     WHERE database = pg_catalog.current_database() AND slot_name LIKE 'banyan\\_%'
       AND slot_name !~ '_(forward|reverse)_verify$' ORDER BY 1`,
  )
  return rows.map(row => row.name)
}

/** SLOTS_LIMIT for each database that would have too many. One that is left over counts: it holds WAL too. Pure. */
export function slotBlockers({ project, stages, slots }: SlotFacts): BanyanError[] {
  const { maxSlots } = project.banyan.limits
  const streams = wantedStreams(project, stages).map(task => task.stream)
  return [...slots].flatMap(([database, there]) => {
    const wanted = streams.filter(stream => stream.from === database).map(slotOf)
    const all = new Set([...there, ...wanted])
    if (all.size <= maxSlots) return []
    return [new BanyanError(RULES.SLOTS_LIMIT, [database, all.size, maxSlots])]
  })
}
