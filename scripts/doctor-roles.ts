/** Whether each role of a database may do its work, and no more: what is missing and what is too much, with the exact SQL. */
import { BanyanError } from '../model/errors.ts'
import { CONTROL_ERRORS } from '../model/errors-control.ts'
import { POSTGRES_ERRORS } from '../model/errors-postgres.ts'
import { PREFLIGHT_ERRORS } from '../model/errors-preflight.ts'
import type { Grant, OurRole, Privileges, RoleRights } from '../postgres/privileges.ts'
import { quote } from '../postgres/sql.ts'
import { type Check, check, problem } from './doctor-checks.ts'

/** Objects that are named; the rest is counted, and the statement is about all of them. */
const NAMED_MAX = 3

export const RIGHTS = [
  ['schemas may be used', []],
  ['grants in the schema banyan', []],
  ['setup: to name who blocks', []],
  ['setup may no more', []],
  ['apply may no more', []],
  ['capture may no more', []],
  ["the application's role", []],
  ['the schema banyan is ours alone', []],
] as const

/** One check for each of RIGHTS. Pure. `name`: of the database, as messages say it. */
export function rightsChecks(name: string, seen: Privileges): Check[] {
  const found = [
    closed(name, seen),
    lacking(name, seen.lacking),
    blind(name, seen.roles.setup),
    [...tooMuch(name, seen, 'setup'), ...strangers(name, seen)],
    [...tooMuch(name, seen, 'apply'), ...owned(name, seen, 'apply')],
    [...tooMuch(name, seen, 'capture'), ...owned(name, seen, 'capture'), ...writes(name, seen)],
    application(name, seen),
    leaked(name, seen.leaked),
  ]
  return RIGHTS.map(([what], n) => check(name, what, (found[n] ?? []).map(problem)))
}

function excess(name: string, what: string, ...sql: readonly string[]): BanyanError {
  const details = [name, what, `there, as a superuser: ${sql.join('; ')}`]
  return new BanyanError(CONTROL_ERRORS.ROLE_EXCESS, details)
}

function closed(name: string, { closedSchemas }: Privileges): BanyanError[] {
  return closedSchemas.map(({ schema, role }) => {
    const details = [name, role, 'USAGE', `SCHEMA ${quote(schema)}`]
    return new BanyanError(PREFLIGHT_ERRORS.GRANT_MISSING, details)
  })
}

/** Objects that lack the same are one statement. */
function lacking(name: string, grants: readonly Grant[]): BanyanError[] {
  return together(grants).map(({ grantee, privileges, objects }) => {
    const details = [name, grantee ?? '', privileges.join(', '), objects]
    return new BanyanError(PREFLIGHT_ERRORS.GRANT_MISSING, details)
  })
}

function blind(name: string, setup: RoleRights): BanyanError[] {
  if (setup.superuser || setup.seesActivity || !setup.there) return []
  const grant = `GRANT pg_read_all_stats TO ${quote(setup.name)}`
  const details = [name, setup.name, 'see who holds a transaction open', grant]
  return [new BanyanError(CONTROL_ERRORS.ROLE_LACKS, details)]
}

interface Trait {
  readonly has: (role: RoleRights) => boolean
  readonly says: string
  readonly without: string
  /** Whose work needs it. */
  readonly needs: readonly OurRole[]
}

const TRAITS: readonly Trait[] = [
  {
    has: role => role.superuser,
    says: 'is a superuser',
    without: 'NOSUPERUSER',
    needs: [],
  },
  {
    has: role => role.createRole,
    says: 'may make and change roles',
    without: 'NOCREATEROLE',
    needs: [],
  },
  {
    has: role => role.createDatabase,
    says: 'may make databases',
    without: 'NOCREATEDB',
    needs: [],
  },
  {
    has: role => role.replication,
    says: 'may read the change stream',
    without: 'NOREPLICATION',
    needs: ['capture'],
  },
  {
    has: role => role.bypassRls,
    says: 'passes row-level policies',
    without: 'NOBYPASSRLS',
    needs: ['apply', 'capture'],
  },
]

