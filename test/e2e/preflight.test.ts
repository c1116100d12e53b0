/** The step into `sync` refuses what would hurt the application, before anything is published. */
import t from 'tap'
import { readSlices } from '../../control/store/slices.ts'
import { query } from '../support/cluster.ts'
import { flip, inStep, toCanary, until } from '../support/flipping.ts'
import { Clients, movingSlice } from '../support/moving-slice.ts'

interface Refusal {
  readonly blockers: readonly Record<'code' | 'message' | 'hint', string>[]
}

await t.test('a read copy whose table has no key is named, and nothing is published', async t => {
  const moving = await movingSlice(t)
  await query(moving.legacy, 'ALTER TABLE doctors DROP CONSTRAINT doctors_pkey CASCADE')
  await until(moving, 'the slice', async () => (await readSlices(moving.store.pool)).length > 0)
  const refused = await flip(moving, 'sync')
  t.equal(refused.outcome, 'refused')
  const { blockers } = refused.error as unknown as Refusal
  t.strictSame(
    blockers.map(each => each.code),
    ['NO_IDENTITY'],
  )
  t.match(blockers[0]?.message, /public\.doctors/)
  await query(moving.legacy, `UPDATE doctors SET name = 'new'`)
})

await t.test('what a row of the service could not fill in legacy blocks the move', async t => {
  const moving = await movingSlice(t)
  await query(
    moving.legacy,
    `ALTER TABLE visits ADD extra text NOT NULL DEFAULT ''; ALTER TABLE visits ALTER extra DROP DEFAULT`,
  )
  await until(moving, 'the slice', async () => (await readSlices(moving.store.pool)).length > 0)
  t.match(await flip(moving, 'sync'), { outcome: 'done', error: null })
  await inStep(moving)
  for (const stage of ['shadow', 'canary'] as const) {
    t.match(await flip(moving, stage), { outcome: 'done', error: null })
  }
  const asked = async () => {
    const refused = await flip(moving, 'moved')
    t.equal(refused.outcome, 'refused')
    return (refused.error as unknown as Refusal).blockers
  }
  const found = (await asked()).filter(each => each.code === 'MAPPING_ONE_WAY')
  t.equal(found.length, 1)
  t.match(found[0]?.message, /public\.visits\.extra .*\(slices\/visits\.yaml:5:3\)/)
  await query(moving.legacy, `ALTER TABLE visits ALTER extra SET DEFAULT ''`)
  const left = await asked()
  t.notOk(left.some(each => each.code === 'MAPPING_ONE_WAY'))
  const unasked = left.find(each => each.code === 'COLUMN_LEFT')
  t.match(unasked?.message, /public\.visits\.extra .*\(slices\/visits\.yaml:5:3\)/)
  t.match(
    unasked?.hint,
    '`visits: { to: visit, columns: { doctor_id: physician_id, extra: false } }`',
  )
})

await t.test('a column that the file leaves behind is carried in neither direction', async t => {
  const moving = await movingSlice(t, {
    slice: text => text.replace('physician_id }', 'physician_id, memo: false }'),
    made: (url, side) =>
      query(
        url,
        `ALTER TABLE ${side === 'legacy' ? 'visits' : 'visit'} ADD memo text DEFAULT '${side}'`,
      ),
  })
  new Clients(t, moving, 1)
  await toCanary(t, moving)
  t.match(await flip(moving, 'moved'), { outcome: 'done', error: null })
  await moving.serviceApp.query(
    `UPDATE visit SET note = 'seen', memo = 'mine' WHERE id = 1 OR id = 2;
     INSERT INTO visit (op, physician_id, note, memo) VALUES (gen_random_uuid(), 1, 'seen', 'mine')`,
  )
  const seen = () => query(moving.legacy, `SELECT memo FROM visits WHERE note = 'seen'`)
  await until(moving, 'them in legacy', async () => (await seen()).length === 3)
  t.strictSame(await seen(), [{ memo: 'legacy' }, { memo: 'legacy' }, { memo: 'legacy' }])
  t.strictSame(await query(moving.service, `SELECT DISTINCT memo FROM visit ORDER BY memo`), [
    { memo: 'mine' },
    { memo: 'service' },
  ])
})
