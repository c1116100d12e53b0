/** Transactions that a new slot would wait for: all of the cluster that have written something and are open. */
import type pg from 'pg'
import { pause } from '../../model/pause.ts'

const LOOK_MS = 50
/** Each transaction that has written holds the lock of its own number: seen by every role, in all databases. */
const HOLDS = `l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted`
const NAME = 'banyan verify'
/** What a session is called that waits; whoever looks at the server sees it, whatever his role. */
const WAITING = 'banyan verify waits'

/** Until every transaction is over that had written before the call. Rejects when the signal aborts. */
export async function writersOver(source: pg.ClientBase, signal: AbortSignal): Promise<void> {
  // Not by the snapshot's xmax: the newest of those that are open may be past it.
  const open = async (): Promise<string[]> => {
    const { rows } = await source.query<{ xid: string }>(
      `SELECT l.transactionid::text AS xid FROM pg_catalog.pg_locks l WHERE ${HOLDS}`,
    )
    return rows.map(row => row.xid)
  }
  const before = await open()
  if (before.length === 0) return
  const over = async (): Promise<boolean> => {
    const now = new Set(await open())
    return !before.some(xid => now.has(xid))
  }
  await source.query(`SET application_name = '${WAITING}'`)
  do {
    await pause(LOOK_MS, signal)
    signal.throwIfAborted()
  } while (!(await over()))
  await source.query(`SET application_name = '${NAME}'`)
}

/**
 * The oldest transaction that a verification of this database waits for, as `pid 12, nightly as shop_app`; undefined where
 * none waits. `client`: any role; others' statements are not its to see.
 */
export async function waitedFor(client: pg.ClientBase): Promise<string | undefined> {
  const { rows } = await client.query<{ who: string }>(
    `SELECT CASE WHEN l.pid IS NULL THEN 'a prepared transaction'
        ELSE concat_ws(', ', 'pid ' || l.pid, nullif(a.application_name, '') || ' as ' || a.usename) END AS who
     FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
     WHERE ${HOLDS} AND EXISTS (SELECT FROM pg_catalog.pg_stat_activity w
         WHERE w.application_name = $1 AND w.datname = pg_catalog.current_database())
     ORDER BY pg_catalog.age(l.transactionid) DESC LIMIT 1`,
    [WAITING],
  )
  return rows[0]?.who
}
