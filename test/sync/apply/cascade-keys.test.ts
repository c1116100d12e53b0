/** Keys of every shape say what a deleted parent takes along: several columns, other names, not the primary key. */
import pg from 'pg'
import t from 'tap'
import { createSyncStore } from '../../../control/sync-store.ts'
import type { Change } from '../../../model/change.ts'
import type { Wiring } from '../../../model/wiring.ts'
import { connect } from '../../../postgres/connection.ts'
import { statementsOf } from '../../../sync/apply/statements.ts'
import type { AppliedTable } from '../../../sync/apply/table.ts'
import { query, testCluster } from '../../support/cluster.ts'
import { threeRoles } from '../../support/three-roles.ts'

const cluster = await testCluster(t)
await cluster.createRole('app')
await cluster.createDatabase('rooms', { owner: 'app' })
await query(
  cluster.url('rooms', 'app'),
  `CREATE TABLE owner (tenant int, no int, mail text UNIQUE, PRIMARY KEY (tenant, no));
   CREATE TABLE pet (id int PRIMARY KEY, tenant int, owner int, FOREIGN KEY (tenant, owner) REFERENCES owner ON DELETE CASCADE);
   CREATE TABLE visit (id int PRIMARY KEY, tenant int NOT NULL, "Owner" int,
     FOREIGN KEY (tenant, "Owner") REFERENCES owner ON DELETE SET NULL ("Owner"));
   CREATE TABLE letter (id int PRIMARY KEY, tenant int, owner int,
     FOREIGN KEY (owner, tenant) REFERENCES owner (no, tenant) ON DELETE SET NULL);
   CREATE TABLE login (id int PRIMARY KEY, mail text REFERENCES owner (mail) ON DELETE CASCADE);
   CREATE TABLE bill (id int PRIMARY KEY, tenant int, owner int, FOREIGN KEY (tenant, owner) REFERENCES owner);
   INSERT INTO owner VALUES (1, 7, 'a@x'), (1, 8, 'b@x'), (2, 7, 'c@x'), (2, 8, NULL);
   INSERT INTO pet SELECT 10 * tenant + no, tenant, no FROM owner UNION ALL SELECT 99, 1, NULL;
   INSERT INTO visit SELECT 10 * tenant + no, tenant, no FROM owner;
   INSERT INTO letter SELECT 10 * tenant + no, tenant, no FROM owner;
   INSERT INTO login VALUES (1, 'a@x'), (2, 'b@x'), (3, NULL)`,
)
const urls = await threeRoles(cluster, 'rooms', 'app')
const pool = new pg.Pool({ connectionString: urls.apply })
t.teardown(() => pool.end())
const wiring = {
  project: { slices: [] },
  services: { rooms: urls },
} as unknown as Wiring

/** Legacy calls the table and its columns otherwise. */
async function table(): Promise<AppliedTable> {
  const store = createSyncStore({ url: urls.apply, pool }, wiring)
  const cascades = await store.cascades('rooms', ['public.owner'])
  await store[Symbol.asyncDispose]()
  return {
    ...{ source: 'public.owners', target: 'public.owner', key: ['clinic', 'number'] },
    columns: new Map([
      ['clinic', 'tenant'],
      ['number', 'no'],
      ['email', 'mail'],
    ]),
    cascades: cascades.get('public.owner') ?? [],
  }
}

await t.test('a parent that goes takes its children along, and nobody else’s', async t => {
  const gone: Change = {
    ...{ op: 'd', schema: 'public', table: 'owners', after: null, key: ['clinic', 'number'] },
    before: new Map([
      ['clinic', '1'],
      ['number', '7'],
    ]),
  }
  const client = await connect({ url: urls.apply, applicationName: 'test' })
  t.teardown(() => client.end())
  await client.query('SET session_replication_role = replica')
  const statements = statementsOf(gone, await table())
  for (const { text, values } of statements) {
    await client.query(text, [...values])
  }
  const left = async (sql: string) =>
    (await client.query<unknown[]>({ text: sql, rowMode: 'array' })).rows
  t.strictSame(await left('SELECT tenant, no FROM public.owner ORDER BY 1, 2'), [
    [1, 8],
    [2, 7],
    [2, 8],
  ])
  t.strictSame(await left('SELECT id FROM public.pet ORDER BY 1'), [[18], [27], [28], [99]])
  t.strictSame(
    await left('SELECT id, tenant FROM public.visit WHERE "Owner" IS NULL'),
    [[17, 1]],
    'only the column that the key names is cut',
  )
  t.strictSame(await left('SELECT id, tenant FROM public.letter WHERE owner IS NULL'), [[17, null]])
  t.strictSame(
    await left('SELECT id FROM public.login ORDER BY 1'),
    [[2], [3]],
    'a key to another column',
  )
})