/** Traits, memberships both ways, and rights to make objects. */
function tooMuch(name: string, seen: Privileges, which: OurRole): BanyanError[] {
  const role = seen.roles[which]
  const who = `${which} ("${role.name}")`
  const found = TRAITS.flatMap(({ has, says, without, needs }) => {
    if (!has(role) || needs.includes(which)) return []
    // PostgreSQL 14 lets nobody else set session_replication_role.
    if (without === 'NOSUPERUSER' && which === 'apply' && seen.versionNumber < 150_000) return []
    return [excess(name, `${who} ${says}`, `ALTER ROLE ${quote(role.name)} ${without}`)]
  })
  const allowed = which === 'setup' ? seen.owners.map(owner => owner.name) : []
  const groups = role.memberOf.filter(
    group => !allowed.includes(group) && !(which === 'setup' && group === 'pg_read_all_stats'),
  )
  if (groups.length > 0) {
    const list = groups.map(quote).join(', ')
    const sql = `REVOKE ${list} FROM ${quote(role.name)}`
    found.push(excess(name, `${who} is a member of ${list}`, sql))
  }
  if (role.members.length > 0) {
    const list = role.members.map(quote).join(', ')
    const sql = `REVOKE ${quote(role.name)} FROM ${list}`
    found.push(excess(name, `${list} may act as ${who}, being a member of it`, sql))
  }
  // Setup has to.
  if (role.creates.length > 0 && which !== 'setup') {
    const sql = role.creates.map(place => `REVOKE CREATE ON ${place} FROM ${quote(role.name)}`)
    found.push(excess(name, `${who} may make objects in ${role.creates.join(', ')}`, ...sql))
  }
  return found
}

/** Setup is a member of whoever owns the tables; if that is a superuser, so is setup. */
function strangers(name: string, { roles, owners }: Privileges): BanyanError[] {
  const { setup } = roles
  const over = owners.filter(owner => owner.superuser && setup.memberOf.includes(owner.name))
  return over.map(owner =>
    excess(
      name,
      `setup ("${setup.name}") is a member of the superuser "${owner.name}"`,
      `REVOKE ${quote(owner.name)} FROM ${quote(setup.name)}`,
    ),
  )
}

function owned(name: string, { roles, owners }: Privileges, which: OurRole): BanyanError[] {
  const role = roles[which]
  if (role.owns.length === 0) return []
  const heir = owners.find(owner => owner.name !== role.name && !owner.superuser)
  const to = heir ? quote(heir.name) : '(whoever should own it)'
  const sql = `REASSIGN OWNED BY ${quote(role.name)} TO ${to}`
  const what = `${which} ("${role.name}") owns ${shortList(role.owns)}, and should own nothing`
  return [excess(name, what, sql)]
}

function writes(name: string, { roles, written }: Privileges): BanyanError[] {
  const { capture } = roles
  if (capture.superuser) return []
  return together(written).map(({ grantee, privileges, objects, count }) => {
    const list = privileges.join(', ')
    const on = count > NAMED_MAX ? `${count} relations` : objects
    const sql = `REVOKE ${list} ON ${objects} FROM ${grantee === null ? 'PUBLIC' : quote(grantee)}`
    const who = `capture ("${capture.name}")`
    const what = grantee === null ? `everybody (PUBLIC), and so ${who},` : who
    return excess(name, `${what} may ${list} on ${on}`, sql)
  })
}

