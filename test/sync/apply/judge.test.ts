/** Whose a change is: pure, and from what the databases say of the owner. */
import t from 'tap'
import type { Change, Row, Value } from '../../../model/change.ts'
import { type Lsn, LSN_ZERO, parseLsn } from '../../../model/position.ts'
import { COPIES, formatStream, parseStream } from '../../../model/stream.ts'
import { prepare } from '../../../postgres/gate.ts'
import { fenceOf, type Judgement, judge, markOf } from '../../../sync/apply/judge.ts'
import { ownsAfter } from '../../../sync/apply/owner.ts'
import { gateSides, preparation, put } from '../../postgres/gate-sides.ts'

const FORWARD = { from: 'legacy', to: 'rooms', what: 'visits' }
const HERE = 1000n as Lsn

// prettier-ignore
const CASES: readonly (readonly [because: string, mark: string | null, ownsAfter: bigint | null, judgement: Judgement])[] = [
  ['an application of the owner wrote it', null, 0n, 'apply'],
  ['right after the side became the owner', null, 999n, 'apply'],
  ['at the very position of PREPARED: not yet the owner', null, 1000n, 'rogue'],
  ['before the side became the owner, however late it is judged', null, 1001n, 'rogue'],
  ['the side isn’t the owner', null, null, 'rogue'],
  ['the twin stream brought it', 'rooms>legacy:visits', 0n, 'echo'],
  ['the twin brought it: no rogue, though the side isn’t the owner', 'rooms>legacy:visits', null, 'echo'],
  ['the twin brought it before', 'rooms>legacy:visits', 2000n, 'echo'],
  ['another slice’s stream from there: first-hand to this one', 'rooms>legacy:billing', 0n, 'apply'],
  ['another service’s stream', 'people>legacy:visits', 0n, 'apply'],
  ['another service’s stream, and the side isn’t the owner', 'people>legacy:visits', null, 'rogue'],
  ['this stream’s own mark, which can’t come back to it', 'legacy>rooms:visits', 0n, 'apply'],
]

void t.test('a change is applied, passed over or listed', async t => {
  for (const [because, mark, owns, judgement] of CASES) {
    const facts = {
      stream: FORWARD,
      mark: mark === null ? undefined : parseStream(mark),
      commitLsn: HERE,
      ownsAfter: owns as Lsn | null,
    }
    t.equal(judge(facts), judgement, because)
  }
})

void t.test('read copies are first-hand whoever wrote them', async t => {
  const stream = { from: 'legacy', to: 'rooms', what: COPIES }
  for (const mark of [undefined, 'people>legacy:patients', 'rooms>legacy:visits']) {
    const facts = { stream, mark: mark ? parseStream(mark) : undefined, commitLsn: HERE }
    t.equal(judge({ ...facts, ownsAfter: LSN_ZERO }), 'apply', mark ?? 'an application')
  }
})

const row = (columns: Record<string, Value>): Row => new Map(Object.entries(columns))
const change = (table: string, after: Row | null, more: Partial<Change> = {}): Change => {
  const [schema, name] = table.split('.') as [string, string]
  return { op: 'u', schema, table: name, before: null, after, key: ['stream'], ...more }
}

void t.test('a transaction is marked by a progress row, if it begins with one', async t => {
  const name = formatStream(FORWARD)
  const marked = change('banyan.progress', row({ stream: name, position: '0/1' }))
  t.same(markOf(marked), FORWARD)
  t.same(markOf({ ...marked, op: 'c' }), FORWARD, 'also a new one')
  t.equal(markOf(change('banyan.fence', row({ stream: name }))), undefined)
  t.equal(markOf(change('public.progress', row({ stream: name }))), undefined, 'not ours')
  t.equal(markOf(change('banyan.progress', row({ stream: 'no stream' }))), undefined)
  t.equal(
    markOf(change('banyan.progress', null, { op: 'd' })),
    undefined,
    'a stream that was ended',
  )
})

void t.test('a fence is its row, written once, of this slice', async t => {
  const fence = change('banyan.fence', row({ slice: 'visits', epoch: '12' }), { op: 'c' })
  t.equal(fenceOf(fence, 'visits'), 12)
  t.equal(fenceOf(fence, 'billing'), undefined)
  t.equal(fenceOf({ ...fence, op: 'u' }, 'visits'), undefined)
  t.equal(fenceOf({ ...fence, op: 'd', after: null }, 'visits'), undefined)
  t.equal(fenceOf({ ...fence, schema: 'public' }, 'visits'), undefined)
})

void t.test('the latest PROMOTED says who owns, and PREPARED from where on', async t => {
  const sides = await gateSides(t)
  const { legacy, service, system } = sides
  const slice = await sides.slice()
  const clients = { slice: slice.name, legacy: legacy.apply, service: service.apply }
  const owns = async () => [
    await ownsAfter({ ...clients, side: 'legacy' }),
    await ownsAfter({ ...clients, side: 'service' }),
  ]
  const here = async (at: typeof legacy) => {
    const { rows } = await at.root.query<{ at: string }>(
      'SELECT pg_current_wal_insert_lsn()::text AS at',
    )
    return parseLsn(rows[0]!.at)
  }
  const between = async (at: typeof legacy, epoch: number) => {
    const before = await here(at)
    await prepare(at.apply, preparation(at.side, slice, epoch))
    const after = await here(at)
    return (lsn: Lsn | null | undefined) =>
      lsn !== null && lsn !== undefined && before <= lsn && lsn <= after
  }

  t.same(await owns(), [LSN_ZERO, null], 'nothing was ever decided: legacy, from the beginning')
  await put(legacy, slice, system, 'open 1, FENCED 1, ABORTED 1')
  t.same(await owns(), [LSN_ZERO, null], 'ABORTED moves nothing')

  await put(legacy, slice, system, 'closed 2, FENCED 1, ABORTED 1, FENCED 2, PROMOTED 2')
  t.same(await owns(), [null, null], 'promoted, and not yet seen to be prepared: nobody’s')
  await put(service, slice, system, 'closed 0, REACHED 2@A, progress 0@A')
  const there = await between(service, 2)
  const [no, since] = await owns()
  t.equal(no, null)
  t.ok(there(since), 'the service, from its PREPARED on')

  await put(legacy, slice, system, 'closed 2, FENCED 2, PROMOTED 2, REACHED 3@A, progress 0@A')
  t.equal((await owns())[0], null, 'the way back is not decided')
  const back = await between(legacy, 3)
  t.equal((await owns())[0], null, 'prepared is not decided')
  await legacy.root.query(
    `INSERT INTO banyan.decision (slice, epoch, verdict) VALUES ($1, 3, 'PROMOTED')`,
    [slice.name],
  )
  const [again, gone] = await owns()
  t.ok(back(again), 'legacy, from its own PREPARED on')
  t.equal(gone, null)
})
