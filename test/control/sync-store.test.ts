/** What a worker says of a stream is written in the order in which it was said. */
import pg from 'pg'
import t from 'tap'
import { createSyncStore } from '../../control/sync-store.ts'
import type { Lsn } from '../../model/position.ts'
import { query, testCluster } from '../support/cluster.ts'
import { controlDatabase } from '../support/three-roles.ts'

void t.test('a stream that has failed has not come further since', async t => {
  const url = await controlDatabase(await testCluster(t))
  const pool = new pg.Pool({ connectionString: url })
  t.teardown(() => pool.end())
  await using store = createSyncStore({ url, pool }, { project: { slices: [] } } as never)
  const told = (stream: string, at: bigint) =>
    store.progress(stream, null, { position: at as Lsn, watermark: at as Lsn, lagMs: 0 })
  const row = async (stream: string) => {
    const sql = 'SELECT state, watermark::text FROM banyan.stream WHERE name = $1'
    return (await query(url, sql, [stream]))[0]
  }
  const problem = { code: 'DIVERGED', message: 'it has', hint: 'look' }
  for (let n = 1; n <= 5; n++) {
    // The first is written at once, the second waits for its turn.
    told('failing', BigInt(10 * n))
    told('failing', BigInt(10 * n + 1))
    await store.state('failing', null, 'failed', { problem })
    // What waited, of whichever stream, has been written when this has.
    told('other', BigInt(2 * n))
    told('other', BigInt(2 * n + 1))
    while ((await row('other'))?.['watermark'] !== `0/${(2 * n + 1).toString(16).toUpperCase()}`);
    t.match(await row('failing'), { state: 'failed' })
  }

  const busy = { code: 'SLOT_BUSY', message: 'for a moment', hint: 'wait' }
  await store.state('failing', null, 'failed', { problem: busy })
  const [kept] = await query(
    url,
    `SELECT error->>'code' AS code FROM banyan.stream WHERE name = 'failing'`,
  )
  t.match(kept, { code: 'DIVERGED' }, 'what passes takes no place of what must be mended')
})
