/** What the roles of one database may do, and who else may do it: facts for `banyan doctor`, which any role may read. */
import type pg from 'pg'
import { must } from '../model/errors.ts'

export interface RolesAsked {
  readonly setup: string
  readonly apply: string
  readonly capture: string
}
export type OurRole = keyof RolesAsked

export interface RoleRights {
  readonly name: string
  readonly there: boolean
  readonly login: boolean
  readonly superuser: boolean
  readonly createRole: boolean
  readonly createDatabase: boolean
  readonly replication: boolean
  readonly bypassRls: boolean
  /** May see what other sessions run (pg_read_all_stats). */
  readonly seesActivity: boolean
  /** Roles whose rights it has, directly. */
  readonly memberOf: readonly string[]
  /** Roles that have its rights, directly; none of the three, and no superuser. */
  readonly members: readonly string[]
  /** What it owns, in any database of the cluster, as PostgreSQL names it; a few of them. */
  readonly owns: readonly string[]
  /** Where it was granted to make objects: `SCHEMA public`, `DATABASE his`. */
  readonly creates: readonly string[]
}

export interface Grant {
  /** Null: everybody (PUBLIC). */
  readonly grantee: string | null
  readonly privileges: readonly string[]
  /** As GRANT and REVOKE name it: `public.visits`, `SEQUENCE banyan.gate_1`, `FUNCTION banyan.fence`. */
  readonly object: string
}

export interface Privileges {
  readonly versionNumber: number
  readonly database: string
  readonly roles: Readonly<Record<OurRole, RoleRights>>
  /** Who owns tables of the application here. `administers`: which of the three it may give itself. */
  readonly owners: readonly {
    readonly name: string
    readonly superuser: boolean
    readonly createRole: boolean
    readonly administers: readonly string[]
  }[]
  /** What capture, or everybody, may write. */
  readonly written: readonly Grant[]
  /** Schemas that were asked about, and which of the three may not use them. */
  readonly closedSchemas: readonly { readonly schema: string; readonly role: string }[]
  /** What apply and capture lack in the schema `banyan`; empty where it isn't there. */
  readonly lacking: readonly Grant[]
  /** Functions, and rights to change what we keep there, that somebody has who shouldn't. */
  readonly leaked: readonly Grant[]
}

/** `schemas`: of the tables that are asked about. Reads the catalog only. */
export async function readPrivileges(
  client: pg.ClientBase,
  asked: RolesAsked,
  { schemas, side }: { readonly schemas: readonly string[]; readonly side: 'legacy' | 'service' },
): Promise<Privileges> {
  const version = await client.query<{ version: number }>(
    `SELECT pg_catalog.current_setting('server_version_num')::int AS version`,
  )
  const versionNumber = must(version.rows[0], 'a version').version
  const names = [asked.setup, asked.apply, asked.capture]
  const { rows } = await client.query<{ facts: string }>(statement(Number(versionNumber), side), [
    names,
    schemas,
  ])
  const facts = JSON.parse(must(rows[0], 'a row of facts').facts) as Omit<Privileges, 'roles'> & {
    roles: readonly RoleRights[]
  }
  const [setup, apply, capture] = facts.roles
  const roles = {
    setup: must(setup, 'setup'),
    apply: must(apply, 'apply'),
    capture: must(capture, 'capture'),
  }
  return { ...facts, roles }
}

/** SQL: whether `c` (a row of pg_class, its schema `n`) is a table of the application: no system's, extension's or ours. */
export const APPLICATION_TABLE = `c.relkind IN ('r', 'p', 'f') AND c.relpersistence <> 't'
  AND n.nspname <> ALL ('{pg_catalog,information_schema,banyan}') AND n.nspname !~ '^pg_(toast|temp)'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend x
    WHERE x.classid = 'pg_catalog.pg_class'::regclass AND x.objid = c.oid AND x.deptype = 'e')`

/** A membership that gives rights: from PostgreSQL 16 on one may only administer. */
function usable(m: string, versionNumber: number): string {
  return versionNumber >= 160_000 ? `(${m}.inherit_option OR ${m}.set_option)` : 'true'
}

const OWNED_MAX = 4

