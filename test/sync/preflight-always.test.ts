/** Which columns that are GENERATED ALWAYS can be kept in step: those of the key. */
import t from 'tap'
import { NOTHING_LEFT } from '../../model/mapping.ts'
import { readCatalog } from '../../postgres/catalog.ts'
import { connect } from '../../postgres/connection.ts'
import { columnBlockers } from '../../sync/preflight-columns.ts'
import type { PreflightFacts } from '../../sync/preflight-facts.ts'
import { query, testCluster } from '../support/cluster.ts'

const cluster = await testCluster(t)
const ALWAYS = 'bigint GENERATED ALWAYS AS IDENTITY'
const TABLES: Record<string, string> = {
  plain: 'id bigint PRIMARY KEY, no bigint NOT NULL',
  key: `id ${ALWAYS} PRIMARY KEY, no bigint NOT NULL`,
  other: `id bigint PRIMARY KEY, no ${ALWAYS}`,
  alone: `id bigint PRIMARY KEY, no bigint NOT NULL, mine ${ALWAYS}`,
}
/** Tables of legacy and of the service → what is refused: place, table, column. */
const CASES: readonly (readonly [from: string, to: string, refused: readonly string[][]])[] = [
  ['plain', 'key', []],
  ['key', 'key', []],
  ['plain', 'alone', []],
  ['plain', 'other', [['rooms', 'public.other', 'no']]],
  ['other', 'plain', [['legacy', 'public.other', 'no']]],
]

await t.test('outside the key a column that is GENERATED ALWAYS is named', async t => {
  const url = await cluster.createDatabase('always')
  const ddl = Object.entries(TABLES).map(([name, columns]) => `CREATE TABLE ${name} (${columns})`)
  await query(url, ddl.join(';'))
  const client = await connect({ url, applicationName: 'test' })
  t.teardown(() => client.end())
  const names = Object.keys(TABLES).map(name => `public.${name}`)
  const catalog = await readCatalog(client, names)
  const side = (name: string) => ({ name }) as PreflightFacts['source']
  for (const [here, there, refused] of CASES) {
    const [from, to] = [catalog.get(`public.${here}`)!, catalog.get(`public.${there}`)!]
    const wanted = {
      table: from.name,
      to: to.name,
      renames: new Map<string, string>(),
      left: NOTHING_LEFT,
    }
    const facts = { source: side('legacy'), target: side('rooms'), direction: 'back' } as const
    const blockers = columnBlockers({ facts, wanted, from, to })
    t.strictSame(
      blockers.filter(each => each.code === 'COLUMN_ALWAYS').map(each => each.details),
      refused,
      `${here} → ${there}`,
    )
    t.strictSame(blockers.length, refused.length)
  }
})
