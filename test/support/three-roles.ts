/** Banyan's own roles on a test's cluster, as they are on anybody's: what a test arranges itself, it does as a superuser. */
import { controlMigrations } from '../../migrations/control/control.ts'
import { migrateUp } from '../../migrations/runner.ts'
import type { DatabaseUrls } from '../../model/wiring.ts'
import { rolesSql } from '../../postgres/roles.ts'
import { query, type TestCluster } from './cluster.ts'

/** The three roles of a database whose tables, in `public`, are the owner's already; safe to repeat. */
export async function threeRoles(
  cluster: TestCluster,
  database: string,
  owner: string,
): Promise<DatabaseUrls> {
  const role = (name: string) => ({ name: `banyan_${name}`, password: 'secret' })
  const roles = { setup: role('setup'), apply: role('apply'), capture: role('capture') }
  for (const statement of rolesSql({ database, owner, schema: 'public', ...roles })) {
    await query(cluster.url(database), statement)
  }
  const url = (name: string) =>
    `postgres://banyan_${name}:secret@127.0.0.1:${cluster.port}/${database}`
  return { setup: url('setup'), apply: url('apply'), capture: url('capture') }
}

/** A control database whose role, of the same name, owns it and nothing else. Returns its URL. */
export async function controlDatabase(
  cluster: TestCluster,
  { name = 'control', migrated = true } = {},
): Promise<string> {
  await cluster.createRole(name, { password: 'secret' })
  await cluster.createDatabase(name, { owner: name })
  const url = cluster.url(name, name)
  if (migrated) await migrateUp(url, controlMigrations())
  return url
}