function application(name: string, { roles, owners, versionNumber }: Privileges): BanyanError[] {
  const ours = (Object.keys(roles) as OurRole[]).map(which => [which, roles[which].name] as const)
  return owners.flatMap(owner => {
    const found: BanyanError[] = []
    // An owner of tables that is one of ours: for apply and capture it is said there.
    if (owner.name === roles.setup.name) {
      const what = `setup ("${owner.name}") owns tables of the application, whose role should be another`
      found.push(excess(name, what, 'ALTER TABLE … OWNER TO the role that the application uses'))
    }
    if (owner.superuser) return found // ROLE_IS_SUPERUSER says it
    const who = `"${owner.name}", who owns tables,`
    if (owner.createRole && versionNumber < 160_000) {
      const list = ours.map(([, role]) => quote(role)).join(', ')
      const sql = `ALTER ROLE ${quote(owner.name)} NOCREATEROLE`
      found.push(excess(name, `${who} may change the passwords of ${list}`, sql))
    }
    if (owner.administers.length > 0) {
      const list = owner.administers.map(quote).join(', ')
      const sql = `REVOKE ADMIN OPTION FOR ${list} FROM ${quote(owner.name)}`
      found.push(excess(name, `${who} may make itself a member of ${list}`, sql))
    }
    return found
  })
}

function leaked(name: string, grants: readonly Grant[]): BanyanError[] {
  return together(grants).map(({ grantee, privileges, objects, count }) => {
    const who = grantee === null ? 'everybody (PUBLIC)' : `"${grantee}"`
    const list = privileges.join(', ')
    const on = count > NAMED_MAX ? `${count} objects of the schema banyan` : objects
    const sql = `REVOKE ${list} ON ${objects} FROM ${grantee === null ? 'PUBLIC' : quote(grantee)}`
    return excess(name, `${who} may ${list} on ${on}`, sql)
  })
}

interface Together {
  readonly grantee: string | null
  readonly privileges: readonly string[]
  /** As one GRANT takes them. */
  readonly objects: string
  readonly count: number
}

/** One for each grantee, kind of object and list of privileges: GRANT and REVOKE take several objects of one kind. */
function together(grants: readonly Grant[]): Together[] {
  const groups = new Map<string, Grant[]>()
  for (const grant of grants) {
    const [kind] = kindOf(grant.object)
    const key = JSON.stringify([grant.grantee, kind, grant.privileges])
    groups.set(key, [...(groups.get(key) ?? []), grant])
  }
  return [...groups.values()].map(group => {
    const { grantee, privileges, object } = group[0]!
    const [kind] = kindOf(object)
    const names = group.map(each => kindOf(each.object)[1])
    return { grantee, privileges, objects: `${kind}${names.join(', ')}`, count: group.length }
  })
}

function kindOf(object: string): [kind: string, name: string] {
  const [, kind = '', name = ''] = /^((?:SCHEMA|SEQUENCE|FUNCTION) )?([\s\S]*)$/.exec(object) ?? []
  return [kind, name]
}

function shortList(items: readonly string[]): string {
  const shown = items.slice(0, NAMED_MAX).join(', ')
  return items.length > NAMED_MAX ? `${shown} and more` : shown
}

/** Why a role doesn't get in, where that is a matter of its rights; else the error as it is. */
export function entrance(
  name: string,
  error: BanyanError,
  { role, database }: { readonly role: RoleRights; readonly database: string },
): BanyanError {
  const lacks = (what: string, sql: string): BanyanError =>
    new BanyanError(CONTROL_ERRORS.ROLE_LACKS, [name, role.name, what, sql], { cause: error })
  if (error.code === POSTGRES_ERRORS.PRIVILEGE_MISSING.code) {
    const grant = `GRANT CONNECT ON DATABASE ${quote(database)} TO ${quote(role.name)}`
    return lacks('connect to the database', grant)
  }
  if (error.code !== POSTGRES_ERRORS.AUTH_FAILED.code) return error
  if (!role.there) {
    return lacks(
      'log in, since it is not there',
      `the statements of \`banyan migrate --roles ${name}\``,
    )
  }
  return role.login ? error : lacks('log in', `ALTER ROLE ${quote(role.name)} LOGIN`)
}
