import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { UNCHANGED } from '../../model/change.ts'
import { BanyanError } from '../../model/errors.ts'
import type { Lsn } from '../../model/position.ts'
import { createDecoder } from '../../postgres/pgoutput.ts'
import { parseMessage } from '../../postgres/pgoutput-message.ts'
import type { PgoutputMessage, Relation, Tuple } from '../../postgres/pgoutput-message.ts'
import { encode } from './pgoutput-encoder.ts'

const SEED = Number(process.env['SEED'] ?? 20_240_611)
const runs = { seed: SEED, numRuns: 300 }

/** With Object's prototype, as what is read has. */
const record = <T extends object>(shape: { [K in keyof T]: fc.Arbitrary<T[K]> }) =>
  fc.record(shape, { noNullPrototype: true }) as fc.Arbitrary<T>

const u32 = fc.integer({ min: 0, max: 0xffffffff })
const lsn = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(value => value as Lsn)
const atMs = fc.integer({ min: 0, max: 4_000_000_000_000 })
const name = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 }).map(text => {
  const clean = text.replaceAll('\0', '_')
  return clean === '' ? '_' : clean
})
const value = fc.oneof(
  fc.constant(null),
  fc.constant(UNCHANGED),
  fc.constantFrom('', '\\N', '9007199254740993', '1.10', 'infinity', '\ufffd'),
  fc.string({ unit: 'grapheme' }),
)
const tuple: fc.Arbitrary<Tuple> = fc.array(value, { maxLength: 8 })
const oldTuple = record({ kind: fc.constantFrom('K' as const, 'O' as const), values: tuple })
const relation: fc.Arbitrary<Relation> = record({
  id: u32,
  schema: name,
  table: name,
  identity: fc.constantFrom('d', 'i', 'f', 'n'),
  columns: fc.array(record({ name, key: fc.boolean(), typeOid: u32 }), { maxLength: 8 }),
})
const message: fc.Arbitrary<PgoutputMessage> = fc.oneof(
  record({ tag: fc.constant('B' as const), commitLsn: lsn, committedAtMs: atMs, xid: u32 }),
  record({ tag: fc.constant('C' as const), commitLsn: lsn, endLsn: lsn, committedAtMs: atMs }),
  record({ tag: fc.constant('O' as const), commitLsn: lsn, origin: name }),
  record({ tag: fc.constant('R' as const), relation }),
  record({ tag: fc.constant('Y' as const), typeOid: u32, schema: name, name }),
  record({ tag: fc.constant('I' as const), relation: u32, after: tuple }),
  record({
    tag: fc.constant('U' as const),
    relation: u32,
    before: fc.option(oldTuple),
    after: tuple,
  }),
  record({ tag: fc.constant('D' as const), relation: u32, before: oldTuple }),
  record({
    tag: fc.constant('T' as const),
    relations: fc.array(u32, { maxLength: 5 }),
    flags: fc.integer({ min: 0, max: 3 }),
  }),
  record({
    tag: fc.constant('M' as const),
    transactional: fc.boolean(),
    position: lsn,
    prefix: name,
    content: fc.string({ unit: 'grapheme' }),
  }),
)

const coded = (code: string) => (error: unknown) =>
  error instanceof BanyanError && error.code === code

function holds<T>(t: Test, property: fc.IProperty<T>): void {
  t.doesNotThrow(() => fc.assert(property, runs))
}

t.comment(`seed ${SEED}`)

await t.test('what is written is what is read', async t => {
  holds(
    t,
    fc.property(message, written => isDeepStrictEqual(parseMessage(encode(written)), written)),
  )
})

await t.test('a message that is cut anywhere, or goes on, is an error with a code', async t => {
  holds(
    t,
    fc.property(message, fc.nat(), (written, at) => {
      const bytes = encode(written)
      const cut = bytes.subarray(0, at % bytes.length)
      return throws(cut, 'PGOUTPUT_MALFORMED') && throws(withTail(bytes), 'PGOUTPUT_MALFORMED')
    }),
  )
})

await t.test('a flipped bit gives another message or an error with a code', async t => {
  holds(
    t,
    fc.property(message, fc.nat(), fc.nat(7), (written, at, bit) => {
      const bytes = Buffer.from(encode(written))
      const place = at % bytes.length
      bytes[place] = (bytes[place] ?? 0) ^ (1 << bit)
      try {
        parseMessage(bytes)
        return true
      } catch (error) {
        return error instanceof BanyanError && error.code.startsWith('PGOUTPUT_')
      }
    }),
  )
})

await t.test('tags of newer protocols are refused by name', async t => {
  for (const tag of ['S', 'E', 'c', 'A', 'b', 'P', 'K', 'r', 'p']) {
    t.ok(throws(Buffer.from(`${tag}0000000000000000`), 'PGOUTPUT_VERSION'), tag)
  }
})

