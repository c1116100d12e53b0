/** `banyan migrate --roles`: the SQL by which a superuser makes the three roles of a database, for reading and for `psql`. */
import { splitTableName } from '../model/banyan-file.ts'
import { BanyanError } from '../model/errors.ts'
import { CONTROL_ERRORS } from '../model/errors-control.ts'
import type { Project } from '../model/project.ts'
import { type DatabaseUrls, qualified, roleOf } from '../model/wiring.ts'
import { connect } from '../postgres/connection.ts'
import { placeOf } from '../postgres/explain.ts'
import { readHomes } from '../postgres/homes.ts'
import { type Home, roleSteps, type RoleWanted } from '../postgres/roles.ts'
import { commandLine, type Context, type ExitCode, jsonText } from './context.ts'
import { dbaText, PLACEHOLDER } from './dba-text.ts'
import { sameRoles } from './doctor-side.ts'
import { openProject, openUrls } from './wiring.ts'

const CONNECT_MS = 3_000

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
  const homes = (asked ?? unknownHomes(tables)).map(({ schema, owner }) => ({ schema, owner }))
  const wanted = { database: databaseOf(urls), homes, ...rolesOf(name, urls) }
  const steps = roleSteps(wanted)
  const known = asked !== undefined
  const { database } = wanted
  if (context.json) {
    const statements = steps.flatMap(step => step.statements)
    context.write(jsonText({ name, database, ownerKnown: known, homes, statements }))
    return 0
  }
  const after = project.slices.find(slice => name === 'legacy' || slice.service === name)
  const next = commandLine(context, after ? `doctor ${after.name}` : 'doctor')
  context.write(dbaText({ database, place: placeOf(urls.setup), known, steps, next }))
  return 0
}

/** The application's tables there, `schema.table`: the slices' and the read copies. */
export function tablesOf({ slices, banyan }: Project, name: string): string[] {
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

/** Without `tables`, of all that are there. Undefined where no role gets in, or sees none. */
export async function askOwners(
  urls: DatabaseUrls,
  tables: readonly string[],
): Promise<Home[] | undefined> {
  for (const url of [urls.setup, urls.capture, urls.apply]) {
    const applicationName = 'banyan migrate'
    const wanted = { url, applicationName, connectTimeoutMs: CONNECT_MS }
    const client = await connect(wanted).catch(() => undefined)
    if (!client) continue
    try {
      const homes = await readHomes(client, tables.length > 0 ? tables : undefined)
      return homes.length > 0 ? homes : undefined
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

function rolesOf(name: string, urls: DatabaseUrls): Record<keyof DatabaseUrls, RoleWanted> {
  const role = (url: string): RoleWanted => {
    const password = decodeURIComponent(new URL(url).password)
    if (password !== '') return { name: roleOf(url), password }
    throw new BanyanError(CONTROL_ERRORS.ROLE_PASSWORD_MISSING, [name, roleOf(url)])
  }
  return { setup: role(urls.setup), apply: role(urls.apply), capture: role(urls.capture) }
}

export function databaseOf(urls: DatabaseUrls): string {
  const url = new URL(urls.setup)
  // As PostgreSQL does where a URL names none.
  return decodeURIComponent(url.pathname.slice(1)) || roleOf(urls.setup)
}