function roleFacts(versionNumber: number): string {
  return `SELECT pg_catalog.json_build_object(
    'name', o.name, 'there', r.oid IS NOT NULL, 'login', coalesce(r.rolcanlogin, false),
    'superuser', coalesce(r.rolsuper, false), 'createRole', coalesce(r.rolcreaterole, false),
    'createDatabase', coalesce(r.rolcreatedb, false), 'replication', coalesce(r.rolreplication, false),
    'bypassRls', coalesce(r.rolbypassrls, false),
    'seesActivity', coalesce(pg_catalog.pg_has_role(r.oid, 'pg_read_all_stats', 'USAGE'), false),
    'memberOf', ARRAY(SELECT g.rolname FROM pg_catalog.pg_auth_members m
      JOIN pg_catalog.pg_roles g ON g.oid = m.roleid
      WHERE m.member = r.oid AND ${usable('m', versionNumber)} ORDER BY 1),
    'members', ARRAY(SELECT g.rolname FROM pg_catalog.pg_auth_members m
      JOIN pg_catalog.pg_roles g ON g.oid = m.member
      WHERE m.roleid = r.oid AND NOT g.rolsuper AND g.rolname <> ALL ($1) AND ${usable('m', versionNumber)}
      ORDER BY 1),
    'owns', ARRAY(SELECT CASE WHEN s.dbid IN (0, here.oid) THEN pg_catalog.pg_describe_object(s.classid, s.objid, s.objsubid)
        ELSE 'something in the database ' || (SELECT d.datname FROM pg_catalog.pg_database d WHERE d.oid = s.dbid) END
      FROM pg_catalog.pg_shdepend s WHERE s.refclassid = 'pg_catalog.pg_authid'::regclass AND s.refobjid = r.oid
        AND s.deptype = 'o' AND s.classid <> 'pg_catalog.pg_default_acl'::regclass ORDER BY 1 LIMIT ${OWNED_MAX}),
    'creates', ARRAY(
      SELECT 'SCHEMA ' || pg_catalog.quote_ident(n.nspname) FROM pg_catalog.pg_namespace n
      WHERE r.oid <> n.nspowner AND EXISTS (SELECT FROM pg_catalog.aclexplode(n.nspacl) a
        WHERE a.grantee = r.oid AND a.privilege_type = 'CREATE')
      UNION ALL SELECT 'DATABASE ' || pg_catalog.quote_ident(d.datname) FROM pg_catalog.pg_database d
      WHERE d.oid = here.oid AND EXISTS (SELECT FROM pg_catalog.aclexplode(d.datacl) a
        WHERE a.grantee = r.oid AND a.privilege_type = 'CREATE') ORDER BY 1)
  ) FROM here, pg_catalog.unnest($1::text[]) WITH ORDINALITY o (name, n)
  LEFT JOIN pg_catalog.pg_roles r ON r.rolname = o.name ORDER BY o.n`
}

const OWNERS = `SELECT pg_catalog.json_build_object('name', r.rolname, 'superuser', r.rolsuper,
    'createRole', r.rolcreaterole,
    'administers', ARRAY(SELECT g.rolname FROM pg_catalog.pg_auth_members m
      JOIN pg_catalog.pg_roles g ON g.oid = m.roleid
      WHERE m.member = r.oid AND m.admin_option AND g.rolname = ANY ($1) ORDER BY 1))
  FROM pg_catalog.pg_roles r WHERE r.oid IN (SELECT c.relowner FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE ${APPLICATION_TABLE}) ORDER BY r.rolname`

/** Relations, columns and sequences, as GRANT names them. */
const RELATION_GRANTS = `
  SELECT n.nspname, c.relname, c.relkind, c.relowner AS owner, a.grantee, a.privilege_type,
    CASE c.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE '' END || pg_catalog.format('%I.%I', n.nspname, c.relname) AS object
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace, LATERAL (
    SELECT e.grantee, e.privilege_type FROM pg_catalog.aclexplode(c.relacl) e
    UNION SELECT e.grantee, e.privilege_type FROM pg_catalog.pg_attribute t, pg_catalog.aclexplode(t.attacl) e
    WHERE t.attrelid = c.oid AND t.attnum > 0) a
  WHERE n.nspname <> ALL ('{pg_catalog,information_schema}') AND n.nspname !~ '^pg_(toast|temp)'
    AND (c.relkind <> 'S' AND a.privilege_type = ANY ('{INSERT,UPDATE,DELETE,TRUNCATE}')
      OR c.relkind = 'S' AND a.privilege_type = ANY ('{USAGE,UPDATE}'))`

// Everybody's rights to the application's tables are the application's own matter, but capture has them too.
const WRITTEN = `SELECT g.* FROM grants g
  WHERE g.grantee = (SELECT oid FROM ours WHERE n = 3) AND g.grantee <> g.owner OR g.grantee = 0 AND g.nspname <> 'banyan'`

