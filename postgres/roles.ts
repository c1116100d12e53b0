/** SQL for the three roles that Banyan uses in a database, so that each part can do its own work and no more. */
import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto'
import { literal, quote } from './sql.ts'

export interface RoleWanted {
  readonly name: string
  /** Sent and printed as a SCRAM verifier only: it can't be read back from a log. */
  readonly password: string
}

export interface RolesWanted {
  readonly database: string
  /** Who owns the application's tables: neither a superuser nor one of these three. */
  readonly owner: string
  /** Where the application's tables are. */
  readonly schema: string
  /** Changes what the database is made of: gates, publications, the schema `banyan`. Used while a person watches. */
  readonly setup: RoleWanted
  /** Writes rows. The only one that a gate lets through, so no application may ever use it. */
  readonly apply: RoleWanted
  /** Reads rows and the change stream. Writes nothing. */
  readonly capture: RoleWanted
}

/**
 * Statements for a superuser, in the database itself, in this order; safe to repeat (passwords are set anew). They fail
 * where the owner is a superuser, since `setup` becomes its member. PostgreSQL 14 can't let `apply` set
 * session_replication_role: see ROLE_REPLICA_DENIED.
 */
export function rolesSql(wanted: RolesWanted): string[] {
  const { setup, apply, capture } = wanted
  const database = quote(wanted.database)
  const schema = quote(wanted.schema)
  const owner = quote(wanted.owner)
  const [s, a, c] = [quote(setup.name), quote(apply.name), quote(capture.name)]
  return [
    refuseSuperuser(wanted.owner),
    ...role(setup, ''),
    // Row-level policies must not hide rows from a copy: what isn't seen looks like what isn't there.
    ...role(apply, 'BYPASSRLS'),
    ...role(capture, 'REPLICATION BYPASSRLS'),
    `GRANT CONNECT ON DATABASE ${database} TO ${s}, ${a}, ${c};`,
    `GRANT CREATE ON DATABASE ${database} TO ${s};`,
    `GRANT ${owner} TO ${s};`,
    `GRANT USAGE ON SCHEMA ${schema} TO ${s}, ${a}, ${c};`,
    `GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA ${schema} TO ${a};`,
    `GRANT SELECT, USAGE, UPDATE ON ALL SEQUENCES IN SCHEMA ${schema} TO ${a};`,
    `GRANT SELECT ON ALL TABLES IN SCHEMA ${schema} TO ${c};`,
    `GRANT SELECT ON ALL SEQUENCES IN SCHEMA ${schema} TO ${c};`,
    ...[owner, s].flatMap(maker => futureGrants(maker, schema, { a, c })),
    // To name who blocks a fence.
    `GRANT pg_read_all_stats TO ${a};`,
    grantReplica(apply.name),
  ]
}

/**
 * Takes the three roles away again, with all that was granted to them in this database, after the migrations' way down.
 * What `setup` still owns goes to the owner. Fails where another database still knows the roles.
 */
export function dropRolesSql(wanted: {
  readonly owner: string
  readonly setup: string
  readonly apply: string
  readonly capture: string
}): string[] {
  const [s, a, c] = [quote(wanted.setup), quote(wanted.apply), quote(wanted.capture)]
  return [
    `REASSIGN OWNED BY ${s} TO ${quote(wanted.owner)};`,
    // One by one: default privileges that name two of the roles stumble over their own end otherwise (XX000).
    ...[s, a, c].map(role => `DROP OWNED BY ${role};`),
    `DROP ROLE ${s}, ${a}, ${c};`,
  ]
}

/** A password as PostgreSQL stores it (RFC 5802, RFC 7677). */
export function scramVerifier(password: string, salt = randomBytes(16)): string {
  const iterations = 4096
  const salted = pbkdf2Sync(password.normalize('NFKC'), salt, iterations, 32, 'sha256')
  const key = (name: string): Buffer => createHmac('sha256', salted).update(name).digest()
  const stored = createHash('sha256').update(key('Client Key')).digest('base64')
  const server = key('Server Key').toString('base64')
  return `SCRAM-SHA-256$${iterations}:${salt.toString('base64')}$${stored}:${server}`
}

function role({ name, password }: RoleWanted, traits: string): string[] {
  const known = `SELECT FROM pg_catalog.pg_roles WHERE rolname = ${literal(name)}`
  return [
    `DO $banyan$ BEGIN IF NOT EXISTS (${known}) THEN CREATE ROLE ${quote(name)}; END IF; END $banyan$;`,
    `ALTER ROLE ${quote(name)} LOGIN INHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE ${traits} ` +
      `PASSWORD ${literal(scramVerifier(password))};`,
  ]
}

function futureGrants(maker: string, schema: string, { a, c }: { a: string; c: string }): string[] {
  const future = `ALTER DEFAULT PRIVILEGES FOR ROLE ${maker} IN SCHEMA ${schema} GRANT`
  return [
    `${future} SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON TABLES TO ${a};`,
    `${future} SELECT, USAGE, UPDATE ON SEQUENCES TO ${a};`,
    `${future} SELECT ON TABLES TO ${c};`,
    `${future} SELECT ON SEQUENCES TO ${c};`,
  ]
}

function refuseSuperuser(owner: string): string {
  const asks = `SELECT FROM pg_catalog.pg_roles WHERE rolname = ${literal(owner)} AND rolsuper`
  const says = `RAISE 'the owner is a superuser' USING HINT = 'give the tables to an ordinary role first (REASSIGN OWNED)'`
  return `DO $banyan$ BEGIN IF EXISTS (${asks}) THEN ${says}; END IF; END $banyan$;`
}

/** Applying must not fire the application's triggers and foreign-key checks again: they fired where the change was made. */
function grantReplica(apply: string): string {
  const grant = `GRANT SET ON PARAMETER session_replication_role TO ${quote(apply)}`
  return (
    `DO $banyan$ BEGIN IF pg_catalog.current_setting('server_version_num')::int >= 150000 THEN ` +
    `EXECUTE ${literal(grant)}; END IF; END $banyan$;`
  )
}
