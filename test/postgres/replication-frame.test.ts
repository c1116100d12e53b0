import t from 'tap'
import type { Lsn } from '../../model/position.ts'
import { encodeStatus, parseFrame } from '../../postgres/replication-frame.ts'

const filled = (tag: string, length: number) => {
  const bytes = Buffer.alloc(length)
  bytes.write(tag)
  return bytes
}

await t.test('both envelopes are read', async t => {
  const data = Buffer.concat([filled('w', 25), Buffer.from('payload')])
  t.strictSame(parseFrame(data), { kind: 'data', payload: Buffer.from('payload') })
  const keepalive = filled('k', 18)
  keepalive.writeBigUInt64BE(0x1_0000_0002n, 1)
  keepalive[17] = 1
  const read = { kind: 'keepalive', walEnd: 0x1_0000_0002n, replyRequested: true }
  t.strictSame(parseFrame(keepalive), read)
})

await t.test('anything else is an error with a code', async t => {
  for (const bytes of [filled('w', 24), filled('k', 17), filled('k', 19), filled('x', 30)]) {
    t.throws(() => parseFrame(bytes), { code: 'PGOUTPUT_MALFORMED' })
  }
  t.throws(() => parseFrame(Buffer.alloc(0)), { code: 'PGOUTPUT_MALFORMED' })
})

await t.test('a status has 34 bytes, its time counts from the year 2000', async t => {
  const status = { written: 3n as Lsn, flushed: 2n as Lsn, replyRequested: true }
  const bytes = encodeStatus({ ...status, atMs: Date.UTC(2000, 0, 1, 0, 0, 1) })
  t.equal(bytes.length, 34)
  t.equal(bytes.toString('latin1', 0, 1), 'r')
  const numbers = [1, 9, 17, 25].map(offset => bytes.readBigInt64BE(offset))
  t.strictSame(numbers, [3n, 2n, 2n, 1_000_000n])
  t.equal(bytes[33], 1)
})
