/** What `banyan init` sees of a database, reading only: its server, the home of its tables, and what is still to be set. */
import type { BanyanFile } from '../model/banyan-file.ts'
import { BanyanError, must } from '../model/errors.ts'
import { POSTGRES_ERRORS } from '../model/errors-postgres.ts'
import { connect } from '../postgres/connection.ts'
import { explain, placeOf } from '../postgres/explain.ts'
import { type HomeSeen, readHomes } from '../postgres/homes.ts'
import { captureBlockers, probe, type ServerFacts } from '../postgres/probes.ts'
import type { RoleStep } from '../postgres/roles.ts'
import { quote } from '../postgres/sql.ts'

const CONNECT_MS = 5_000

export interface DatabaseSeen {
  readonly server: ServerFacts
  /** Without one where it has no tables yet. */
  readonly homes: readonly HomeSeen[]
  /** The database's own owner. */
  readonly owner: { readonly name: string; readonly superuser: boolean }
  readonly tables: number
  readonly bytes: number
}

/** Throws what `connect` throws, and what a statement that fails is explained as. */
export async function askDatabase(url: string, signal: AbortSignal): Promise<DatabaseSeen> {
  const client = await connect({
    ...{ url, signal, applicationName: 'banyan init', connectTimeoutMs: CONNECT_MS },
    timeouts: { statementMs: 10_000, lockMs: 1_000 },
  })
  try {
    // Whoever the URL is of, a superuser perhaps: nothing can be written here.
    await client.query('BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY')
    const server = await probe(client)
    const homes = await readHomes(client)
    const { rows } = await client.query<{ name: string; superuser: boolean; bytes: string }>(
      `SELECT r.rolname AS name, r.rolsuper AS superuser, pg_catalog.pg_database_size(d.oid)::text AS bytes
       FROM pg_catalog.pg_database d JOIN pg_catalog.pg_roles r ON r.oid = d.datdba
       WHERE d.datname = pg_catalog.current_database()`,
    )
    const { bytes, ...owner } = must(rows[0], 'the database')
    const tables = homes.reduce((sum, home) => sum + home.tables, 0)
    return { server, homes, owner, tables, bytes: Number(bytes) }
  } catch (error) {
    throw explain(error, url)
  } finally {
    await client.end()
  }
}

/** The homes that can have roles: of tables that an ordinary role owns; of a database without tables, its owner's. */
export function homesFor({ homes, owner }: DatabaseSeen): { schema: string; owner: string }[] {
  if (homes.length === 0) return owner.superuser ? [] : [{ schema: 'public', owner: owner.name }]
  const plain = homes.filter(home => !home.superuser)
  // With nothing but superusers' tables the statements stop there, and say why.
  return (plain.length > 0 ? plain : homes).map(({ schema, owner: name }) => ({
    schema,
    owner: name,
  }))
}

/** What a person should know today: it takes a restart, or a decision about who owns the tables. */
export function databaseProblems(
  { server, homes }: DatabaseSeen,
  url: string,
  limits: BanyanFile['limits'],
): BanyanError[] {
  const needs = { slots: limits.maxSlots, senders: limits.maxSlots }
  const superusers = [...new Set(homes.filter(home => home.superuser).map(home => home.owner))]
  return [
    ...captureBlockers(server, url, needs).filter(
      // Whose URL it is doesn't matter: capture gets a role of its own.
      each => each.code !== POSTGRES_ERRORS.ROLE_NOT_REPLICATION.code,
    ),
    ...superusers.map(name => new BanyanError(POSTGRES_ERRORS.ROLE_IS_SUPERUSER, [name])),
  ]
}

/** Settings of the server, with the SQL; a managed server has them elsewhere. */
export function settingSteps({ server }: DatabaseSeen, limits: BanyanFile['limits']): RoleStep[] {
  const { walLevel, usedSlots, maxReplicationSlots, usedSenders, maxWalSenders } = server
  const slots = usedSlots + limits.maxSlots
  const senders = usedSenders + limits.maxSlots
  const steps: RoleStep[] = []
  const add = (why: string, statement: string): void => {
    steps.push({ why, statements: [statement] })
  }
  if (walLevel !== 'logical') {
    add(
      `Changes can only be read with wal_level = logical (it is ${walLevel}). NEEDS A RESTART.`,
      `ALTER SYSTEM SET wal_level = 'logical';`,
    )
  }
  if (slots > maxReplicationSlots) {
    add(
      `limits.maxSlots is ${limits.maxSlots}, and ${usedSlots} of ${maxReplicationSlots} slots are in use. NEEDS A RESTART.`,
      `ALTER SYSTEM SET max_replication_slots = ${slots};`,
    )
  }
  if (senders > maxWalSenders) {
    add(
      `Each slot has a sender while it is read; ${usedSenders} of ${maxWalSenders} are in use. NEEDS A RESTART.`,
      `ALTER SYSTEM SET max_wal_senders = ${senders};`,
    )
  }
  if (server.maxSlotWalKeepBytes === null) {
    add(
      'A choice: a slot that nobody reads holds WAL until the disk is full; with a limit the slot is lost, and its slice copied anew.',
      `-- ALTER SYSTEM SET max_slot_wal_keep_size = '50GB'; SELECT pg_reload_conf();`,
    )
  }
  return steps
}

/** Whole lines for the head of the file. */
export function notesOf({ server, homes, owner }: DatabaseSeen, url: string): string[] {
  const left = homes.filter(home => home.superuser)
  const plain = homes.some(home => !home.superuser)
  return [
    ...(homes.length === 0 && !owner.superuser
      ? [`No table is here yet: they will be those of ${quote(owner.name)}, who owns the database.`]
      : []),
    ...left.map(
      home =>
        `${plain ? 'LEFT OUT' : 'IN THE WAY'}: ${home.tables} tables in ${quote(home.schema)} belong to the superuser ${quote(home.owner)};` +
        ' give them to an ordinary role (ALTER TABLE … OWNER TO …).',
    ),
    ...(server.versionNumber < 150_000
      ? [
          'PostgreSQL 14: apply must also be a superuser (ALTER ROLE … SUPERUSER), or upgrade to 15.',
        ]
      : []),
    `pg_hba.conf must let the three roles in at ${placeOf(url)} from where Banyan runs (scram-sha-256).`,
    'On a managed server settings are made in its console, and its administrator grants REPLICATION.',
  ]
}
