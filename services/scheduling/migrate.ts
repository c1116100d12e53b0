/** The history of this service's schema, in order; the service's own role runs it, so that role owns the tables. */
import knex from 'knex'
import type { Knex } from 'knex'
import { copies } from './migrations/001-copies.ts'
import { scheduling } from './migrations/002-scheduling.ts'
import { outbox } from './migrations/003-outbox.ts'

export interface ServiceMigration extends Knex.Migration {
  readonly name: string
}

const HISTORY: readonly ServiceMigration[] = [copies, scheduling, outbox]

/** Brings the schema up to date; returns the names of what it ran. Safe to repeat. */
export async function migrate(databaseUrl: string): Promise<readonly string[]> {
  const database = knex.knex({
    client: 'pg',
    connection: databaseUrl,
    pool: { min: 0, max: 2 },
  })
  try {
    const [, names] = (await database.migrate.latest({
      migrationSource: {
        getMigrations: async () => [...HISTORY],
        getMigrationName: (migration: ServiceMigration) => migration.name,
        getMigration: async (migration: ServiceMigration) => migration,
      },
    })) as [number, string[]]
    return names
  } finally {
    await database.destroy()
  }
}
