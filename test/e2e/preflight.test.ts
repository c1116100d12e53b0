/** The step into `sync` refuses what would hurt the application, before anything is published. */
import t from 'tap'
import { readSlices } from '../../control/store/slices.ts'
import { query } from '../support/cluster.ts'
import { flip, inStep, until } from '../support/flipping.ts'
import { movingSlice } from '../support/moving-slice.ts'

interface Refusal {
  readonly blockers: readonly { readonly code: string; readonly message: string }[]
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
})
