/** Advisory locks that stand for a whole process: whoever holds one speaks in its session, and one that doesn't is ended. */
import type pg from 'pg'
import { cut } from '../postgres/connection.ts'

/** How often a holder speaks. */
const BEAT_MS = 200

/**
 * A holder that was silent this long is ended by whoever waits for its lock. A process that is stopped, or whose machine
 * is gone without a goodbye, keeps its session and with it the lock; a pause that is shorter (a busy machine) costs nobody
 * anything, and one that is longer only a change of hands.
 */
export const HOLDER_SILENT_MS = 1_000

/**
 * Speaks in the session until disposed, so that others see its holder live. `onLost`: the session failed, or isn't
 * answered any more; it is cut then. `ask`: for a session that others use too, one at a time.
 */
export function speak(
  session: pg.Client,
  onLost: (error: Error) => void,
  ask: () => Promise<unknown> = () => session.query('SELECT'),
): Disposable {
  let askedAt: number | undefined
  const lose = (error: Error): void => {
    clearInterval(timer)
    cut(session)
    onLost(error)
  }
  const timer = setInterval(() => {
    if (askedAt !== undefined) {
      if (performance.now() - askedAt > HOLDER_SILENT_MS) lose(new Error('no answer'))
      return
    }
    askedAt = performance.now()
    ask().then(() => (askedAt = undefined), lose)
  }, BEAT_MS)
  timer.unref()
  return { [Symbol.dispose]: () => clearInterval(timer) }
}

/** A lock's first key; and the second, where only that one is meant. */
export interface AdvisoryLock {
  readonly classId: number
  readonly objId?: number
}

/** True for a holder that has said nothing for HOLDER_SILENT_MS; false also where the server doesn't say. */
export const SILENT = `coalesce(a.state_change < pg_catalog.clock_timestamp() - interval '${HOLDER_SILENT_MS} ms', false)`

/**
 * Ends the sessions that hold such a lock and are silent. True if there was one: its locks are free in a moment. A role
 * may end its own sessions; another role's are left alone.
 */
export async function endSilent(session: pg.ClientBase, lock: AdvisoryLock): Promise<boolean> {
  const { rowCount } = await session
    .query(
      `SELECT pg_catalog.pg_terminate_backend(a.pid) FROM pg_catalog.pg_stat_activity a
       WHERE a.datname = pg_catalog.current_database() AND a.pid <> pg_catalog.pg_backend_pid() AND ${SILENT}
         AND EXISTS (SELECT 1 FROM pg_catalog.pg_locks l WHERE l.pid = a.pid AND l.locktype = 'advisory' AND l.granted
           AND l.classid = $1::bigint::oid AND ($2::bigint IS NULL OR l.objid = $2::bigint::oid))`,
      [lock.classId, lock.objId ?? null],
    )
    .catch((error: unknown) => {
      if ((error as { code?: unknown }).code === '42501') return { rowCount: 0 }
      throw error
    })
  return (rowCount ?? 0) > 0
}
