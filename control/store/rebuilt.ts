/** Writes what was read in the databases into an empty control database, all at once, and says so first in the journal. */
import { formatLsn, type Lsn } from '../../model/position.ts'
import type { Stage } from '../../model/stage.ts'
import { append } from './journal.ts'
import { type Store, transact } from './store.ts'

export interface RebuiltFacts {
  readonly slices: readonly {
    readonly name: string
    readonly number: number
    readonly service: string
    readonly stage: Stage
    readonly epoch: number
    /** For the journal. */
    readonly detail: Record<string, unknown>
  }[]
  readonly streams: readonly {
    readonly name: string
    readonly slice: string | null
    readonly position: Lsn | null
    readonly error: { code: string; message: string; hint: string } | null
  }[]
  /** Numbers up to here are some slice's already. */
  readonly highestNumber: number
  readonly actor: string
  /** From what it was made. */
  readonly detail: Record<string, unknown>
}

/** Routers may know tables of the database that was lost: seconds since then are more than it can have published. */
const VERSIONS_SINCE_MS = Date.UTC(2025, 0, 1)

export async function storeRebuilt(store: Store, facts: RebuiltFacts): Promise<void> {
  const { actor, detail } = facts
  await transact(store, ['slice', 'stream'], async client => {
    await append(client, { actor, slice: null, kind: 'control rebuilt', detail })
    // What a command wrote down of the files, and workers that went on of their streams; they wait, and go on from what is
    // written here.
    await client.query('LOCK TABLE banyan.slice, banyan.stream IN SHARE ROW EXCLUSIVE MODE')
    await client.query('DELETE FROM banyan.slice')
    await client.query('DELETE FROM banyan.stream')
    for (const each of facts.slices) {
      await client.query(
        `INSERT INTO banyan.slice (name, number, service, stage, epoch) OVERRIDING SYSTEM VALUE
         VALUES ($1, $2, $3, $4, $5)`,
        [each.name, each.number, each.service, each.stage, each.epoch],
      )
      const { name: slice, detail } = each
      await append(client, { actor, slice, kind: 'slice rebuilt', detail })
    }
    for (const { name, slice, position, error } of facts.streams) {
      await client.query(
        'INSERT INTO banyan.stream (name, slice, state, position, error) VALUES ($1, $2, $3, $4, $5)',
        [
          ...[name, slice],
          // A worker that works on all the while has nothing to begin, and wouldn't say so again.
          error ? 'failed' : position === null ? 'new' : 'streaming',
          position === null ? null : formatLsn(position),
          error && JSON.stringify({ code: error.code, message: error.message, hint: error.hint }),
        ],
      )
    }
    await client.query(
      `SELECT setval(pg_get_serial_sequence('banyan.slice', 'number'), greatest($1::bigint, 1), $1::bigint > 0),
         setval(pg_get_serial_sequence('banyan.orders', 'version'), greatest($2::bigint, 1))`,
      [facts.highestNumber, Math.floor((Date.now() - VERSIONS_SINCE_MS) / 1000)],
    )
  })
}

/** What stands in the way of a rebuild: slices that moved here, or anything in the journal. Empty: nothing was ever done. */
export async function readOwnFacts(store: Store): Promise<string[]> {
  const { rows } = await store.pool.query<{ fact: string }>(
    `SELECT name || ' at ' || stage AS fact FROM banyan.slice WHERE stage <> 'legacy' OR epoch > 0
     UNION ALL (SELECT 'a journal whose last entry is "' || kind || '"' FROM banyan.journal ORDER BY id DESC LIMIT 1)`,
  )
  return rows.map(row => row.fact)
}
