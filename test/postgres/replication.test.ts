import t, { type Test } from 'tap'
import { UNCHANGED } from '../../model/change.ts'
import { testCluster } from '../support/cluster.ts'
import { StreamReader } from '../support/stream-reader.ts'
import { streamSource } from '../support/stream-source.ts'

const cluster = await testCluster(t)
await cluster.createRole('capture', { traits: 'REPLICATION' })
const source = (t: Test) => streamSource(t, cluster)

await t.test('transactions arrive whole, in commit order, with text values', async t => {
  const db = await source(t)
  const from = await db.slot('whole')
  const reader = new StreamReader(await db.open({ slot: 'whole', from }))
  await db.sql(`INSERT INTO notes VALUES (9007199254740993, 'grüße 🌳'), (2, NULL), (3, '')`)
  await db.sql(`BEGIN; UPDATE notes SET n = 7 WHERE id = 2; DELETE FROM notes WHERE id = 3; COMMIT`)
  await db.sql(`UPDATE notes SET id = 4 WHERE id = 2; TRUNCATE notes`)
  await reader.until(r => r.transactions.length === 3, 'three transactions')
  const [first, second, third] = reader.transactions
  t.strictSame(
    first?.changes.map(each => each.after?.get('id')),
    ['9007199254740993', '2', '3'],
  )
  t.strictSame(
    first?.changes.map(each => each.after?.get('body')),
    ['grüße 🌳', null, ''],
  )
  t.strictSame(
    second?.changes.map(each => each.op),
    ['u', 'd'],
  )
  t.strictSame(second?.changes[0]?.before, null)
  t.strictSame(second?.changes[1]?.before, new Map([['id', '3']]))
  t.strictSame(
    third?.changes.map(each => each.op),
    ['u', 't'],
  )
  t.strictSame(third?.changes[0]?.before, new Map([['id', '2']]))
  t.strictSame(third?.changes[0]?.key, ['id'])
  for (const each of reader.transactions) t.ok(each.end > each.commitLsn)
})

await t.test('a large value that did not change is not sent, and says so', async t => {
  const db = await source(t)
  await db.sql(`INSERT INTO notes VALUES (1, repeat('x', 9000))`)
  const from = await db.slot('toast')
  const reader = new StreamReader(await db.open({ slot: 'toast', from }))
  await db.sql(`UPDATE notes SET n = 1`)
  await db.sql(`UPDATE notes SET id = 2`)
  await db.sql(`ALTER TABLE notes REPLICA IDENTITY FULL`)
  await db.sql(`UPDATE notes SET n = 3`)
  await reader.until(r => r.changes.length === 3, 'three updates')
  const [plain, moved, full] = reader.changes
  t.equal(plain?.after?.get('body'), UNCHANGED)
  t.equal(moved?.after?.get('body'), UNCHANGED)
  t.equal((full?.after?.get('body') as string).length, 9000, 'the old row has it')
})

await t.test(
  'messages arrive in place, and those outside a transaction even when it was aborted',
  async t => {
    const db = await source(t)
    const from = await db.slot('messages')
    const reader = new StreamReader(await db.open({ slot: 'messages', from }))
    await db.sql(`BEGIN; SELECT pg_logical_emit_message(true, 'a', 'first');
    INSERT INTO notes VALUES (1); SELECT pg_logical_emit_message(true, 'a', 'last'); COMMIT`)
    await db.sql(`BEGIN; SELECT pg_logical_emit_message(true, 'a', 'gone');
    SELECT pg_logical_emit_message(false, 'b', 'refused ✋'); ROLLBACK`)
    await db.sql(`INSERT INTO notes VALUES (2)`)
    await reader.until(r => r.transactions.length === 2, 'two transactions')
    const told = reader.events.flatMap(each =>
      each.kind === 'message'
        ? [`${each.prefix} ${each.content} ${each.transactional}`]
        : each.kind === 'idle'
          ? []
          : [each.kind],
    )
    t.strictSame(told, [
      ...['begin', 'a first true', 'change', 'a last true', 'commit'],
      ...['b refused ✋ false', 'begin', 'change', 'commit'],
    ])
  },
)

await t.test('several publications come through one slot in commit order', async t => {
  const db = await source(t)
  const from = await db.slot('two')
  const publications = ['p', 'q']
  const reader = new StreamReader(await db.open({ slot: 'two', from, publications }))
  await db.sql(`INSERT INTO notes VALUES (1)`)
  await db.sql(`INSERT INTO other VALUES (1)`)
  await db.sql(`BEGIN; INSERT INTO other VALUES (2); INSERT INTO notes VALUES (2); COMMIT`)
  await reader.until(r => r.transactions.length === 3, 'three transactions')
  const tables = reader.transactions.map(each => each.changes.map(change => change.table))
  t.strictSame(tables, [['notes'], ['other'], ['other', 'notes']])
})

await t.test(
  'values keep the text that the source prints, whatever role and database say',
  async t => {
    const db = await source(t)
    await db.sql(`CREATE TABLE kinds (id uuid, part int, n numeric, at timestamptz, span interval, data bytea,
    list text[], f float8, PRIMARY KEY (id, part)); ALTER PUBLICATION p ADD TABLE kinds;
    ALTER ROLE capture SET timezone = 'Asia/Kolkata'; ALTER ROLE capture SET datestyle = 'German';
    ALTER ROLE capture SET intervalstyle = 'iso_8601'; ALTER ROLE capture SET bytea_output = 'escape';
    ALTER ROLE capture SET extra_float_digits = -5`)
    t.teardown(() => db.sql('ALTER ROLE capture RESET ALL'))
    const from = await db.slot('kinds')
    const reader = new StreamReader(await db.open({ slot: 'kinds', from }))
    const id = '6b1f3a52-8a5c-4b0e-9a54-0d6f4a1a3c11'
    await db.sql(`INSERT INTO kinds VALUES ('${id}', 1, 1.10, '2024-06-11 12:00:00.123456+02', '1 day -02:03',
    '\\x00ff', ARRAY['a,b', NULL, '"', '\\N'], 0.1), ('${id}', 2, 'NaN', 'infinity', NULL, '', '{}', '-0')`)
    await db.sql(`UPDATE kinds SET part = 3 WHERE part = 2`)
    await reader.until(r => r.changes.length === 3, 'three changes')
    const [first, second, moved] = reader.changes
    t.strictSame(
      [...first!.after!.values()],
      [
        id,
        '1',
        '1.10',
        '2024-06-11 10:00:00.123456+00',
        '1 day -02:03:00',
        '\\x00ff',
        '{"a,b",NULL,"\\"","\\\\N"}',
        '0.1',
      ],
    )
    t.strictSame(
      [...second!.after!.values()],
      [id, '2', 'NaN', 'infinity', null, '\\x', '{}', '-0'],
    )
    t.strictSame(moved?.key, ['id', 'part'])
    t.strictSame(
      moved?.before,
      new Map([
        ['id', id],
        ['part', '2'],
      ]),
    )
  },
)

await t.test('a large backlog passes quickly', async t => {
  const db = await source(t)
  const from = await db.slot('speed')
  await db.sql(`INSERT INTO notes SELECT i, md5(i::text), i FROM generate_series(1, 50000) i`)
  const stream = await db.open({ slot: 'speed', from })
  const start = performance.now()
  let changes = 0
  for await (const event of stream.events()) {
    if (event.kind === 'change') changes += 1
    if (event.kind === 'commit') break
  }
  const perSecond = Math.round((changes / (performance.now() - start)) * 1000)
  t.equal(changes, 50_000)
  t.comment(`${perSecond} rows a second`)
})