/** What migrations grant, and gates: nothing works without it. */
function lacking(side: 'legacy' | 'service'): string {
  return `
  SELECT o.name AS grantee, w.privilege, w.object FROM (
    SELECT who.n, 'USAGE' AS privilege, 'SCHEMA banyan' AS object FROM (VALUES (2), (3)) who (n)
    WHERE NOT pg_catalog.has_schema_privilege((SELECT oid FROM ours WHERE n = who.n), 'banyan', 'USAGE')
    UNION ALL SELECT w.n, w.privilege, 'banyan.' || c.relname FROM pg_catalog.pg_class c JOIN (
      SELECT who.n, 'SELECT' AS privilege, t.name FROM (VALUES (2), (3)) who (n), pg_catalog.unnest(
        '{slice,relation,fence,progress,evidence,decision,fingerprint}'::text[]) t (name)
      UNION ALL VALUES (2, 'INSERT', 'progress'), (2, 'UPDATE', 'progress'), (2, 'DELETE', 'progress'),
        (2, 'INSERT', 'evidence')${side === 'service' ? `, (2, 'INSERT', 'decision')` : ''}
    ) w ON w.name = c.relname
    WHERE c.relnamespace = (SELECT oid FROM home) AND c.relkind = 'r'
      AND NOT pg_catalog.has_table_privilege((SELECT oid FROM ours WHERE n = w.n), c.oid, w.privilege)
    UNION ALL SELECT 2, w.privilege, 'SEQUENCE banyan.' || c.relname FROM pg_catalog.pg_class c JOIN (
      VALUES ('SELECT', '^(gate|refused|census)_[0-9]+$'), ('UPDATE', '^census_[0-9]+$')) w (privilege, name)
      ON c.relname ~ w.name
    WHERE c.relnamespace = (SELECT oid FROM home) AND c.relkind = 'S'
      AND NOT pg_catalog.has_sequence_privilege((SELECT oid FROM ours WHERE n = 2), c.oid, w.privilege)
    UNION ALL SELECT 2, 'EXECUTE', 'FUNCTION banyan.' || p.proname FROM pg_catalog.pg_proc p
    WHERE p.pronamespace = (SELECT oid FROM home) AND p.prorettype <> 'pg_catalog.trigger'::regtype
      AND NOT pg_catalog.has_function_privilege((SELECT oid FROM ours WHERE n = 2), p.oid, 'EXECUTE')
  ) w (n, privilege, object) JOIN ours o ON o.n = w.n AND o.oid IS NOT NULL
  WHERE EXISTS (SELECT FROM home)`
}

// A bare `setval` of a word would break "one owner", a changed decision or fence its proof.
function leaked(side: 'legacy' | 'service'): string {
  const kept = side === 'legacy' ? `g.relname IN ('fence', 'decision')` : `g.relname = 'fence'`
  return `
  SELECT g.grantee, g.privilege_type, g.object FROM grants g
  WHERE g.nspname = 'banyan' AND g.grantee <> g.owner AND (
    g.grantee NOT IN (SELECT oid FROM ours WHERE oid IS NOT NULL)
    OR g.grantee = (SELECT oid FROM ours WHERE n = 2) AND (g.relname ~ '^(gate|refused)_[0-9]+$'
      OR g.relname IN ('fence', 'decision', 'evidence') AND g.privilege_type <> 'INSERT' OR ${kept}))
  UNION ALL SELECT a.grantee, a.privilege_type, 'FUNCTION banyan.' || p.proname
  FROM pg_catalog.pg_proc p, pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) a
  WHERE p.pronamespace = (SELECT oid FROM home) AND a.grantee <> p.proowner
    AND a.grantee NOT IN (SELECT oid FROM ours WHERE n < 3 AND oid IS NOT NULL)
  UNION ALL SELECT a.grantee, a.privilege_type, 'SCHEMA banyan' FROM home h, pg_catalog.aclexplode(h.acl) a
  WHERE a.privilege_type = 'CREATE' AND a.grantee NOT IN (h.owner, (SELECT oid FROM ours WHERE n = 1))`
}

/** $1: the names of setup, apply and capture; $2: schemas. One row, `facts`: Privileges as JSON text. */
function statement(versionNumber: number, side: 'legacy' | 'service'): string {
  const grouped = (grants: string): string => `ARRAY(
    SELECT pg_catalog.json_build_object('grantee', x.grantee, 'object', x.object,
      'privileges', pg_catalog.array_agg(DISTINCT x.privilege ORDER BY x.privilege))
    FROM (${grants}) x (grantee, privilege, object) GROUP BY x.grantee, x.object ORDER BY x.object, x.grantee)`
  const named = (grants: string): string =>
    `SELECT r.rolname::text, y.privilege, y.object FROM (${grants}) y (grantee, privilege, object)
     LEFT JOIN pg_catalog.pg_roles r ON r.oid = y.grantee`
  return `
WITH here AS (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()),
ours AS (SELECT o.n, o.name, r.oid FROM pg_catalog.unnest($1::text[]) WITH ORDINALITY o (name, n)
  LEFT JOIN pg_catalog.pg_roles r ON r.rolname = o.name),
home AS (SELECT oid, nspowner AS owner, nspacl AS acl FROM pg_catalog.pg_namespace WHERE nspname = 'banyan'),
grants AS (${RELATION_GRANTS})
SELECT pg_catalog.json_build_object(
  'versionNumber', pg_catalog.current_setting('server_version_num')::int,
  'database', pg_catalog.current_database(),
  'roles', ARRAY(${roleFacts(versionNumber)}),
  'owners', ARRAY(${OWNERS}),
  'written', ${grouped(named(`SELECT g.grantee, g.privilege_type, g.object FROM (${WRITTEN}) g`))},
  'closedSchemas', ARRAY(SELECT pg_catalog.json_build_object('schema', n.nspname, 'role', o.name)
    FROM pg_catalog.pg_namespace n, ours o
    WHERE n.nspname = ANY ($2::text[]) AND o.oid IS NOT NULL
      AND NOT pg_catalog.has_schema_privilege(o.oid, n.oid, 'USAGE') ORDER BY o.n, n.nspname),
  'lacking', ${grouped(lacking(side))},
  'leaked', ${grouped(named(leaked(side)))}
)::text AS facts`
}
