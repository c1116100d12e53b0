/** `banyan migrate --roles`: the SQL by which a superuser makes the three roles of a database, for reading and for `psql`. */
import { splitTableName } from '../model/banyan-file.ts'
import { BanyanError } from '../model/errors.ts'
import { CONTROL_ERRORS } from '../model/errors-control.ts'
import type { Project } from '../model/project.ts'
import { type DatabaseUrls, qualified, roleOf } from '../model/wiring.ts'
import { connect } from '../postgres/connection.ts'
import { placeOf } from '../postgres/explain.ts'
import { rolesSql, type RoleWanted } from '../postgres/roles.ts'
import { commandLine, type Context, type ExitCode, jsonText } from './context.ts'
import { sameRoles } from './doctor-side.ts'
import { openProject, openUrls } from './wiring.ts'

const CONNECT_MS = 3_000
/** Stands where the owner's name belongs and nobody could be asked for it. */
const PLACEHOLDER = 'OWNER_OF_THE_TABLES'

interface Home {
  readonly schema: string
  readonly owner: string
}

/** Throws OPTION_INVALID, ROLES_SAME, ROLE_PASSWORD_MISSING, CONFIG_MISSING, FilesInvalid. */
export async function printRoles(context: Context, name: string): Promise<ExitCode> {
  const loaded = await openProject(context.config)
  const { project } = loaded
  const names = ['legacy', ...Object.keys(project.banyan.services)]
  if (!names.includes(name)) {
    const details = ['--roles', name, `it is one of ${names.join(', ')}`, 'migrate']
    throw new BanyanError(CONTROL_ERRORS.OPTION_INVALID, details)
  }
  const urls = await openUrls(context.config, loaded, name)
  const same = sameRoles(urls)
  if (same) throw new BanyanError(CONTROL_ERRORS.ROLES_SAME, [name, ...same])
  const tables = tablesOf(project, name)
  const asked = await askOwners(urls, tables)
  const homes = asked ?? unknownHomes(tables)
  const statements = statementsOf(name, urls, homes)
  const known = asked !== undefined
  if (context.json) {
    const database = databaseOf(urls)
    context.write(jsonText({ name, database, ownerKnown: known, homes, statements }))
    return 0
  }
  const comments = [
    `-- For a superuser, in the database "${databaseOf(urls)}" at ${placeOf(urls.setup)}; safe to repeat.`,
    '-- The passwords are those of the URLs, as verifiers: nobody can read them back.',
    ...(known
      ? []
      : [
          `-- ${PLACEHOLDER} is to be replaced by the role that owns the application's tables:`,
          '-- none of the three roles can ask for it yet.',
        ]),
  ]
  const after = project.slices.find(slice => name === 'legacy' || slice.service === name)
  const next = commandLine(context, after ? `doctor ${after.name}` : 'migrate')
  context.write(`${[...comments, ...statements, `-- next: ${next}`].join('\n')}\n`)
  return 0
}

/** The application's tables there, `schema.table`: the slices' and the read copies. */
function tablesOf({ slices, banyan }: Project, name: string): string[] {
  const owned = slices.flatMap(({ service, tables }) =>
    Object.entries(tables).flatMap(([table, { to }]) =>
      name === 'legacy' ? [table] : service === name ? [to] : [],
    ),
  )
  const copies = Object.entries(banyan.services).flatMap(([service, { copies }]) =>
    name === 'legacy' || service === name ? copies : [],
  )
  return [...new Set([...owned, ...copies].map(qualified))]
}

/** Undefined where no role gets in, or sees none of the tables. The home of most tables comes first. */
async function askOwners(
  urls: DatabaseUrls,
  tables: readonly string[],
): Promise<Home[] | undefined> {
  for (const url of [urls.setup, urls.capture, urls.apply]) {
    const applicationName = 'banyan migrate'
    const wanted = { url, applicationName, connectTimeoutMs: CONNECT_MS }
    const client = await connect(wanted).catch(() => undefined)
    if (!client) continue
    try {
      const { rows } = await client.query<Home>(
        `SELECT n.nspname AS schema, r.rolname AS owner FROM pg_catalog.pg_class c
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         JOIN pg_catalog.pg_roles r ON r.oid = c.relowner
         WHERE n.nspname || '.' || c.relname = ANY ($1) GROUP BY 1, 2 ORDER BY count(*) DESC, 1, 2`,
        [tables],
      )
      return rows.length > 0 ? rows : undefined
    } finally {
      await client.end()
    }
  }
  return undefined
}

function unknownHomes(tables: readonly string[]): Home[] {
  const schemas = new Set(tables.map(table => splitTableName(table).schema))
  if (schemas.size === 0) schemas.add('public')
  return [...schemas].map(schema => ({ schema, owner: PLACEHOLDER }))
}

/** The roles once, and their rights in each schema and of each owner. */
function statementsOf(name: string, urls: DatabaseUrls, homes: readonly Home[]): string[] {
  const role = (url: string): RoleWanted => {
    const password = decodeURIComponent(new URL(url).password)
    if (password !== '') return { name: roleOf(url), password }
    throw new BanyanError(CONTROL_ERRORS.ROLE_PASSWORD_MISSING, [name, roleOf(url)])
  }
  const roles = {
    setup: role(urls.setup),
    apply: role(urls.apply),
    capture: role(urls.capture),
  }
  const all = homes.flatMap((home, n) => {
    const statements = rolesSql({ database: databaseOf(urls), ...home, ...roles })
    // A verifier is salted: made again, it would be another one for the same password.
    return n === 0 ? statements : statements.filter(each => !each.startsWith('ALTER ROLE'))
  })
  return [...new Set(all)]
}

function databaseOf(urls: DatabaseUrls): string {
  const url = new URL(urls.setup)
  // As PostgreSQL does where a URL names none.
  return decodeURIComponent(url.pathname.slice(1)) || roleOf(urls.setup)
}
