/** The control database as `banyan doctor` sees it: its role owns that database, and may nothing else. */
import type { Store } from '../control/store/store.ts'
import { BanyanError, must } from '../model/errors.ts'
import { CONTROL_ERRORS } from '../model/errors-control.ts'
import { quote } from '../postgres/sql.ts'
import { type Check, check, problem } from './doctor-checks.ts'

interface Rights {
  readonly role: string
  readonly superuser: boolean
  readonly createRole: boolean
  readonly createDatabase: boolean
  readonly replication: boolean
  readonly groups: readonly string[]
  readonly elsewhere: readonly string[]
}

/** Throws what a database that went away throws. */
export async function lookAtControl({ pool }: Store): Promise<Check[]> {
  const { rows } = await pool.query<Rights>(
    `SELECT r.rolname AS role, r.rolsuper AS superuser, r.rolcreaterole AS "createRole", r.rolcreatedb AS "createDatabase",
       r.rolreplication AS replication,
       ARRAY(SELECT g.rolname::text FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles g ON g.oid = m.roleid
         WHERE m.member = r.oid ORDER BY 1) AS groups,
       ARRAY(SELECT DISTINCT d.datname::text FROM pg_catalog.pg_shdepend s JOIN pg_catalog.pg_database d
         ON d.oid = CASE WHEN s.classid = 'pg_catalog.pg_database'::regclass THEN s.objid ELSE s.dbid END
         WHERE s.refclassid = 'pg_catalog.pg_authid'::regclass AND s.refobjid = r.oid AND s.deptype = 'o'
           AND d.datname <> pg_catalog.current_database() ORDER BY 1) AS elsewhere
     FROM pg_catalog.pg_roles r WHERE r.rolname = session_user`,
  )
  return [check('control', 'a role of its own', excesses(must(rows[0], 'a role')).map(problem))]
}

function excesses(rights: Rights): BanyanError[] {
  const { role, superuser, createRole, createDatabase, replication, groups, elsewhere } = rights
  const traits = [
    superuser ? ['is a superuser', 'NOSUPERUSER'] : [],
    createRole ? ['may make roles', 'NOCREATEROLE'] : [],
    createDatabase ? ['may make databases', 'NOCREATEDB'] : [],
    replication ? ['may read change streams', 'NOREPLICATION'] : [],
  ].filter(each => each.length > 0)
  const found: (readonly [what: string, sql: string])[] = []
  if (traits.length > 0) {
    const list = traits.map(([says]) => says).join(' and ')
    found.push([list, `ALTER ROLE ${quote(role)} ${traits.map(([, word]) => word).join(' ')}`])
  }
  if (groups.length > 0) {
    const list = groups.map(quote).join(', ')
    found.push([`is a member of ${list}`, `REVOKE ${list} FROM ${quote(role)}`])
  }
  if (elsewhere.length > 0) {
    const list = elsewhere.map(quote).join(', ')
    const own = 'CREATE ROLE banyan LOGIN PASSWORD …, who owns that database alone'
    found.push([`owns something in ${list} as well`, own])
  }
  return found.map(([what, sql]) => {
    const details = ['control', `its role "${role}" ${what}`, `there, as a superuser: ${sql}`]
    return new BanyanError(CONTROL_ERRORS.ROLE_EXCESS, details)
  })
}
