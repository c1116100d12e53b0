/** Giving a service up: one decision in legacy whoever asks for it, one owner whatever dies in between, and no way back for the old database. */
import { randomUUID } from 'node:crypto'
import t from 'tap'
import { abandon, closeOlder, finishAbandon } from '../../postgres/abandon.ts'
import { connect } from '../../postgres/connection.ts'
import {
  abortAfterRestore,
  acceptFingerprint,
  copyDecision,
  decide,
  prepare,
  setGate,
} from '../../postgres/gate.ts'
import { settle } from '../../postgres/settle.ts'
import { Writer } from '../../sync/apply/writer.ts'
import {
  gateSides,
  outcome,
  preparation,
  put,
  read,
  settlementOf,
  streamInto,
  type TestSlice,
} from './gate-sides.ts'

const sides = await gateSides(t)
const { legacy, service, system } = sides

/** Moved in epoch 1: the service owns, and its stream into legacy stands at A. */
async function moved(atService = 'open 1', again?: TestSlice): Promise<TestSlice> {
  const slice = again ?? (await sides.slice())
  await put(legacy, slice, system, 'closed 1, FENCED 1, PROMOTED 1, progress 0@A')
  await put(service, slice, system, `${atService}, REACHED 1@A, PREPARED 1@A, PROMOTED 1`)
  return slice
}

const giveUp = (slice: TestSlice, epoch: number, client = legacy.apply) =>
  abandon(client, {
    ...{ slice: slice.name, epoch, said: { proof: 'unplugged' } },
    preparation: preparation('legacy', slice, epoch),
  })
const both = (slice: TestSlice) => ({
  slice: slice.name,
  legacy: legacy.apply,
  service: service.apply,
})
const alone = (slice: TestSlice) => settlementOf(slice, legacy.apply, undefined)

/** Which sides accept an application's write. */
async function owners(slice: TestSlice): Promise<string[]> {
  const accepting: string[] = []
  for (const at of [legacy, service]) {
    const app = await at.app()
    const answer = await outcome(app.query(`INSERT INTO ${slice.table} (note) VALUES ('mine')`))
    if (answer !== 'BNY01') accepting.push(at.side)
    await app.end()
  }
  return accepting
}

const STEPS = {
  decide: async (slice: TestSlice) => void (await giveUp(slice, 2)),
  close: async (slice: TestSlice) => void (await closeOlder(both(slice))),
  open: (slice: TestSlice) => setGate(legacy.apply, slice.name, 2),
}
const LEFT: readonly (keyof typeof STEPS)[][] = [
  ['decide'],
  ['decide', 'open'],
  ['decide', 'close'],
  ['decide', 'close', 'open'],
]

for (const steps of LEFT) {
  void t.test(
    `left after ${steps.join(', ')}: whoever settles it ends with legacy alone`,
    async t => {
      const slice = await moved()
      for (const step of steps) await STEPS[step](slice)
      t.same(await settle(alone(slice), 2), { verdict: 'PROMOTED', complete: false })
      t.match(await read(legacy, slice), /^open 2, ABANDONED 2@A, FENCED 1, PROMOTED 1, PROMOTED 2/)
      const settlement = settlementOf(slice, legacy.apply, service.apply)
      t.same(await settle(settlement, 2), { verdict: 'PROMOTED', complete: true })
      t.same(await owners(slice), ['legacy'])
      t.equal(
        await read(service, slice),
        'closed 2, FENCED 2, PREPARED 1@A, PROMOTED 1, PROMOTED 2, REACHED 1@A',
      )
      const after = await read(legacy, slice)
      t.same(await settle(settlement, 2), { verdict: 'PROMOTED', complete: true }, 'again')
      t.equal(await read(legacy, slice), after, 'nothing more happens')
    },
  )
}

void t.test('begun and not decided, it is aborted, and the service keeps the tables', async t => {
  const slice = await moved()
  t.same(await settle(alone(slice), 2), { verdict: 'ABORTED', complete: false })
  t.equal(await giveUp(slice, 2), 'ABORTED', 'who comes late learns it')
  t.same(await owners(slice), ['service'])
})

