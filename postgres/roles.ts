/** SQL for the three roles that Banyan uses in a database, so that each part can do its own work and no more. */
import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto'
import { doBlock, literal, quote } from './sql.ts'

export interface RoleWanted {
  readonly name: string
  /** Sent and printed as a SCRAM verifier only: it can't be read back from a log. */
  readonly password: string
}

export interface Home {
  /** Where the application's tables are. */
  readonly schema: string
  /** Who owns them: neither a superuser nor one of the three. */
  readonly owner: string
}

interface ThreeRoles {
  /** Changes what the database is made of: gates, publications, the schema `banyan`. Used while a person watches. */
  readonly setup: RoleWanted
  /** Writes rows. The only one that a gate lets through, so no application may ever use it. */
  readonly apply: RoleWanted
  /** Reads rows and the change stream. Writes nothing. */
  readonly capture: RoleWanted
}

export type RolesWanted = ThreeRoles & Home & { readonly database: string }

export interface RoleStep {
  /** For whoever reads the statements before running them; one line. */
  readonly why: string
  readonly statements: readonly string[]
}

/** The statements of `roleSteps` for tables that have one home. */
export function rolesSql(wanted: RolesWanted): string[] {
  return roleSteps({ ...wanted, homes: [wanted] }).flatMap(step => step.statements)
}

/**
 * Statements for a superuser, in the database itself, in this order, one line each; safe to repeat (passwords are set
 * anew). They fail where an owner is a superuser, since `setup` becomes its member. PostgreSQL 14 can't let `apply` set
 * session_replication_role: see ROLE_REPLICA_DENIED. `banyan doctor` asks for each of them but the default privileges.
 */
export function roleSteps(
  wanted: ThreeRoles & { readonly database: string; readonly homes: readonly Home[] },
): RoleStep[] {
  const { setup, apply, capture } = wanted
  const database = quote(wanted.database)
  const owners = [...new Set(wanted.homes.map(home => home.owner))]
  const schemas = [...new Set(wanted.homes.map(home => home.schema))].map(quote)
  const [s, a, c] = [quote(setup.name), quote(apply.name), quote(capture.name)]
  const each = (of: readonly string[], make: (one: string) => string): string[] => of.map(make)
  return [
    {
      why: 'A superuser owns no table of an application: no gate could hold it. Stops here if one does.',
      statements: each(owners, refuseSuperuser),
    },
    {
      why: 'setup changes what the database is made of (gates, publications); used while a person watches.',
      statements: roleSql(setup, 'NOREPLICATION NOBYPASSRLS'),
    },
    {
      // Row-level policies must not hide rows from a copy: what isn't seen looks like what isn't there.
      why: 'apply writes what the other side committed. BYPASSRLS: no policy may hide a row from it.',
      statements: roleSql(apply, 'NOREPLICATION BYPASSRLS'),
    },
    {
      why: 'capture reads rows and the change stream (REPLICATION), and writes nothing.',
      statements: roleSql(capture, 'REPLICATION BYPASSRLS'),
    },
    {
      why: 'All three log in here; nobody else needs their passwords.',
      statements: [`GRANT CONNECT ON DATABASE ${database} TO ${s}, ${a}, ${c};`],
    },
    {
      why: 'setup makes the schema banyan, and publications.',
      statements: [`GRANT CREATE ON DATABASE ${database} TO ${s};`],
    },
    {
      why: 'setup puts the gate on each table of a slice, which only its owner may.',
      statements: each(owners, owner => `GRANT ${quote(owner)} TO ${s};`),
    },
    {
      why: 'Nobody reaches a table without its schema.',
      statements: each(schemas, schema => `GRANT USAGE ON SCHEMA ${schema} TO ${s}, ${a}, ${c};`),
    },
    {
      why: 'apply keeps rows in step.',
      statements: each(
        schemas,
        schema =>
          `GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA ${schema} TO ${a};`,
      ),
    },
    {
      why: 'A trigger that is to run while its table is a copy may draw from a sequence.',
      statements: each(
        schemas,
        schema => `GRANT USAGE ON ALL SEQUENCES IN SCHEMA ${schema} TO ${a};`,
      ),
    },
    {
      why: 'capture copies rows and compares them.',
      statements: each(
        schemas,
        schema => `GRANT SELECT ON ALL TABLES IN SCHEMA ${schema} TO ${c};`,
      ),
    },
    {
      why: 'The same for what is made later.',
      statements: [
        ...wanted.homes.flatMap(({ owner, schema }) =>
          futureGrants(quote(owner), quote(schema), a, c),
        ),
        ...schemas.flatMap(schema => futureGrants(s, schema, a, c)),
      ],
    },
    {
      why: 'To name who blocks a fence.',
      statements: [`GRANT pg_read_all_stats TO ${s};`],
    },
    {
      // They fired where the change was made.
      why: "Applying must not fire the application's triggers and foreign-key checks again (PostgreSQL 15 and newer).",
      statements: [grantReplica(apply.name)],
    },
  ]
}

