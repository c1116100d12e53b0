/** Which tables the census may publish: none whose UPDATE would fail because of it. */
import t from 'tap'
import { connect } from '../../postgres/connection.ts'
import { publishCensus } from '../../postgres/gate-install.ts'
import { query, testCluster } from '../support/cluster.ts'
import { threeRoles } from '../support/three-roles.ts'

const cluster = await testCluster(t)

/** What the table is made of → whether the census sees it. Each has a column `v`. */
const TABLES: Record<string, readonly [seen: boolean, ddl: string]> = {
  keyed: [true, 'CREATE TABLE keyed (id int PRIMARY KEY, v int)'],
  later: [false, 'CREATE TABLE later (id int PRIMARY KEY DEFERRABLE, v int)'],
  keyless: [false, 'CREATE TABLE keyless (id int, v int)'],
  whole: [true, 'CREATE TABLE whole (id int, v int); ALTER TABLE whole REPLICA IDENTITY FULL'],
  computed: [
    false,
    `CREATE TABLE computed (id int PRIMARY KEY, v int, w int GENERATED ALWAYS AS (v + 1) STORED);
     ALTER TABLE computed REPLICA IDENTITY FULL`,
  ],
  computedkey: [
    false,
    'CREATE TABLE computedkey (id int, v int, k int GENERATED ALWAYS AS (id + 1) STORED PRIMARY KEY)',
  ],
  nothing: [
    false,
    'CREATE TABLE nothing (id int PRIMARY KEY, v int); ALTER TABLE nothing REPLICA IDENTITY NOTHING',
  ],
  byindex: [
    true,
    `CREATE TABLE byindex (id int NOT NULL UNIQUE, v int);
     ALTER TABLE byindex REPLICA IDENTITY USING INDEX byindex_id_key`,
  ],
  lostindex: [
    false,
    `CREATE TABLE lostindex (id int PRIMARY KEY, v int, k int NOT NULL DEFAULT 1 UNIQUE);
     ALTER TABLE lostindex REPLICA IDENTITY USING INDEX lostindex_k_key;
     ALTER TABLE lostindex DROP CONSTRAINT lostindex_k_key`,
  ],
  invalid: [
    false,
    `CREATE TABLE invalid (id int PRIMARY KEY, v int);
     UPDATE pg_index SET indisvalid = false WHERE indrelid = 'invalid'::regclass`,
  ],
  parent: [true, 'CREATE TABLE parent (id int PRIMARY KEY, v int)'],
  heir: [false, 'CREATE TABLE heir () INHERITS (parent)'],
}

await t.test('the census leaves out every table whose UPDATE it would make fail', async t => {
  const url = await cluster.createDatabase('census')
  await cluster.createRole('app')
  // One of the tables takes a superuser to make; none of them is one's.
  await query(url, 'ALTER ROLE app SUPERUSER')
  await query(
    cluster.url('census', 'app'),
    Object.values(TABLES)
      .map(([, ddl]) => ddl)
      .join(';'),
  )
  for (const name of Object.keys(TABLES)) {
    await query(url, `INSERT INTO ${name} (id, v) VALUES (1, 1)`)
  }
  await query(url, 'ALTER ROLE app NOSUPERUSER')
  const urls = await threeRoles(cluster, 'census', 'app')
  const setup = await connect({ url: urls.setup, applicationName: 'test' })
  t.teardown(() => setup.end())
  await publishCensus(setup)
  for (const name of Object.keys(TABLES)) {
    await t.resolves(query(url, `UPDATE ONLY ${name} SET v = 2`), `an UPDATE of ${name}`)
  }
  const published = await query<{ tablename: string }>(
    url,
    'SELECT tablename FROM pg_publication_tables ORDER BY 1',
  )
  t.strictSame(
    published.map(each => each.tablename),
    Object.keys(TABLES)
      .filter(name => TABLES[name]![0])
      .sort(),
  )
})