await t.test(
  'bytes that are no UTF-8 are refused, a replacement character that was stored is not',
  async t => {
    const good = encode({ tag: 'I', relation: 1, after: ['\ufffd'] })
    t.strictSame(parseMessage(good), { tag: 'I', relation: 1, after: ['\ufffd'] })
    const bad = Buffer.from(encode({ tag: 'I', relation: 1, after: ['abc'] }))
    bad[bad.length - 2] = 0xff
    t.ok(throws(bad, 'PGOUTPUT_MALFORMED'))
  },
)

const CLINIC: Relation = {
  id: 7,
  schema: 'public',
  table: 'notes',
  identity: 'd',
  columns: [
    { name: 'id', key: true, typeOid: 20 },
    { name: 'body', key: false, typeOid: 25 },
  ],
}

const begin = encode({ tag: 'B', commitLsn: 40n as Lsn, committedAtMs: 1_700_000_000_000, xid: 9 })
const commit = encode({
  tag: 'C',
  commitLsn: 40n as Lsn,
  endLsn: 48n as Lsn,
  committedAtMs: 1_700_000_000_000,
})

function decoderInside(relation: Relation) {
  const decoder = createDecoder()
  for (const bytes of [begin, encode({ tag: 'R', relation })]) decoder.decode(bytes)
  return decoder
}

await t.test('a transaction is begin, changes and the end of its commit record', async t => {
  const decoder = createDecoder()
  const events = [
    begin,
    encode({ tag: 'O', commitLsn: 1n as Lsn, origin: 'elsewhere' }),
    encode({ tag: 'R', relation: CLINIC }),
    encode({ tag: 'I', relation: 7, after: ['1', null] }),
    encode({ tag: 'D', relation: 7, before: { kind: 'K', values: ['1', null] } }),
    encode({ tag: 'T', relations: [7], flags: 0 }),
    commit,
  ].flatMap(bytes => decoder.decode(bytes))
  const about = { kind: 'change', schema: 'public', table: 'notes', key: ['id'] }
  t.strictSame(events, [
    { kind: 'begin', xid: 9, commitLsn: 40n, committedAtMs: 1_700_000_000_000 },
    {
      ...about,
      op: 'c',
      before: null,
      after: new Map([
        ['id', '1'],
        ['body', null],
      ]),
    },
    { ...about, op: 'd', before: new Map([['id', '1']]), after: null },
    { ...about, op: 't', before: null, after: null },
    { kind: 'commit', position: 48n },
  ])
  t.equal(decoder.inTransaction, false)
})

await t.test('an update carries the old key only where it changed', async t => {
  const decoder = decoderInside(CLINIC)
  const plain = decoder.decode(encode({ tag: 'U', relation: 7, before: null, after: ['1', 'x'] }))
  t.match(plain, [{ op: 'u', before: null }])
  const before = { kind: 'K' as const, values: ['1', null] }
  const moved = decoder.decode(encode({ tag: 'U', relation: 7, before, after: ['2', UNCHANGED] }))
  t.strictSame(moved, [
    {
      kind: 'change',
      op: 'u',
      schema: 'public',
      table: 'notes',
      key: ['id'],
      before: new Map([['id', '1']]),
      after: new Map<string, unknown>([
        ['id', '2'],
        ['body', UNCHANGED],
      ]),
    },
  ])
})

await t.test(
  'a value that was not sent is taken from the old row where the stream has it',
  async t => {
    const columns = CLINIC.columns.map(column => ({ ...column, key: true }))
    const decoder = decoderInside({ ...CLINIC, identity: 'f', columns })
    const before = { kind: 'O' as const, values: ['1', 'long'] }
    const [event] = decoder.decode(
      encode({ tag: 'U', relation: 7, before, after: ['1', UNCHANGED] }),
    )
    t.match(event, {
      key: ['id', 'body'],
      before: new Map([
        ['id', '1'],
        ['body', 'long'],
      ]),
    })
    t.match(event, {
      after: new Map([
        ['id', '1'],
        ['body', 'long'],
      ]),
    })
  },
)

await t.test('messages out of order, or about something unknown, are refused', async t => {
  const insert = encode({ tag: 'I', relation: 7, after: ['1', 'x'] })
  const inside = encode({
    tag: 'M',
    transactional: true,
    position: 1n as Lsn,
    prefix: 'p',
    content: '',
  })
  const cases: Record<string, Buffer[]> = {
    'a change outside a transaction': [encode({ tag: 'R', relation: CLINIC }), insert],
    'a relation never described': [begin, insert],
    'a begin inside a transaction': [begin, begin],
    'a commit without a begin': [commit],
    'more values than columns': [
      begin,
      encode({ tag: 'R', relation: CLINIC }),
      encode({ tag: 'I', relation: 7, after: ['1', 'x', 'y'] }),
    ],
    'a transactional message outside a transaction': [inside],
  }
  for (const [what, messages] of Object.entries(cases)) {
    const decoder = createDecoder()
    const last = messages.pop()
    for (const bytes of messages) decoder.decode(bytes)
    t.throws(() => decoder.decode(last!), { code: 'PGOUTPUT_MALFORMED' }, what)
  }
})

function throws(bytes: Buffer, code: string): boolean {
  try {
    parseMessage(bytes)
    return false
  } catch (error) {
    return coded(code)(error)
  }
}

function withTail(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.from([0])])
}
