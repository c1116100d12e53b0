/** The history of the clinic's schema, in order; the app's own role runs it, so that role owns the tables. */
import knex from 'knex'
import type { Knex } from 'knex'
import { people } from './migrations/001-people.ts'
import { scheduling } from './migrations/002-scheduling.ts'
import { records } from './migrations/003-records.ts'
import { communication } from './migrations/004-communication.ts'
import { reporting } from './migrations/005-reporting.ts'

export interface ClinicMigration extends Knex.Migration {
  readonly name: string
}

const HISTORY: readonly ClinicMigration[] = [people, scheduling, records, communication, reporting]

/** Brings the schema up to date; returns the names of what it ran. Safe to repeat. */
export async function migrate(databaseUrl: string): Promise<readonly string[]> {
  const database = knex.knex({ client: 'pg', connection: databaseUrl, pool: { min: 0, max: 2 } })
  try {
    const [, names] = (await database.migrate.latest({
      migrationSource: {
        getMigrations: async () => [...HISTORY],
        getMigrationName: (migration: ClinicMigration) => migration.name,
        getMigration: async (migration: ClinicMigration) => migration,
      },
    })) as [number, string[]]
    return names
  } finally {
    await database.destroy()
  }
}
