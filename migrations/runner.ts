/** Runs knex migrations one at a time, whoever starts them: knex's own lock neither waits nor survives a crash. */
import knex, { type Knex } from 'knex'
import pg from 'pg'

export type Migration = { readonly name: string } & Knex.Migration

const SCHEMA = 'banyan'
/** Advisory lock of "somebody migrates this database": `bnym` in ASCII. */
const MIGRATION_LOCK = 0x626e796d

/**
 * Brings a database up to the last of `migrations`. Waits for another migrator; a lock left by a dead one is freed.
 * Returns the names that were run.
 */
export async function migrateUp(url: string, migrations: readonly Migration[]): Promise<string[]> {
  return locked(url, async db => {
    await db.raw(`CREATE SCHEMA IF NOT EXISTS ${SCHEMA}`)
    await db.migrate.forceFreeMigrationsLock(config(migrations)).catch(() => undefined)
    const [, names] = (await db.migrate.latest(config(migrations))) as [number, string[]]
    return names
  })
}

/** Takes all of it back, newest first, and the schema with it. */
export async function migrateDown(url: string, migrations: readonly Migration[]): Promise<void> {
  await locked(url, async db => {
    await db.migrate.rollback(config(migrations), true)
    await db.raw(`DROP SCHEMA IF EXISTS ${SCHEMA} CASCADE`)
  })
}

/** The names that `migrateUp` would run. Reads only. */
export async function migrationsPending(
  url: string,
  migrations: readonly Migration[],
): Promise<string[]> {
  return withKnex(url, async db => {
    const present = await db.raw<{ rows: { there: boolean }[] }>(
      `SELECT to_regclass('${SCHEMA}.migration') IS NOT NULL AS there`,
    )
    const done = present.rows[0]?.there
      ? await db.withSchema(SCHEMA).table<{ name: string }>('migration').pluck<string[]>('name')
      : []
    return migrations.map(each => each.name).filter(name => !done.includes(name))
  })
}

async function locked<T>(url: string, work: (db: Knex) => Promise<T>): Promise<T> {
  // A connection of its own: the pool may give a lock and its unlock to two different sessions.
  const lock = new pg.Client({ connectionString: url, application_name: 'banyan migrate' })
  await lock.connect()
  try {
    await lock.query('SELECT pg_advisory_lock($1)', [MIGRATION_LOCK])
    return await withKnex(url, work)
  } finally {
    await lock.end()
  }
}

async function withKnex<T>(url: string, work: (db: Knex) => Promise<T>): Promise<T> {
  const quiet = { warn() {}, error() {}, deprecate() {}, debug() {} }
  const db = knex({ client: 'pg', connection: url, pool: { min: 0, max: 2 }, log: quiet })
  try {
    return await work(db)
  } finally {
    await db.destroy()
  }
}

function config(migrations: readonly Migration[]): Knex.MigratorConfig {
  return {
    schemaName: SCHEMA,
    tableName: 'migration',
    migrationSource: {
      getMigrations: async () => [...migrations],
      getMigrationName: (migration: Migration) => migration.name,
      getMigration: async (migration: Migration) => migration,
    },
  }
}
