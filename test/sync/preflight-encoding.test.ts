/** Databases of different encodings: refused, since a row of the one may have no place in the other. */
import t from 'tap'
import { NOTHING_LEFT } from '../../model/mapping.ts'
import { connect } from '../../postgres/connection.ts'
import { preflight } from '../../sync/preflight.ts'
import { readPreflight } from '../../sync/preflight-facts.ts'
import { query, testCluster } from '../support/cluster.ts'

const cluster = await testCluster(t)

async function found(legacy: string, service: string) {
  const side = async (name: string, encoding: string) => {
    const database = `${name}_${legacy}_${service}`
    await query(
      cluster.url(),
      `CREATE DATABASE "${database}" ENCODING '${encoding}' LOCALE 'C' TEMPLATE template0`,
    )
    await query(cluster.url(database), 'CREATE TABLE notes (id int PRIMARY KEY, v text)')
    const client = await connect({ url: cluster.url(database), applicationName: 'test' })
    t.teardown(() => client.end())
    return { name, where: cluster.url(database), capture: client, apply: client }
  }
  const facts = await readPreflight({
    source: await side('legacy', legacy),
    target: await side('rooms', service),
    tables: [{ table: 'public.notes', to: 'public.notes', renames: new Map(), left: NOTHING_LEFT }],
    direction: 'back',
    viaRoot: true,
  })
  return preflight(facts)
}

await t.test('encodings that differ are named', async t => {
  t.strictSame(await found('UTF8', 'UTF8'), [])
  t.strictSame(await found('LATIN1', 'LATIN1'), [])
  for (const [legacy, service] of [
    ['LATIN1', 'UTF8'],
    ['UTF8', 'LATIN1'],
  ] as const) {
    const [blocker, ...more] = await found(legacy, service)
    t.equal(blocker?.code, 'ENCODING_DIFFERS')
    t.strictSame(blocker?.details, ['legacy', legacy, 'rooms', service])
    t.strictSame(more, [])
  }
  const codes = (await found('UTF8', 'SQL_ASCII')).map(each => each.code)
  t.strictSame(codes, ['ENCODING'], 'of what nobody knows only that is said')
})
