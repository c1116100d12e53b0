/** Where a stream stands still: at a fence until it is decided, at a barrier until it is let go; and how an idle one moves. */
import t, { type Test } from 'tap'
import { formatLsn, type Lsn, parseLsn } from '../../../model/position.ts'
import { decide, takeFence } from '../../../postgres/gate.ts'
import type { Barrier } from '../../../sync/verify/slice.ts'
import type { TestSlice } from '../../postgres/gate-sides.ts'
import { query } from '../../support/cluster.ts'
import { type Bed, gateSides, streamBed } from './stream-bed.ts'

const sides = await gateSides(t)
const { legacy, service, system } = sides
const legacySql = (sql: string) => query(sides.cluster.url('legacy', 'app'), sql)

async function bedOf(t: Test): Promise<{ slice: TestSlice; bed: Bed }> {
  const slice = await sides.slice()
  const stream = { from: 'legacy', to: 'rooms', what: slice.name }
  return { slice, bed: await streamBed(t, sides, stream, [{ table: slice.table }]) }
}

async function notesIn(url: string, { table }: TestSlice): Promise<string> {
  const rows = await query<{ note: string }>(url, `SELECT note FROM ${table} ORDER BY id`)
  return rows.map(row => row.note).join(' ')
}

const fence = (slice: TestSlice, epoch: number) =>
  takeFence(legacy.apply, {
    slice: slice.name,
    epoch,
    deadlineMs: Date.parse('2100-01-01T00:00:00.125Z'),
    legacy: system,
    service: { identifier: 'another', timeline: 7 },
  })

interface Evidence {
  epoch: string
  kind: string
  position: string
  detail: Record<string, string>
}

const evidenceOf = async (slice: TestSlice): Promise<Evidence[]> =>
  query<Evidence & Record<string, unknown>>(
    service.rootUrl,
    `SELECT epoch::text, kind, position::text, detail FROM banyan.evidence WHERE slice = '${slice.name}'`,
  )

/** A write of the slice that nothing stops: its owner's, past the gate. */
const past = ({ table }: TestSlice, note: string) =>
  legacySql(
    `BEGIN; ALTER TABLE ${table} DISABLE TRIGGER banyan_gate; INSERT INTO ${table} (note) VALUES ('${note}');
     ALTER TABLE ${table} ENABLE ALWAYS TRIGGER banyan_gate; COMMIT`,
  )

/** Resolves once the server has sent the slice's stream all that is committed by now. */
async function sentTo({ name }: TestSlice): Promise<void> {
  const [row] = await query<{ at: string }>(
    legacy.rootUrl,
    'SELECT pg_current_wal_flush_lsn()::text AS at',
  )
  const sent = `SELECT 1 FROM pg_stat_replication
    WHERE application_name LIKE '%rooms\\_${name}' AND sent_lsn >= '${row!.at}'`
  while ((await query(legacy.rootUrl, sent)).length === 0);
}

await t.test(
  'REACHED is a copy of the fence, and commits with the position that it marks',
  async t => {
    const { slice, bed } = await bedOf(t)
    const run = await bed.start()
    await legacySql(`INSERT INTO ${slice.table} (note) VALUES ('one')`)
    await fence(slice, 1)
    await run.until('the fence', () => run.fences.length > 0)
    t.same(run.fences, [1])
    const [row] = await query<{ f: Record<string, string> }>(
      legacy.rootUrl,
      `SELECT to_jsonb(f) AS f FROM banyan.fence f WHERE slice = '${slice.name}'`,
    )
    const [reached, ...more] = await evidenceOf(slice)
    t.same(more, [])
    t.match(reached, { epoch: '1', kind: 'REACHED', position: formatLsn(await bed.position()) })
    t.equal(Date.parse(reached!.detail['deadline']!), Date.parse(row!.f['deadline']!))
    for (const column of ['id', 'slice', 'legacy_identifier', 'service_identifier']) {
      t.equal(reached!.detail[column], row!.f[column], column)
    }
    for (const column of ['epoch', 'legacy_timeline', 'service_timeline']) {
      t.equal(Number(reached!.detail[column]), row!.f[column], column)
    }
    t.equal(await notesIn(service.rootUrl, slice), 'one', 'with all that came before')
    const same = `SELECT (SELECT xmin::text FROM banyan.evidence WHERE slice = '${slice.name}') =
    (SELECT xmin::text FROM banyan.progress WHERE stream LIKE '%:${slice.name}') AS same`
    t.same(await query(service.rootUrl, same), [{ same: true }], 'in one transaction')
  },
)

