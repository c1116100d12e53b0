/** A service whose key is GENERATED ALWAYS: the server refuses an UPDATE that sets it, even to what it is. */
import t from 'tap'
import { readSlices } from '../../control/store/slices.ts'
import { readStreams } from '../../control/store/streams.ts'
import { query } from '../support/cluster.ts'
import { flip, inStep, until } from '../support/flipping.ts'
import { movingSlice } from '../support/moving-slice.ts'

await t.test('rows with a key that is GENERATED ALWAYS are kept in step', async t => {
  const moving = await movingSlice(t)
  await query(
    moving.service,
    `ALTER TABLE visit ALTER id DROP DEFAULT;
     ALTER TABLE visit ALTER id ADD GENERATED ALWAYS AS IDENTITY, ALTER note SET STORAGE EXTERNAL,
       ADD own uuid NOT NULL DEFAULT gen_random_uuid()`,
  )
  await query(
    moving.legacy,
    `ALTER TABLE visits ALTER note SET STORAGE EXTERNAL;
     UPDATE visits SET note = repeat('y', 9000) WHERE id < 4`,
  )
  await until(moving, 'the slice', async () => (await readSlices(moving.store.pool)).length > 0)
  t.match(await flip(moving, 'sync'), { outcome: 'done', error: null })
  await inStep(moving)
  const own = (id: number) => query(moving.service, 'SELECT own FROM visit WHERE id = $1', [id])
  const rows = async (url: string, table: string, doctor: string) =>
    (
      await query<{ rows: string }>(
        url,
        `SELECT md5(string_agg(ROW(id, op, ${doctor}, note, version)::text, ',' ORDER BY id)) AS rows FROM ${table}`,
      )
    )[0]?.rows
  const before = await own(2)
  for (const sql of [
    `UPDATE visits SET note = 'short' WHERE id = 1`,
    'UPDATE visits SET version = version + 1',
    'UPDATE visits SET id = id + 100000, version = 7 WHERE id = 2',
    'INSERT INTO visits (op, doctor_id) VALUES (gen_random_uuid(), 1)',
    'DELETE FROM visits WHERE id = 3',
  ]) {
    await query(moving.legacy, sql)
  }
  await until(moving, 'both sides are equal', async () => {
    const stopped = (await readStreams(moving.store)).find(each => each.error !== null)
    if (stopped) throw new Error(stopped.error?.message)
    const [here, there] = await Promise.all([
      rows(moving.legacy, 'visits', 'doctor_id'),
      rows(moving.service, 'visit', 'physician_id'),
    ])
    return here === there
  })
  t.strictSame(await own(100_002), before, 'a column of the service alone keeps its value')
})
