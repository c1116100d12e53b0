/** One database as `banyan doctor` sees it: whether each role gets in, what the server is, what the tables are. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type pg from 'pg'
import { BanyanError } from '../model/errors.ts'
import { CONTROL_ERRORS } from '../model/errors-control.ts'
import { POSTGRES_ERRORS } from '../model/errors-postgres.ts'
import { PREFLIGHT_ERRORS } from '../model/errors-preflight.ts'
import type { Side } from '../model/stage.ts'
import { type DatabaseUrls, roleOf } from '../model/wiring.ts'
import { connect } from '../postgres/connection.ts'
import { explain, placeOf } from '../postgres/explain.ts'
import { type Privileges, readPrivileges } from '../postgres/privileges.ts'
import { captureBlockers, durabilityBlocker, probe, replicaBlocker } from '../postgres/probes.ts'
import { listSlots, type SlotFacts } from '../postgres/slot.ts'
import { quote } from '../postgres/sql.ts'
import { sideBlockers } from '../sync/preflight.ts'
import { readView, type RoleView } from '../sync/preflight-facts.ts'
import type { Problem } from './context.ts'
import { dbaFile, psqlLine } from './dba-text.ts'
import {
  type Check,
  check,
  checksOf,
  problem,
  ROLES,
  SERVER,
  TABLES,
  unknown,
} from './doctor-checks.ts'
import { databaseName } from './init-files.ts'
import { entrance, RIGHTS, rightsChecks } from './doctor-roles.ts'

const CONNECT_MS = 3_000
const NAMES = ['setup', 'apply', 'capture'] as const
type RoleName = (typeof NAMES)[number]

export interface SideWanted {
  readonly side: Side
  /** `legacy`, or the service's. */
  readonly name: string
  readonly urls: DatabaseUrls
  /** Of banyan.yaml, where `banyan init` has left statements. */
  readonly folder: string
  /** The slice's, `schema.table`, by their names here. */
  readonly tables: readonly string[]
  /** Read copies of the service: read in legacy, written in the service. */
  readonly copies: readonly string[]
  /** That the slice needs here. */
  readonly slots: readonly string[]
}

export interface SideSeen {
  readonly wanted: SideWanted
  readonly checks: readonly Check[]
  readonly sessions: Readonly<Partial<Record<RoleName, pg.Client>>>
  readonly capture: RoleView | undefined
  readonly apply: RoleView | undefined
  /** Banyan's own; empty where nobody got in. */
  readonly slots: readonly SlotFacts[]
}

/** `opened` ends the sessions. Never throws for what is wrong with the database: that is what it is asked for. */
export async function lookAtSide(
  wanted: SideWanted,
  opened: { defer(close: () => unknown): void },
): Promise<SideSeen> {
  const { name } = wanted
  const reached = await Promise.all(NAMES.map(role => reach(wanted.urls, role)))
  const sessions: Partial<Record<RoleName, pg.Client>> = {}
  for (const [n, { client }] of reached.entries()) {
    if (!client) continue
    sessions[NAMES[n]!] = client
    opened.defer(() => client.end().catch(() => undefined))
  }
  const any = sessions.capture ?? sessions.apply ?? sessions.setup
  const same = sameRoles(wanted.urls)
  // Of one role that does all the work there is nothing else to say.
  const rights = any && !same ? await readRights(wanted, any) : undefined
  const alike = refusedAlike(wanted.urls, reached)
  const checks = [
    ...reached.map(({ error }, n) =>
      check(
        name,
        `reached as ${NAMES[n]!}`,
        error ? [refusal(wanted, NAMES[n]!, alike ?? error, rights)] : [],
      ),
    ),
    check(
      name,
      'three roles',
      same ? [problem(new BanyanError(CONTROL_ERRORS.ROLES_SAME, [name, ...same]))] : [],
    ),
    ...(rights ? rightsChecks(name, rights) : unknown(name, RIGHTS)),
  ]
  if (!any) return { wanted, sessions, ...nothing(name, checks) }
  try {
    const seen = await lookInside(wanted, sessions, any)
    return { ...seen, wanted, sessions, checks: [...checks, ...seen.checks] }
  } catch (error) {
    const failed = check(name, 'answers', [asProblem(error, wanted.urls)])
    return { wanted, sessions, ...nothing(name, [...checks, failed]) }
  }
}