/**
 * Takes the three roles away again, with all that was granted to them in this database, after the migrations' way down.
 * What `setup` still owns goes to the owner. Fails where another database still knows the roles.
 */
export function dropRoleSteps(wanted: {
  readonly owner: string
  readonly setup: string
  readonly apply: string
  readonly capture: string
}): RoleStep[] {
  const [s, a, c] = [quote(wanted.setup), quote(wanted.apply), quote(wanted.capture)]
  return [
    {
      why: 'What setup still owns here goes to the owner of the tables.',
      statements: [`REASSIGN OWNED BY ${s} TO ${quote(wanted.owner)};`],
    },
    {
      why: 'All that was granted to them here, or is to be granted to them later.',
      // One by one: default privileges that name two of the roles stumble over their own end otherwise (XX000).
      statements: [s, a, c].map(role => `DROP OWNED BY ${role};`),
    },
    {
      why: 'The roles. Where another database still knows one, its statements come first.',
      statements: [`DROP ROLE ${s}, ${a}, ${c};`],
    },
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

/** Makes a role that can log in and has these traits alone, or makes it so. */
export function roleSql({ name, password }: RoleWanted, traits: string): string[] {
  const known = `SELECT FROM pg_catalog.pg_roles WHERE rolname = ${literal(name)}`
  return [
    doBlock(`IF NOT EXISTS (${known}) THEN CREATE ROLE ${quote(name)}; END IF;`),
    `ALTER ROLE ${quote(name)} LOGIN INHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE ${traits} ` +
      `PASSWORD ${literal(scramVerifier(password))};`,
  ]
}

function futureGrants(maker: string, schema: string, apply: string, capture: string): string[] {
  const future = `ALTER DEFAULT PRIVILEGES FOR ROLE ${maker} IN SCHEMA ${schema} GRANT`
  return [
    `${future} SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON TABLES TO ${apply};`,
    `${future} USAGE ON SEQUENCES TO ${apply};`,
    `${future} SELECT ON TABLES TO ${capture};`,
  ]
}

function refuseSuperuser(owner: string): string {
  const asks = `SELECT FROM pg_catalog.pg_roles WHERE rolname = ${literal(owner)} AND rolsuper`
  const says = `RAISE 'the owner is a superuser' USING HINT = 'give the tables to an ordinary role first: ALTER TABLE … OWNER TO …'`
  return doBlock(`IF EXISTS (${asks}) THEN ${says}; END IF;`)
}

function grantReplica(apply: string): string {
  const grant = `GRANT SET ON PARAMETER session_replication_role TO ${quote(apply)}`
  const able = `pg_catalog.current_setting('server_version_num')::int >= 150000`
  return doBlock(`IF ${able} THEN EXECUTE ${literal(grant)}; END IF;`)
}