void t.test('any number may give it up at once, also in different epochs', async t => {
  const slice = await moved()
  const sessions = await Promise.all([1, 2, 3, 4].map(() => legacy.session()))
  const asked = sessions.map((client, n) => outcome(giveUp(slice, n < 2 ? 2 : 3, client)))
  const answers = await Promise.all(asked)
  t.ok(
    answers.every(each => each === 'PROMOTED' || each === 'WORD_REFUSED'),
    answers.join(' '),
  )
  await finishAbandon({ slice: slice.name, legacy: legacy.apply, service: undefined }, 3)
  t.match(await closeOlder(both(slice)), { closed: { wasOpen: true } })
  t.same(await owners(slice), ['legacy'])
})

void t.test('it is refused where it would be wrong', async t => {
  // prettier-ignore
  const cases: readonly (readonly [because: string, atLegacy: string, epoch: number, code: string])[] = [
    ['no flip of the owner was ever done', 'open 0', 1, 'WORD_REFUSED'],
    ['the slice came home by a flip', 'open 2, FENCED 1, PROMOTED 1, REACHED 2@A, PREPARED 2@A, PROMOTED 2', 3, 'WORD_REFUSED'],
    ['the epoch is the one of the move', 'closed 1, FENCED 1, PROMOTED 1', 1, 'EVIDENCE_MISSING'],
    ['the word is past the epoch', 'closed 3, FENCED 1, PROMOTED 1', 2, 'WORD_REFUSED'],
    ['a way back has reached legacy and could still be promoted', 'closed 1, FENCED 1, PROMOTED 1, REACHED 2@A', 3, 'EVIDENCE_MISSING'],
    ['this very epoch is prepared by the stream', 'closed 1, FENCED 1, PROMOTED 1, REACHED 2@A, PREPARED 2@A', 2, 'EVIDENCE_MISSING'],
  ]
  const slice = await moved()
  for (const [because, atLegacy, epoch, code] of cases) {
    await put(legacy, slice, system, atLegacy)
    const before = await read(legacy, slice)
    t.equal(await outcome(giveUp(slice, epoch)), code, because)
    t.equal(await read(legacy, slice), before, 'and nothing has changed')
  }
  await moved('open 1', slice)
  await legacy.root.query(
    `UPDATE banyan.fingerprint SET state = 'another' WHERE slice = $1 AND object = 'database'`,
    [slice.name],
  )
  t.equal(await outcome(giveUp(slice, 2)), 'SYSTEM_CHANGED', 'legacy was restored meanwhile')
})

void t.test('a fence of the dead service is no way to open it again', async t => {
  const slice = await moved('closed 2, FENCED 2')
  t.same(await settle(alone(slice), 2), { verdict: 'ABORTED', complete: false })
  await giveUp(slice, 3)
  await finishAbandon({ slice: slice.name, legacy: legacy.apply, service: undefined }, 3)
  const late = settlementOf(slice, legacy.apply, service.apply)
  t.same(await settle(late, 2), { verdict: 'ABORTED', complete: true })
  t.match(await read(service, slice), /^closed 3, /)
  t.same(await owners(slice), ['legacy'])
  t.equal(await outcome(setGate(service.apply, slice.name, 2)), 'WORD_REFUSED')
})

void t.test('whatever comes back closed or open is closed in the newest epoch', async t => {
  const slice = await sides.slice()
  for (const word of ['open 1', 'open 2', 'closed 0', 'closed 1', 'closed 3']) {
    await moved(word, slice)
    await giveUp(slice, 3)
    await finishAbandon({ slice: slice.name, legacy: legacy.apply, service: undefined }, 3)
    const contact = await closeOlder(both(slice))
    t.match(contact, { closed: { epoch: 3, wasOpen: word.startsWith('open') } }, word)
    t.match(await read(service, slice), /^closed 3, FENCED 3/)
    t.equal(await closeOlder(both(slice)), undefined, 'once')
  }
})

void t.test('one that was raised past the record is closed after a newer decision', async t => {
  const slice = await moved('open 5')
  await giveUp(slice, 2)
  await finishAbandon({ slice: slice.name, legacy: legacy.apply, service: undefined }, 2)
  t.same(await closeOlder(both(slice)), { newer: 5 })
  t.equal(await giveUp(slice, 6), 'PROMOTED')
  t.match(await closeOlder(both(slice)), { closed: { epoch: 6, wasOpen: true } })
  t.same(await owners(slice), ['legacy'])
})

void t.test(
  'while the service owns, and in a database that knows nothing, nothing is closed',
  async t => {
    const slice = await moved()
    t.equal(await closeOlder(both(slice)), undefined)
    t.same(await owners(slice), ['service'])
    const url = await sides.cluster.createDatabase('empty')
    const empty = await connect({ url, applicationName: 'test empty' })
    await giveUp(slice, 2)
    t.equal(await closeOlder({ ...both(slice), service: empty }), undefined)
    await empty.end()
  },
)