/** Undefined where it can't be asked; the other questions say why. */
async function readRights(
  { urls, tables, copies, side }: SideWanted,
  client: pg.Client,
): Promise<Privileges | undefined> {
  const roles = {
    setup: roleOf(urls.setup),
    apply: roleOf(urls.apply),
    capture: roleOf(urls.capture),
  }
  const schemas = [...new Set([...tables, ...copies].map(table => table.split('.')[0]!))]
  try {
    return await readPrivileges(client, roles, { schemas, side })
  } catch (error) {
    if (explain(error, urls.capture) instanceof BanyanError) return undefined
    throw error
  }
}

/** Roles that are all refused for one reason are one problem. */
function refusedAlike(
  urls: DatabaseUrls,
  reached: readonly { readonly error?: BanyanError }[],
): BanyanError | undefined {
  const names = NAMES.map(role => `"${roleOf(urls[role])}"`)
  const [why, ...others] = reached.map(({ error }, n) =>
    error?.code === POSTGRES_ERRORS.AUTH_FAILED.code
      ? error.details[1]?.replace(names[n]!, '"…"')
      : undefined,
  )
  if (why === undefined || others.some(each => each !== why)) return undefined
  const all = [...new Set(names)].join(', ')
  const details = [placeOf(urls.setup), why.replace('"…"', all)]
  return new BanyanError(POSTGRES_ERRORS.AUTH_FAILED, details)
}

function refusal(
  { name, urls, folder }: SideWanted,
  role: RoleName,
  error: BanyanError,
  rights: Privileges | undefined,
): Problem {
  if (!rights) {
    if (error.code !== POSTGRES_ERRORS.AUTH_FAILED.code) return problem(error)
    const file = dbaFile(name)
    const how = existsSync(join(folder, file))
      ? `${psqlLine(urls.setup, databaseName(urls.setup), file)}, as a superuser`
      : `\`banyan migrate --roles ${name}\` prints the SQL`
    const made = `if its roles are not made yet: ${how}; else `
    return { ...problem(error), hint: made + error.hint }
  }
  const { roles, database } = rights
  return problem(entrance(name, error, { role: roles[role], database }))
}

async function lookInside(
  wanted: SideWanted,
  sessions: SideSeen['sessions'],
  any: pg.Client,
): Promise<Omit<SideSeen, 'wanted' | 'sessions'>> {
  const { name } = wanted
  const names = [...wanted.tables, ...wanted.copies]
  const view = async (client: pg.Client | undefined): Promise<RoleView | undefined> =>
    client && readView(client, names)
  const capture = await view(sessions.capture)
  const apply = await view(sessions.apply)
  const slots = await listSlots(any, 'banyan_')
  const checks = [
    ...checksOf(name, SERVER, (await serverProblems(wanted, any, slots)).map(problem)),
    ...checksOf(
      name,
      ROLES,
      (await roleProblems(wanted, sessions, { capture, apply })).map(problem),
    ),
    ...tableChecks(wanted, { capture, apply }),
  ]
  return { checks, capture, apply, slots }
}

function nothing(name: string, checks: readonly Check[]): Omit<SideSeen, 'wanted' | 'sessions'> {
  const others = unknown(name, [...SERVER, ...ROLES, ...TABLES])
  return { checks: [...checks, ...others], capture: undefined, apply: undefined, slots: [] }
}

async function reach(
  urls: DatabaseUrls,
  role: RoleName,
): Promise<{ client?: pg.Client; error?: BanyanError }> {
  try {
    const applicationName = 'banyan doctor'
    const wanted = { url: urls[role], applicationName, connectTimeoutMs: CONNECT_MS }
    return { client: await connect(wanted) }
  } catch (error) {
    if (!(error instanceof BanyanError)) throw error
    return { error }
  }
}

/** A verification has a slot of its own for a moment. */
const VERIFY_SLOTS = 1

async function serverProblems(
  { name, urls, slots: wanted }: SideWanted,
  client: pg.Client,
  slots: readonly SlotFacts[],
): Promise<BanyanError[]> {
  const facts = await probe(client)
  const where = urls.capture
  const missing = wanted.filter(slot => !slots.some(each => each.slot === slot)).length
  const needed = missing + VERIFY_SLOTS
  const durable = durabilityBlocker(facts, where)
  return [
    ...captureBlockers(facts, where, { slots: needed, senders: needed }).filter(
      // Whoever looks here may be another role than capture; that one is asked for itself.
      each => each.code !== POSTGRES_ERRORS.ROLE_NOT_REPLICATION.code,
    ),
    ...(durable ? [durable] : []),
    ...(facts.encoding === 'SQL_ASCII' ? [new BanyanError(PREFLIGHT_ERRORS.ENCODING, [name])] : []),
  ]
}

