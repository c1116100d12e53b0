/** A sequence that feeds tables inside the slice and outside is named. */
import t from 'tap'
import { NOTHING_LEFT } from '../../model/mapping.ts'
import { connect } from '../../postgres/connection.ts'
import { preflight } from '../../sync/preflight.ts'
import { readPreflight } from '../../sync/preflight-facts.ts'
import { query, testCluster } from '../support/cluster.ts'

const cluster = await testCluster(t)
const key = (name: string, sequence: string) =>
  `CREATE TABLE ${name} (id bigint PRIMARY KEY DEFAULT nextval('${sequence}'))`
const PARTED = `CREATE TABLE a (id bigint PRIMARY KEY DEFAULT nextval('s')) PARTITION BY RANGE (id);
  CREATE TABLE low PARTITION OF a FOR VALUES FROM (0) TO (10)`

/** Legacy's tables, those of them in the slice → what is named. */
const CASES: readonly (readonly [ddl: string, slice: readonly string[], named: string[][]])[] = [
  [`${key('a', 's')}; ${key('b', 's')}`, ['a', 'b'], []],
  [`${key('a', 's')}; ${key('b', 's2')}`, ['a'], []],
  [PARTED, ['a'], []],
  [
    `${key('a', 's')}; ${key('b', 's')}; ${key('c', 's')}`,
    ['a', 'b'],
    [['legacy', 'public.s', 'public.a, public.b', 'public.c']],
  ],
]

for (const [n, [ddl, slice, named]] of CASES.entries()) {
  await t.test(`${ddl}, of which the slice has ${slice.join(', ')}`, async t => {
    const side = async (name: string, tables: string) => {
      const url = await cluster.createDatabase(`${name}${n}`)
      await query(url, `CREATE SEQUENCE s; CREATE SEQUENCE s2; ${tables}`)
      const client = await connect({ url, applicationName: 'test' })
      t.teardown(() => client.end())
      return { name, where: url, capture: client, apply: client }
    }
    const facts = await readPreflight({
      source: await side('legacy', ddl),
      target: await side('rooms', slice.map(name => key(name, `s`)).join(';')),
      tables: slice.map(name => ({
        ...{ table: `public.${name}`, to: `public.${name}` },
        renames: new Map<string, string>(),
        left: NOTHING_LEFT,
      })),
      direction: 'back',
      viaRoot: true,
    })
    const found = preflight(facts)
    t.strictSame(
      found.filter(each => each.code === 'SEQUENCE_SHARED').map(each => each.details),
      named,
    )
    t.equal(found.length, named.length)
  })
}