await t.test('nothing behind a fence is read before it is decided, nor by a successor', async t => {
  const { slice, bed } = await bedOf(t)
  const first = await bed.start()
  await fence(slice, 1)
  await first.until('the fence', () => first.fences.length > 0)
  const at = await bed.position()
  const told = first.progress.length
  await past(slice, 'behind')
  await sentTo(slice)
  await first.stop()
  t.equal(first.progress.length, told, 'what has come since is not read')
  t.same(first.rogue, [])

  const second = await bed.start()
  await second.until('the fence again', () => second.fences.length > 0)
  t.same(second.fences, [1], 'it stands where the other stood')
  t.equal(second.progress.length, 0)
  t.equal(await bed.position(), at)
  t.equal((await evidenceOf(slice)).length, 1)

  await decide(legacy.apply, slice.name, 1, 'ABORTED')
  await second.caughtUp()
  t.equal(await notesIn(service.rootUrl, slice), 'behind', 'aborted: legacy owned it all along')
  t.same(second.rogue, [])
  await second.stop()
  const third = await bed.start()
  await third.caughtUp()
  t.same(third.fences, [], 'a decided fence stops nobody')
})

await t.test('PROMOTED lets it go on, and what is behind the fence is rogue', async t => {
  const { slice, bed } = await bedOf(t)
  const run = await bed.start()
  await fence(slice, 1)
  await run.until('the fence', () => run.fences.length > 0)
  await past(slice, 'behind')
  await decide(legacy.apply, slice.name, 1, 'PROMOTED')
  await run.caughtUp()
  t.match(run.rogue, [{ op: 'c', key: 'id=1', table: slice.table }])
  t.equal(await notesIn(service.rootUrl, slice), '')
})

await t.test('another slice’s fence stops nobody', async t => {
  const { slice, bed } = await bedOf(t)
  const other = await sides.slice()
  const run = await bed.start()
  await fence(other, 1)
  await legacySql(`INSERT INTO ${slice.table} (note) VALUES ('after')`)
  await run.caughtUp()
  t.same(run.fences, [])
  t.same(await evidenceOf(slice), [])
  t.equal(await notesIn(service.rootUrl, slice), 'after')
})

await t.test('a fence that was rolled back never comes', async t => {
  const { slice, bed } = await bedOf(t)
  const run = await bed.start()
  await legacy.apply.query('BEGIN')
  await fence(slice, 1)
  await legacy.apply.query('ROLLBACK')
  await past(slice, 'after')
  await run.caughtUp()
  t.same(run.fences, [])
  t.equal(await notesIn(service.rootUrl, slice), 'after')
})

await t.test('at a barrier all that came before is applied, and nothing behind it', async t => {
  const { slice, bed } = await bedOf(t)
  await legacySql(`INSERT INTO ${slice.table} (note) VALUES ('one'), ('two')`)
  const [row] = await query<{ at: string }>(
    legacy.rootUrl,
    'SELECT pg_current_wal_insert_lsn()::text AS at',
  )
  await legacySql(`INSERT INTO ${slice.table} (note) VALUES ('behind')`)
  let barrier: Barrier | undefined
  const seen = new Promise<string>(resolve => {
    barrier = {
      at: parseLsn(row!.at),
      async reached() {
        barrier = undefined
        resolve(await notesIn(service.rootUrl, slice))
      },
    }
  })
  const run = await bed.start({ barrier: () => barrier })
  t.equal(await seen, 'one two')
  await run.caughtUp()
  t.equal(await notesIn(service.rootUrl, slice), 'one two behind', 'let go, it goes on')
})

await t.test('an idle stream moves its position, no further than it may', async t => {
  const { slice, bed } = await bedOf(t)
  let now = 100_000
  const run = await bed.start({ clock: () => now })
  await legacySql(`INSERT INTO ${slice.table} (note) VALUES ('one')`)
  await run.caughtUp()
  const stored = await bed.position()
  // Others write; the slice doesn't.
  await query(legacy.rootUrl, 'CREATE TABLE public.elsewhere AS SELECT generate_series(1, 1000)')
  await run.caughtUp()
  t.equal(await bed.position(), stored, 'not yet')
  now += 10_000
  const told = run.progress.length
  await run.until('an idle position', () =>
    run.progress.slice(told).some(each => each.position > stored),
  )
  const idle = await bed.position()
  t.ok(idle > stored)
  t.ok(run.progress.every(({ position, watermark }) => position <= watermark))
  await run.stop()
  const again = await bed.start({ clock: () => now })
  await legacySql(`INSERT INTO ${slice.table} (note) VALUES ('two')`)
  await again.caughtUp()
  t.equal(await notesIn(service.rootUrl, slice), 'one two', 'and a successor begins there')
  const [slot] = await query<{ at: string }>(
    legacy.rootUrl,
    `SELECT confirmed_flush_lsn::text AS at FROM pg_replication_slots WHERE slot_name LIKE '%rooms\\_${slice.name}'`,
  )
  const confirmed: Lsn = parseLsn(slot!.at)
  t.ok(confirmed <= (await bed.position()) + 1n, 'the slot keeps what isn’t durable in the target')
})