async function roleProblems(
  wanted: SideWanted,
  sessions: SideSeen['sessions'],
  { capture, apply }: Pick<SideSeen, 'capture' | 'apply'>,
): Promise<BanyanError[]> {
  const { name, urls, tables } = wanted
  const found: BanyanError[] = []
  const owners = await readOwners(sessions, tables)
  for (const { owner, superuser, setupMay } of owners) {
    if (owner === roleOf(urls.apply)) {
      const what = 'apply and the owner of the tables'
      found.push(new BanyanError(CONTROL_ERRORS.ROLES_SAME, [name, owner, what]))
    }
    if (superuser) found.push(new BanyanError(POSTGRES_ERRORS.ROLE_IS_SUPERUSER, [owner]))
    else if (!setupMay) {
      const setup = roleOf(urls.setup)
      const grant = `GRANT ${quote(owner)} TO ${quote(setup)}`
      const what = `act as "${owner}", who owns the tables`
      found.push(new BanyanError(CONTROL_ERRORS.SETUP_DENIED, [name, setup, what, grant]))
    }
  }
  const setup = sessions.setup && (await probe(sessions.setup))
  if (setup && !setup.role.createSchema) {
    const { role, database } = setup
    const grant = `GRANT CREATE ON DATABASE ${quote(database)} TO ${quote(role.name)}`
    const details = [name, role.name, 'create anything in the database', grant]
    found.push(new BanyanError(CONTROL_ERRORS.SETUP_DENIED, details))
  }
  if (capture && !capture.server.role.replication && !capture.server.role.superuser) {
    const details = [capture.server.role.name]
    found.push(new BanyanError(POSTGRES_ERRORS.ROLE_NOT_REPLICATION, details))
  }
  const denied = apply && replicaBlocker(apply.server)
  if (denied) found.push(denied)
  return found
}

/** A role that does more than one work, and which; undefined where there are three roles. */
export function sameRoles(urls: DatabaseUrls): readonly [role: string, what: string] | undefined {
  for (const role of NAMES.map(name => roleOf(urls[name]))) {
    const works = NAMES.filter(name => roleOf(urls[name]) === role)
    if (works.length === 3) return [role, 'setup, apply and capture at once']
    if (works.length === 2) return [role, `${works.join(' and ')} at once`]
  }
  return undefined
}

interface Owner {
  readonly owner: string
  readonly superuser: boolean
  /** True as well where it can't be asked. */
  readonly setupMay: boolean
}

async function readOwners(
  sessions: SideSeen['sessions'],
  tables: readonly string[],
): Promise<Owner[]> {
  const client = sessions.setup ?? sessions.capture ?? sessions.apply
  if (!client) return []
  const { rows } = await client.query<Owner>(
    `SELECT DISTINCT r.rolname AS owner, r.rolsuper AS superuser, pg_catalog.pg_has_role(r.oid, 'USAGE') AS "setupMay"
     FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     JOIN pg_catalog.pg_roles r ON r.oid = c.relowner
     WHERE n.nspname || '.' || c.relname = ANY ($1) ORDER BY 1`,
    [tables],
  )
  return sessions.setup ? rows : rows.map(row => ({ ...row, setupMay: true }))
}

function tableChecks(
  { side, name, tables, copies }: SideWanted,
  views: Pick<SideSeen, 'capture' | 'apply'>,
): Check[] {
  if (!views.capture && !views.apply) return unknown(name, TABLES)
  const seen = { name, ...views }
  const both = { read: true, written: true, viaRoot: true }
  const one = { read: side === 'legacy', written: side === 'service', viaRoot: true }
  const found = [...sideBlockers(seen, tables, both), ...sideBlockers(seen, copies, one)]
  return checksOf(name, TABLES, found.map(problem))
}

/** What a statement failed of, as a problem of that place. */
export function asProblem(error: unknown, urls: DatabaseUrls): Problem {
  const known = explain(error, urls.capture)
  if (known instanceof BanyanError) return problem(known)
  const details = [placeOf(urls.capture), known.message]
  return problem(new BanyanError(POSTGRES_ERRORS.STATEMENT_FAILED, details))
}
