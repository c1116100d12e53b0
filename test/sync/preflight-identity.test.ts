/** Preflight names every table whose UPDATE would fail once it is published, and the server agrees. */
import t from 'tap'
import { connect } from '../../postgres/connection.ts'
import { sideBlockers } from '../../sync/preflight.ts'
import { readView } from '../../sync/preflight-facts.ts'
import { query, testCluster } from '../support/cluster.ts'

const cluster = await testCluster(t)
const PARTED = `CREATE TABLE things (id int PRIMARY KEY, v int) PARTITION BY RANGE (id);
  CREATE TABLE low PARTITION OF things FOR VALUES FROM (0) TO (10)`

/** What the table is made of → which tables preflight names. */
const CASES: Record<string, readonly [ddl: string, named: readonly string[]]> = {
  'a primary key': ['CREATE TABLE things (id int PRIMARY KEY, v int)', []],
  'a deferrable key': [
    'CREATE TABLE things (id int PRIMARY KEY DEFERRABLE, v int)',
    ['public.things'],
  ],
  'the whole row, with a generated column': [
    `CREATE TABLE things (id int PRIMARY KEY, v int, w int GENERATED ALWAYS AS (id + 1) STORED);
     ALTER TABLE things REPLICA IDENTITY FULL`,
    ['public.things'],
  ],
  'partitions with the key of their root': [PARTED, []],
  'a partition without an identity': [
    `${PARTED}; ALTER TABLE low REPLICA IDENTITY NOTHING`,
    ['public.low'],
  ],
}

for (const [what, [ddl, named]] of Object.entries(CASES)) {
  await t.test(what, async t => {
    const url = await cluster.createDatabase(what.replace(/\W/g, ''))
    await query(url, `${ddl}; INSERT INTO things (id, v) VALUES (1, 1)`)
    const client = await connect({ url, applicationName: 'test' })
    t.teardown(() => client.end())
    const view = await readView(client, ['public.things'])
    const side = { name: 'legacy', capture: view, apply: undefined }
    const use = { read: true, written: false, viaRoot: true }
    const blockers = sideBlockers(side, ['public.things'], use)
    t.strictSame(
      blockers.map(each => [each.code, each.details[1]]),
      named.map(name => ['NO_IDENTITY', name]),
    )
    await query(url, 'CREATE PUBLICATION p FOR TABLE things WITH (publish_via_partition_root)')
    const update = await query(url, 'UPDATE things SET v = 2').then(
      () => undefined,
      (error: unknown) => (error as { code: string }).code,
    )
    // Older servers leave generated columns out without a word.
    const lenient = view.server.versionNumber < 180_000 && ddl.includes('GENERATED')
    const refused = ddl.includes('GENERATED') ? '42P10' : '55000'
    t.equal(update, named.length === 0 || lenient ? undefined : refused)
  })
}
