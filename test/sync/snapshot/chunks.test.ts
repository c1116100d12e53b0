import fc from 'fast-check'
import t from 'tap'
import { planChunks } from '../../../sync/snapshot/chunks.ts'
import { howToEmpty } from '../../../sync/snapshot/target-tables.ts'

const SEED = Number(process.env['SEED'] ?? 11)

await t.test('the chunks of a table touch, and are open at both ends', async t => {
  t.comment(`seed ${SEED}`)
  const property = fc.property(
    fc.nat(1e12),
    fc.option(fc.nat(1e9)),
    fc.integer({ min: 1, max: 1e6 }),
    (bytes, rows, chunkRows) => {
      const limits = { rows: chunkRows, bytes: 64 * 1024 * 1024, blockBytes: 8192 }
      const size = Math.min(bytes, chunkRows * 1e6)
      const chunks = planChunks([{ table: 'a', relation: 'b', bytes: size, rows }], limits)
      const bounds = chunks.map(({ where }) => ({
        from: /ctid >= '\((\d+),0\)'/.exec(where ?? '')?.[1],
        to: /ctid < '\((\d+),0\)'/.exec(where ?? '')?.[1],
      }))
      if (bounds[0]?.from !== undefined || bounds.at(-1)?.to !== undefined) return false
      const starts = bounds.slice(1).map(each => each.from)
      const ends = bounds.slice(0, -1).map(each => each.to)
      const grows = starts.every((start, i) => Number(start) > Number(starts[i - 1] ?? 0))
      return grows && starts.every((start, i) => start !== undefined && start === ends[i])
    },
  )
  t.doesNotThrow(() => fc.assert(property, { seed: SEED, numRuns: 100 }))
})

await t.test(
  'a chunk has about as many rows and bytes as it may, the largest table first',
  async t => {
    const limits = { rows: 50_000, bytes: 64 * 8192, blockBytes: 8192 }
    const relation = (table: string, pages: number, rows: number | null) => {
      return { table, relation: table, bytes: pages * 8192, rows }
    }
    const chunks = planChunks(
      [relation('small', 1, 10), relation('wide', 640, null), relation('narrow', 300, 500_000)],
      limits,
    )
    const count = (table: string) => chunks.filter(each => each.table === table).length
    t.strictSame([count('wide'), count('narrow'), count('small')], [10, 10, 1])
    t.equal(chunks[0]?.table, 'wide')
    t.equal(chunks.at(-1)?.where, undefined, 'a small table is one chunk')
  },
)

await t.test(
  'a table that is pointed at from outside is deleted from, and what it points at',
  async t => {
    const pointed = (name: string, ...by: string[]) => {
      return { name, referencedBy: by.map(table => ({ table })) as never }
    }
    t.strictSame(howToEmpty([pointed('a', 'b'), pointed('b', 'b')]), {
      truncated: ['a', 'b'],
      deleted: [],
    })
    const tables = [pointed('a', 'b'), pointed('b', 'outside'), pointed('c')]
    t.strictSame(howToEmpty(tables), { truncated: ['c'], deleted: ['b', 'a'] })
  },
)
