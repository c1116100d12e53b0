/** Which migrations a database of the wiring gets. */
import { legacyMigrations } from '../migrations/legacy/ownership.ts'
import type { Migration } from '../migrations/runner.ts'
import { serviceMigrations } from '../migrations/service/ownership.ts'
import { type DatabaseUrls, roleOf } from '../model/wiring.ts'

/** Those of `legacy` or of a service. The roles that they grant to must be there. */
export function migrationsOf(name: string, urls: DatabaseUrls): Migration[] {
  const roles = { apply: roleOf(urls.apply), capture: roleOf(urls.capture) }
  return name === 'legacy' ? legacyMigrations(roles) : serviceMigrations(roles)
}
