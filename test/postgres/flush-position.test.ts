import fc from 'fast-check'
import t from 'tap'
import type { Lsn } from '../../model/position.ts'
import { createFlushPosition } from '../../postgres/flush-position.ts'

const SEED = Number(process.env['SEED'] ?? 3)
const at = (n: number) => BigInt(n) as Lsn

await t.test('the server forgets what was acknowledged, and nothing else', async t => {
  const flush = createFlushPosition(at(100), false)
  t.equal(flush.flushed, at(100))
  flush.committed(at(200))
  flush.idle(at(300))
  t.equal(flush.flushed, at(100))
  flush.acknowledge(at(150))
  t.equal(flush.flushed, at(150))
  flush.acknowledge(at(120))
  t.equal(flush.flushed, at(150), 'an older position is ignored')
  t.throws(() => flush.acknowledge(at(301)), RangeError)
  flush.acknowledge(at(300))
  t.equal(flush.flushed, at(300), 'an idle position too, once it is acknowledged')
})

await t.test(
  'an idle position counts by itself only where that was asked for, and after what came before',
  async t => {
    const flush = createFlushPosition(at(100), true)
    flush.idle(at(150))
    t.equal(flush.flushed, at(150), 'nothing came before')
    flush.committed(at(200))
    flush.idle(at(250))
    flush.idle(at(300))
    flush.acknowledge(at(199))
    t.equal(flush.flushed, at(199))
    flush.acknowledge(at(200))
    t.equal(flush.flushed, at(300))
  },
)

await t.test('it never passes an unacknowledged commit and never goes back', async t => {
  t.comment(`seed ${SEED}`)
  const step = fc.record({ kind: fc.constantFrom('commit', 'idle', 'ack'), n: fc.nat(9) })
  const property = fc.property(
    fc.array(step, { maxLength: 60 }),
    fc.boolean(),
    (steps, advance) => {
      const flush = createFlushPosition(at(0), advance)
      const commits: number[] = []
      let [position, acknowledged, before] = [0, 0, at(0)]
      for (const { kind, n } of steps) {
        if (kind === 'commit') commits.push((position += n + 1))
        if (kind === 'commit') flush.committed(at(position))
        if (kind === 'idle') flush.idle(at((position += n)))
        if (kind === 'ack') {
          const target = commits.find(each => each > acknowledged)
          if (target !== undefined) flush.acknowledge(at((acknowledged = target)))
        }
        const open = commits.find(each => each > acknowledged)
        if (flush.flushed < before || (open !== undefined && flush.flushed >= at(open)))
          return false
        if (flush.flushed < at(acknowledged)) return false
        before = flush.flushed
      }
      return true
    },
  )
  t.doesNotThrow(() => fc.assert(property, { seed: SEED, numRuns: 300 }))
})
