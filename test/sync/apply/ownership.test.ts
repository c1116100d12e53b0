/** Whose changes a stream repeats: by who owned the slice where they were made, not when they are read. */
import t, { type Test } from 'tap'
import { parseLsn } from '../../../model/position.ts'
import type { SideHandle, TestSlice } from '../../postgres/gate-sides.ts'
import { query } from '../../support/cluster.ts'
import { type Bed, gateSides, streamBed } from './stream-bed.ts'
import { promote } from './promotion.ts'

const sides = await gateSides(t)
const { legacy, service } = sides
const databaseOf = ({ side }: SideHandle) => (side === 'legacy' ? 'legacy' : 'rooms')
const asOwner = (at: SideHandle, sql: string) =>
  query(sides.cluster.url(databaseOf(at), 'app'), sql)

interface Moving {
  readonly slice: TestSlice
  readonly forward: Bed
  readonly reverse: Bed
}

async function movingSlice(t: Test): Promise<Moving> {
  const slice = await sides.slice()
  const carried = [{ table: slice.table }]
  const [from, to] = ['legacy', 'rooms']
  return {
    slice,
    forward: await streamBed(t, sides, { from, to, what: slice.name }, carried),
    reverse: await streamBed(t, sides, { from: to, to: from, what: slice.name }, carried),
  }
}

/** Past the gate, as its owner can. */
const rogueWrite = (at: SideHandle, { table }: TestSlice, sql: string) =>
  asOwner(
    at,
    `BEGIN; ALTER TABLE ${table} DISABLE TRIGGER banyan_gate; ${sql};
     ALTER TABLE ${table} ENABLE ALWAYS TRIGGER banyan_gate; COMMIT`,
  )

async function notesIn(at: SideHandle, { table }: TestSlice): Promise<string> {
  const rows = await query<{ note: string }>(at.rootUrl, `SELECT note FROM ${table} ORDER BY id`)
  return rows.map(row => row.note).join(' ')
}

await t.test('what the owner writes crosses once, and doesn’t come back', async t => {
  const { slice, forward, reverse } = await movingSlice(t)
  const [there, back] = [await forward.start(), await reverse.start()]
  await asOwner(
    legacy,
    `INSERT INTO ${slice.table} (note) VALUES ('one'), ('two'); UPDATE ${slice.table} SET note = note || '!'; DELETE FROM ${slice.table} WHERE id = 2`,
  )
  const versions = `SELECT xmin::text AS version FROM ${slice.table}`
  const before = await query(legacy.rootUrl, versions)
  await there.caughtUp()
  await back.caughtUp()
  t.equal(await notesIn(service, slice), 'one!')
  t.same([...there.rogue, ...back.rogue], [], 'an echo is no rogue write')
  t.same(await query(legacy.rootUrl, versions), before, 'the owner’s rows are untouched')
})

await t.test('a write past the gate is listed with its key, and never applied', async t => {
  const { slice, forward, reverse } = await movingSlice(t)
  const [there, back] = [await forward.start(), await reverse.start()]
  await asOwner(legacy, `INSERT INTO ${slice.table} (note) VALUES ('one')`)
  await there.caughtUp()
  const before = await query<{ at: string }>(
    legacy.rootUrl,
    'SELECT pg_current_wal_flush_lsn()::text AS at',
  )
  await rogueWrite(
    service,
    slice,
    `UPDATE ${slice.table} SET note = 'rogue'; INSERT INTO ${slice.table} (id, note) VALUES (7, 'secret'); DELETE FROM ${slice.table} WHERE id = 1`,
  )
  await back.caughtUp()
  t.match(back.rogue, [
    { table: slice.table, op: 'u', key: 'id=1' },
    { table: slice.table, op: 'c', key: 'id=7' },
    { table: slice.table, op: 'd', key: 'id=1' },
  ])
  t.ok(back.rogue.every(each => each.position > parseLsn(before[0]!.at)))
  t.equal(await notesIn(legacy, slice), 'one', 'the owner’s rows are as they were')
  t.ok((await reverse.position()) >= back.rogue[0]!.position, 'and the stream has gone on')
})

await t.test(
  'what was written before the side owned stays rogue, however late it is read',
  async t => {
    const moving = await movingSlice(t)
    const { slice, forward, reverse } = moving
    await rogueWrite(
      service,
      slice,
      `INSERT INTO ${slice.table} (id, note) VALUES (1, 'too early')`,
    )
    await promote(sides, slice, await forward.start())
    await asOwner(service, `INSERT INTO ${slice.table} (id, note) VALUES (2, 'owned')`)
    const run = await reverse.start()
    await run.caughtUp()
    t.match(run.rogue, [{ op: 'c', key: 'id=1' }])
    t.equal(run.rogue.length, 1)
    t.equal(await notesIn(legacy, slice), 'owned')
  },
)

await t.test('a stream learns by itself that its source has become the owner', async t => {
  const moving = await movingSlice(t)
  const { slice, forward, reverse } = moving
  const run = await reverse.start()
  await run.caughtUp()
  await promote(sides, slice, await forward.start())
  await asOwner(service, `INSERT INTO ${slice.table} (id, note) VALUES (2, 'owned')`)
  await run.caughtUp()
  t.same(run.rogue, [])
  t.equal(await notesIn(legacy, slice), 'owned')
})

await t.test('and that it no longer is: what comes after is rogue', async t => {
  const moving = await movingSlice(t)
  const { slice, forward } = moving
  const run = await forward.start()
  await asOwner(legacy, `INSERT INTO ${slice.table} (note) VALUES ('owned')`)
  await promote(sides, slice, run)
  await rogueWrite(legacy, slice, `UPDATE ${slice.table} SET note = 'rogue'`)
  await run.caughtUp()
  t.match(run.rogue, [{ op: 'u', key: 'id=1' }])
  t.equal(run.rogue.length, 1)
  t.equal(await notesIn(service, slice), 'owned')
})
