/** Waits for the last reader of a slot to be gone, before its stream is taken over: as long as it reads, it also writes. */
import type pg from 'pg'
import { BanyanError } from '../model/errors.ts'
import { SYNC_ERRORS } from '../model/errors-sync.ts'
import { pause } from '../model/pause.ts'

/** A worker that has lost its claim notices within a fraction of this. */
const WAIT_MS = 2_000
const LOOK_MS = 50

/** `source`: any role's session where the slot is. A slot that isn't there is free. Throws SLOT_BUSY. */
export async function slotFree(
  source: pg.ClientBase,
  slot: string,
  signal: AbortSignal,
): Promise<void> {
  const until = performance.now() + WAIT_MS
  for (;;) {
    const { rows } = await source.query<{ pid: number | null }>(
      'SELECT active_pid AS pid FROM pg_catalog.pg_replication_slots WHERE slot_name = $1',
      [slot],
    )
    const pid = rows[0]?.pid ?? null
    if (pid === null) return
    if (performance.now() > until) {
      throw new BanyanError(SYNC_ERRORS.SLOT_BUSY, [slot, `the connection with pid ${pid}`])
    }
    await pause(LOOK_MS, signal)
    signal.throwIfAborted()
  }
}
