/** Keys that cross a moved slice: what legacy no longer refuses is announced, counted, and said until it is mended. */
import t from 'tap'
import { runDoctor } from '../../scripts/doctor.ts'
import { runFlip } from '../../scripts/flip.ts'
import { runPlan } from '../../scripts/plan.ts'
import { runStatus } from '../../scripts/status.ts'
import { runVerify } from '../../scripts/verify.ts'
import { runWhy } from '../../scripts/why.ts'
import { query } from '../support/cluster.ts'
import { flip, toCanary, until } from '../support/flipping.ts'
import { Clients, movingSlice } from '../support/moving-slice.ts'
import { controllerOf, flat, projectOf } from '../support/screen.ts'

await t.test('orphans of keys that cross a moved slice', async t => {
  const moving = await movingSlice(t, {
    settings: { fsync: 'on' },
    slice: text =>
      text.replace('bills.visit_id: loose', 'bills.visit_id: check, notes.visit_id: loose'),
    made: (url, side) =>
      side === 'service'
        ? Promise.resolve()
        : query(
            url,
            `SET ROLE app; CREATE TABLE notes (id bigint PRIMARY KEY, visit_id bigint REFERENCES visits);
             INSERT INTO notes VALUES (1, 1), (2, 1), (3, 3); INSERT INTO bills (visit_id) VALUES (1), (3)`,
          ),
  })
  await controllerOf(moving)
  const project = await projectOf(t, moving)
  new Clients(t, moving, 0)
  const doctor = async () => {
    const { exit, text } = await project.run(context => runDoctor(context, 'visits'))
    return { exit, text, flat: flat(text) }
  }
  await toCanary(t, moving)
  await project.want('canary')

  await t.test('the plan and doctor say so before the move, and stop nobody', async t => {
    const note =
      /! (once moved: )?bills\.visit_id: legacy no longer refuses the delete of a row of visits that bills still names, since rooms makes it/
    const plan = await project.run(context => runPlan(context, 'visits', 'moved'))
    t.equal(plan.exit, 0)
    t.match(plan.text.replaceAll(/\n +/g, ' '), note)
    const { exit, flat } = await doctor()
    t.equal(exit, 0)
    t.match(flat, note)
  })

  t.match(await flip(moving, 'moved'), { outcome: 'done', error: null })
  await project.want('moved')
  await query(moving.service, 'DELETE FROM visit WHERE id = 1')
  await until(moving, 'the delete in legacy', async () => {
    return (await query(moving.legacy, 'SELECT FROM visits WHERE id = 1')).length === 0
  })

  await t.test(
    'at moved verify counts both, and doctor those of the key that is there',
    async t => {
      const verified = await project.run(context => runVerify(context, 'visits'))
      t.equal(verified.exit, 0)
      t.match(
        flat(verified.text),
        '! legacy: bills.visit_id: 1 row has no parent in visits, while the key bills_visit_id_fkey says that all have one',
      )
      t.match(
        flat(verified.text),
        '! legacy: notes.visit_id: 2 rows have no parent in visits, the key notes_visit_id_fkey is dropped until the slice is back',
      )
      const json = await project.run(context => runVerify(context, 'visits'), { json: true })
      t.match(JSON.parse(json.text), {
        orphans: [
          { key: 'bills.visit_id', state: 'valid', rows: 1 },
          { key: 'notes.visit_id', state: 'dropped', rows: 2 },
        ],
      })
      const { exit, flat: said } = await doctor()
      t.equal(exit, 3)
      t.match(said, /✖ ORPHANS {2}legacy: bills\.visit_id: 1 row has/)
      t.notMatch(said, 'notes.visit_id')
    },
  )

  const whole = 'as setup: ALTER TABLE "public"."notes" VALIDATE CONSTRAINT "notes_visit_id_fkey"'
  await t.test('the way back says which key did not come back whole', async t => {
    moving.want('canary')
    const back = await project.run(context => runFlip(context, 'visits', 'canary', {}))
    t.equal(back.exit, 0)
    const said = flat(back.text)
    t.match(said, '! legacy: bills.visit_id: 1 row has no parent in visits')
    t.match(said, '! legacy: notes.visit_id: 2 rows have no parent in visits, and the key')
    t.match(said, whole)
  })

  await t.test('status and why go on saying so', async t => {
    const line = '! notes.visit_id: the foreign key notes_visit_id_fkey of legacy is NOT VALID'
    const status = await project.run(context => runStatus(context, 'visits', false))
    t.match(status.text.replaceAll(/\n +/g, ' '), line)
    const why = await project.run(context => runWhy(context, 'visits'))
    t.match(why.text.replaceAll(/\n +/g, ' '), line)
  })

  await t.test('doctor finds the rows, and is content once they are mended', async t => {
    const { exit, flat: said } = await doctor()
    t.equal(exit, 3)
    t.match(said, /✖ ORPHANS {2}legacy: notes\.visit_id: 2 rows have .* is NOT VALID/)
    const selects = [...said.matchAll(/SELECT c\.\* FROM "public"\."(\w+)" .*?\)(?=; then)/g)]
    t.strictSame(
      selects.map(each => each[1]),
      ['bills', 'notes'],
    )
    for (const [select, table] of selects) {
      const rows = await query<{ id: string }>(moving.legacy, select)
      t.equal(rows.length, table === 'bills' ? 1 : 2)
      await query(moving.legacy, `DELETE FROM ${table} WHERE id = ANY ($1)`, [
        rows.map(each => each.id),
      ])
    }
    const counted = await doctor()
    t.match(counted.flat, 'notes.visit_id: every row has its parent, and the key')
    t.match(counted.flat, whole)
    await query(
      moving.wiring.legacy.setup,
      'ALTER TABLE "public"."notes" VALIDATE CONSTRAINT "notes_visit_id_fkey"',
    )
    t.equal((await doctor()).exit, 0)
  })
})
