/**
 * Writers that come while a fence is being taken, straight to the database, as a job that knows nothing of the façade:
 * they queue at the gate and are refused. Where a gate lets them pass, they commit behind the fence.
 */
import type pg from 'pg'
import { pause } from '../../model/pause.ts'
import { connect } from '../../postgres/connection.ts'
import { LOCK_CLASS } from '../../postgres/sql.ts'
import type { World } from './world.ts'

const WRITERS = 3
const LOOK_MS = 1
/** How long a fence is made to take, so that they can come in its middle. Seconds */
const SLOW_S = 0.03
/** Nobody waits longer for a fence that may never come. */
const PATIENCE_MS = 10_000

export interface Straggler {
  /** All of them have been refused, or have committed. */
  ended(): Promise<void>
}

/** `from`: the stage that the slice leaves, so the side that is closed. */
export async function straggle(world: World, from: 'moved' | 'canary'): Promise<Straggler> {
  const { superuser, owner } = world.demo.databases
  const [database, table] =
    from === 'canary'
      ? (['legacy', 'appointments'] as const)
      : (['scheduling', 'appointment'] as const)
  const watch = await connect({ url: superuser[database], applicationName: 'chaos' })
  await watch.query(`
    CREATE OR REPLACE FUNCTION chaos.slow() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN PERFORM pg_catalog.pg_sleep(${SLOW_S}); RETURN NEW; END $$;
    GRANT USAGE ON SCHEMA chaos TO PUBLIC;
    CREATE OR REPLACE TRIGGER chaos_slow BEFORE INSERT ON banyan.fence FOR EACH ROW EXECUTE FUNCTION chaos.slow()`)
  const writers: pg.Client[] = []
  for (let n = 0; n < WRITERS; n++) {
    writers.push(await connect({ url: owner[database], applicationName: 'chaos straggler' }))
  }
  const ended = come(watch, writers, table).finally(async () => {
    for (const each of [watch, ...writers]) await each.end().catch(() => undefined)
  })
  // A database that dies takes them along.
  ended.catch(() => undefined)
  return { ended: () => ended.catch(() => undefined) }
}

async function come(watch: pg.Client, writers: readonly pg.Client[], table: string): Promise<void> {
  const fences = async (): Promise<string> => {
    const { rows } = await watch.query<{ n: string }>(
      'SELECT count(*)::text AS n FROM banyan.fence',
    )
    return rows[0]!.n
  }
  const before = await fences()
  const until = performance.now() + PATIENCE_MS
  const soon = async (test: () => Promise<boolean>): Promise<void> => {
    while (performance.now() < until && !(await test())) await pause(LOOK_MS)
  }
  await soon(async () => {
    const { rowCount } = await watch.query(
      `SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND classid = ${LOCK_CLASS} AND mode = 'ExclusiveLock' AND granted`,
    )
    return rowCount !== 0
  })
  let fenced: Promise<void> | undefined
  await Promise.all(
    writers.map(async (client, n) => {
      await client.query('BEGIN')
      const wrote = await client
        .query(
          `UPDATE public.${table} SET version = version WHERE id = (SELECT id FROM public.${table} ORDER BY id LIMIT 1 OFFSET $1)`,
          [n],
        )
        .then(
          () => true,
          () => false,
        )
      // It passed the gate: it ends when the fence is there.
      if (wrote) await (fenced ??= soon(async () => (await fences()) !== before))
      await client.query(wrote ? 'COMMIT' : 'ROLLBACK')
    }),
  )
}
