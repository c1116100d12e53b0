/** `banyan migrate`: brings the schema `banyan` up to date in every database, or says what is missing. */
import pc from 'picocolors'
import { controlMigrations } from '../migrations/control/control.ts'
import { type Migration, migrateUp, migrationsPending } from '../migrations/runner.ts'
import { BanyanError } from '../model/errors.ts'
import { CONTROL_ERRORS } from '../model/errors-control.ts'
import { connect } from '../postgres/connection.ts'
import { explain } from '../postgres/explain.ts'
import type { MigrateOptions } from './banyan.ts'
import {
  commandLine,
  type Context,
  type ExitCode,
  FilesInvalid,
  problemText,
  jsonText,
} from './context.ts'
import type { Problem } from './context.ts'
import { fit } from './fit.ts'
import { printRoles } from './migrate-roles.ts'
import { migrationsOf } from './migrate-schema.ts'
import { layOut, widthOf } from './table.ts'
import { openControlUrl, openProject, openUrls } from './wiring.ts'

type Loaded = Awaited<ReturnType<typeof openProject>>

/** Throws OPTION_INVALID, CONFIG_MISSING, FilesInvalid, and what printing the roles throws. */
export async function runMigrate(context: Context, options: MigrateOptions): Promise<ExitCode> {
  const { check = false, roles } = options
  if (check && roles !== undefined) {
    const details = ['migrate', '--check --roles', 'it does one of these at a time', 'migrate']
    throw new BanyanError(CONTROL_ERRORS.OPTION_INVALID, details)
  }
  return roles === undefined ? eachDatabase(context, check) : printRoles(context, roles)
}

interface Database {
  readonly name: string
  /** Of the role that may change what the database is made of. */
  readonly url: string
  readonly migrations: readonly Migration[]
}

interface Outcome {
  readonly database: string
  /** What ran, or what is missing. */
  readonly migrations: readonly string[]
  readonly error: (Problem & { readonly exit: ExitCode }) | null
  /** An embedded control database that isn't started: `banyan up` brings it up to date by itself. */
  readonly asleep: boolean
}

async function eachDatabase(context: Context, check: boolean): Promise<ExitCode> {
  const loaded = await openProject(context.config)
  const names = ['legacy', ...Object.keys(loaded.project.banyan.services)]
  const wanted = [
    { name: 'control', open: () => controlOf(context, loaded) },
    ...names.map(name => ({ name, open: () => databaseOf(context, loaded, name) })),
  ]
  const outcomes: Outcome[] = []
  // One by one, and each for itself: what one lacks is no reason to leave another behind.
  for (const { name, open } of wanted) outcomes.push(await outcomeOf(name, open, check))
  const failed = outcomes.find(each => each.error)?.error
  const missing = check && outcomes.some(each => each.migrations.length > 0)
  context.write(
    context.json ? jsonText({ check, databases: outcomes }) : screen(context, outcomes, check),
  )
  return failed ? failed.exit : missing ? 3 : 0
}

async function controlOf(context: Context, loaded: Loaded): Promise<Database> {
  const url = await openControlUrl(context.config, loaded)
  return { name: 'control', url, migrations: controlMigrations() }
}

async function databaseOf(context: Context, loaded: Loaded, name: string): Promise<Database> {
  const urls = await openUrls(context.config, loaded, name)
  return { name, url: urls.setup, migrations: migrationsOf(name, urls) }
}

async function outcomeOf(
  database: string,
  open: () => Promise<Database>,
  check: boolean,
): Promise<Outcome> {
  const nothing = { database, migrations: [], error: null, asleep: false }
  try {
    const { url, migrations } = await open()
    try {
      await answers(url)
      const names = check
        ? await migrationsPending(url, migrations)
        : await migrateUp(url, migrations)
      return { ...nothing, migrations: names }
    } catch (error) {
      throw explain(error, url)
    }
  } catch (error) {
    if (!(error instanceof BanyanError)) throw error
    if (error.code === CONTROL_ERRORS.CONTROL_NOT_STARTED.code) return { ...nothing, asleep: true }
    return { ...nothing, error: failureOf(error) }
  }
}

const CONNECT_MS = 5_000

/** The migrations' own connection has no limit of time, and no coded errors. */
async function answers(url: string): Promise<void> {
  const applicationName = 'banyan migrate'
  const client = await connect({ url, applicationName, connectTimeoutMs: CONNECT_MS })
  await client.end()
}

function failureOf(error: BanyanError): Problem & { exit: ExitCode } {
  const { code, hint, rule } = error
  const { exit } = rule
  if (!(error instanceof FilesInvalid)) return { code, message: error.message, hint, exit }
  const message = error.diagnostics.map(each => each.message).join('; ')
  return { code: error.diagnostics[0]?.code ?? code, message, hint, exit }
}

function screen(context: Context, outcomes: readonly Outcome[], check: boolean): string {
  const colors = pc.createColors(context.color)
  const rows = outcomes.map(({ database, migrations, error, asleep }) => {
    if (error) return [colors.red('✖'), database, error.code]
    if (asleep) return ['–', database, 'not started: `up` starts it and brings it up to date']
    const names = migrations.join(', ')
    if (migrations.length === 0) return [colors.green('✔'), database, 'up to date']
    return check
      ? [colors.red('✖'), database, `lacks ${names}`]
      : [colors.green('✔'), database, `ran ${names}`]
  })
  // Two databases of one server that is down say the same.
  const texts = outcomes.flatMap(({ error }) => (error ? [problemText(context, error)] : []))
  const problems = [...new Set(texts)].flatMap(text => text.trimEnd().split('\n'))
  const lacks = check && outcomes.some(each => each.migrations.length > 0)
  const asleep = outcomes.some(each => each.asleep)
  const next = lacks
    ? 'migrate'
    : problems.length > 0
      ? 'migrate --check'
      : asleep
        ? 'up'
        : 'status'
  const lines = [...layOut(rows, widthOf(context)), ...fit(context, problems)]
  return `${[...lines, `next: ${commandLine(context, next)}`].join('\n')}\n`
}