void t.test('who applied the stream until then applies nothing more', async t => {
  const slice = await moved()
  const stream = streamInto('legacy', slice)
  const session = () => connect({ url: legacy.applyUrl, applicationName: 'test', pipeline: true })
  const writer = await Writer.takeOver(await session(), stream, randomUUID())
  await giveUp(slice, 2)
  writer.begin(0x2000n as never)
  t.equal(await outcome(writer.commit()), 'STREAM_TAKEN')
})

void t.test('the rows of an abandonment are no evidence for anything else', async t => {
  const slice = await moved()
  await giveUp(slice, 2)
  await legacy.root.query(
    `INSERT INTO banyan.evidence (slice, epoch, kind, position) VALUES ($1, 2, 'REACHED', '0/1000')`,
    [slice.name],
  )
  await prepare(legacy.apply, preparation('legacy', slice, 2))
  t.notMatch(await read(legacy, slice), /PREPARED 2/, 'no stream prepares it')
  t.equal(await decide(legacy.apply, slice.name, 2, 'ABORTED'), 'PROMOTED')
  await copyDecision(service.apply, slice.name, 2, 'PROMOTED')
  t.equal(await outcome(setGate(service.apply, slice.name, 2)), 'done', 'an open word is raised')
  t.match(await closeOlder(both(slice)), { newer: 2 })
})

void t.test('sequences begin past all that legacy knows, by the headroom', async t => {
  const slice = await moved()
  const table = slice.table
  const sequence = `${table}_id_seq`
  await legacy.root.query(`SELECT setval('${sequence}', 40)`)
  await legacy.root.query('SET session_replication_role = replica')
  await legacy.apply.query(`INSERT INTO ${table} (id) VALUES (70)`)
  const start = { sequence, table, column: 'id', other: '0', typeMax: '9223372036854775807' }
  await abandon(legacy.apply, {
    ...{ slice: slice.name, epoch: 2, said: {} },
    preparation: { ...preparation('legacy', slice, 2), sequences: [start] },
  })
  const { rows } = await legacy.root.query<{ last: string }>(
    `SELECT last_value::text AS last FROM ${sequence}`,
  )
  t.equal(rows[0]?.last, '170')
})

void t.test('in another database than the one on record nothing opens by itself', async t => {
  const another = (at: typeof legacy, slice: TestSlice) =>
    at.root.query(
      `UPDATE banyan.fingerprint SET state = '42 timeline 1' WHERE slice = $1 AND object = 'database'`,
      [slice.name],
    )
  const fenced = await sides.slice()
  await put(legacy, fenced, system, 'closed 1, FENCED 1 foreign')
  await put(service, fenced, system, 'closed 0')
  await another(legacy, fenced)
  const settling = settlementOf(fenced, legacy.apply, service.apply)
  await t.rejects(settle(settling, 1), { code: 'SYSTEM_CHANGED' })
  await t.rejects(abortAfterRestore(legacy.apply, fenced.name, 1), { code: 'SYSTEM_CHANGED' })
  t.equal(await read(legacy, fenced), 'closed 1, FENCED 1')
  await acceptFingerprint(legacy.apply, fenced.name)
  t.equal(await abortAfterRestore(legacy.apply, fenced.name, 1), 'ABORTED')
  t.same(await settle(settling, 1), { verdict: 'ABORTED', complete: true })
  t.same(await owners(fenced), ['legacy'])

  const back = await moved('closed 2, FENCED 2')
  await another(service, back)
  await t.rejects(settle(settlementOf(back, legacy.apply, service.apply), 2), {
    code: 'SYSTEM_CHANGED',
    message: /on record is system 42 timeline 1, this is system \d+ timeline 1/,
  })
  t.same(await owners(back), [])
  const forward = await sides.slice()
  await put(legacy, forward, system, 'closed 1, FENCED 1, PROMOTED 1')
  await put(service, forward, system, 'closed 0, REACHED 1@A, PREPARED 1@A, PROMOTED 1')
  await another(service, forward)
  await t.rejects(settle(settlementOf(forward, legacy.apply, service.apply), 1), {
    code: 'SYSTEM_CHANGED',
  })
  t.same(await owners(forward), [])
})
