/** `banyan init`: looks at a monolith and its database, and writes the first files. It reads only; the files are all it makes. */
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises'
import { basename, dirname, join, relative } from 'node:path'
import { BanyanError, must } from '../model/errors.ts'
import { CONTROL_ERRORS } from '../model/errors-control.ts'
import { loadProject } from '../model/project.ts'
import { type DatabaseUrls, roleOf } from '../model/wiring.ts'
import { placeOf } from '../postgres/explain.ts'
import { roleSteps } from '../postgres/roles.ts'
import type { InitOptions } from './banyan.ts'
import { commandLine, type Context, type ExitCode, jsonText } from './context.ts'
import { dbaFile, dbaText, PLACEHOLDER } from './dba-text.ts'
import { askDatabase, type DatabaseSeen, homesFor, notesOf, settingSteps } from './init-database.ts'
import { banyanText, databaseName, LIMITS, roleUrls, secretFile } from './init-files.ts'
import { askMonolith, type Monolith } from './init-monolith.ts'
import { type DatabaseGiven, optionsOf } from './init-options.ts'
import { initCommand, initScreen, problemsFor } from './init-text.ts'

export interface DatabaseLook extends DatabaseGiven {
  /** Of the three roles, as they will be; undefined where the address isn't known. */
  readonly urls: DatabaseUrls | undefined
  readonly seen: DatabaseSeen | undefined
  readonly error: BanyanError | undefined
}

export interface WrittenFile {
  /** Relative to the folder of banyan.yaml. */
  readonly file: string
  readonly text: string
  readonly secret: boolean
}

export interface Initial {
  /** Undefined where it didn't answer. */
  readonly monolith: Monolith | undefined
  readonly monolithError: BanyanError | undefined
  readonly databases: readonly [DatabaseLook, ...DatabaseLook[]]
  /** Empty where something couldn't be seen: half of what it takes would only be in the way. */
  readonly files: readonly WrittenFile[]
  /** The command that was typed, without its name in front. */
  readonly again: string
}

/**
 * What couldn't be seen is said, and its code's exit returned; then nothing was written.
 * Throws OPTION_INVALID, NAME_INVALID, SECRET_LITERAL, REFERENCE_INVALID, SECRET_MISSING, DATABASE_URL_INVALID,
 * DATABASE_SHARED, FILES_EXIST; then nothing was written either.
 */
export async function runInit(context: Context, options: InitOptions): Promise<ExitCode> {
  const folder = dirname(context.config)
  const given = await optionsOf(options, folder)
  const read = (file: string) => readFile(join(folder, file), 'utf8').catch(() => undefined)
  const [first, ...others] = given.databases
  const known = [await withUrls(must(first, 'legacy'), read)] as [Known, ...Known[]]
  for (const each of others) known.push(await withUrls(each, read))
  const again = initCommand(options)
  const force = commandLine(context, options.force ? again : `${again} --force`)
  if (!options.force) await mustNotExist(context, known, { read, force })

  const [monolith, ...databases] = await Promise.all([
    seenOr(() => askMonolith(given.url, context.signal)),
    ...known.map(each => look(each, context.signal)),
  ])
  const looks = databases as [DatabaseLook, ...DatabaseLook[]]
  const unseen = [monolith.error, ...looks.map(each => each.error)].find(Boolean)
  const files = unseen ? [] : filesOf(context, looks, must(monolith.value, 'the monolith'))
  await writeAll(folder, files, options.force ? undefined : force)
  const initial: Initial = {
    monolith: monolith.value,
    monolithError: monolith.error,
    databases: looks,
    files,
    again,
  }
  context.write(
    context.json ? jsonText(documentOf(context, initial)) : initScreen(context, initial),
  )
  return unseen ? unseen.rule.exit : 0
}

type Known = DatabaseGiven & Pick<DatabaseLook, 'urls'>
type Read = (file: string) => Promise<string | undefined>

async function withUrls(given: DatabaseGiven, read: Read): Promise<Known> {
  const { name, address } = given
  return {
    ...given,
    urls: address === undefined ? undefined : await roleUrls({ name, address }, read),
  }
}

async function mustNotExist(
  context: Context,
  known: readonly Known[],
  { read, force }: { readonly read: Read; readonly force: string },
): Promise<void> {
  const there: string[] = []
  const names = [
    basename(context.config),
    ...known.filter(each => each.urls).map(each => dbaFile(each.name)),
  ]
  for (const file of names) if ((await read(file)) !== undefined) there.push(file)
  for (const { file, text } of known.flatMap(secretsOf)) {
    // One that says the same is left alone.
    const before = await read(file)
    if (before !== undefined && before !== text) there.push(file)
  }
  if (there.length === 0) return
  const what = `${there.join(', ')} ${there.length === 1 ? 'is' : 'are'}`
  throw new BanyanError(CONTROL_ERRORS.FILES_EXIST, [what, force])
}

async function seenOr<T>(
  ask: () => Promise<T>,
): Promise<{ readonly value: T | undefined; readonly error: BanyanError | undefined }> {
  try {
    return { value: await ask(), error: undefined }
  } catch (error) {
    if (error instanceof BanyanError) return { value: undefined, error }
    throw error
  }
}

async function look(known: Known, signal: AbortSignal): Promise<DatabaseLook> {
  const { address } = known
  if (address === undefined) return { ...known, seen: undefined, error: undefined }
  const { value, error } = await seenOr(() => askDatabase(address, signal))
  return { ...known, seen: value, error }
}

function secretsOf({ name, urls }: Known): WrittenFile[] {
  return Object.entries(urls ?? {}).map(([role, url]) => {
    return { file: secretFile(name, role), text: `${url}\n`, secret: true }
  })
}

/** banyan.yaml comes last: with it the folder is a project. */
function filesOf(
  context: Context,
  looks: readonly [DatabaseLook, ...DatabaseLook[]],
  monolith: Monolith,
): WrittenFile[] {
  const secrets = looks.flatMap(secretsOf)
  // The files are committed; these never.
  const ignore = { file: 'secrets/.gitignore', text: '*\n', secret: false }
  const dba = looks.flatMap(each => {
    const text = dbaTextOf(context, each)
    return text === undefined ? [] : [{ file: dbaFile(each.name), text, secret: false }]
  })
  const file = basename(context.config)
  const text = banyanText(looks, monolith)
  const { diagnostics } = loadProject({ banyan: { file, text }, slices: [] })
  if (diagnostics.length > 0)
    throw new Error(`what was made is not valid: ${JSON.stringify(diagnostics)}`)
  return [
    ...(secrets.length > 0 ? [ignore, ...secrets] : []),
    ...dba,
    { file, text, secret: false },
  ]
}

function dbaTextOf(context: Context, { urls, seen, address }: DatabaseLook): string | undefined {
  if (!urls || !seen || address === undefined) return undefined
  const found = homesFor(seen)
  const known = found.length > 0
  const homes = known ? found : [{ schema: 'public', owner: PLACEHOLDER }]
  const database = databaseName(address)
  const role = (url: string) => {
    return { name: roleOf(url), password: decodeURIComponent(new URL(url).password) }
  }
  const { setup, apply, capture } = urls
  const roles = { setup: role(setup), apply: role(apply), capture: role(capture) }
  return dbaText({
    ...{ database, known, place: placeOf(address) },
    steps: roleSteps({ database, homes, ...roles }),
    settings: settingSteps(seen, LIMITS),
    notes: notesOf(seen, address),
    next: commandLine(context, 'doctor'),
  })
}

/** `force`: the command that would write over what is there; undefined where this one does. */
async function writeAll(
  folder: string,
  files: readonly WrittenFile[],
  force: string | undefined,
): Promise<void> {
  if (files.length === 0) return
  await mkdir(folder, { recursive: true })
  if (files.some(each => each.secret)) {
    await mkdir(join(folder, 'secrets'), { recursive: true, mode: 0o700 })
  }
  for (const { file, text, secret } of files) {
    const path = join(folder, file)
    const same = (await readFile(path, 'utf8').catch(() => undefined)) === text
    if (!same) await write(path, text, { force, secret })
    if (secret) await chmod(path, 0o600)
  }
}

/** Without force it makes a file or nothing, also where somebody makes one at the same moment. */
async function write(
  path: string,
  text: string,
  { force, secret }: { readonly force: string | undefined; readonly secret: boolean },
): Promise<void> {
  // One that is written over keeps its mode while it is written.
  if (force === undefined && secret) await chmod(path, 0o600).catch(() => undefined)
  try {
    await writeFile(path, text, {
      flag: force === undefined ? 'w' : 'wx',
      mode: secret ? 0o600 : 0o666,
    })
  } catch (cause) {
    if (force === undefined || (cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause
    const what = `${relative('.', path)} is`
    throw new BanyanError(CONTROL_ERRORS.FILES_EXIST, [what, force], { cause })
  }
}

function documentOf(context: Context, initial: Initial): object {
  const { monolith, databases, files, again } = initial
  return {
    monolith: monolith ?? null,
    databases: databases.map(({ name, reference, urls, seen }) => ({
      ...{ name, reference, roles: urls ? Object.values(urls).map(roleOf) : [] },
      seen: seen ?? null,
    })),
    problems: problemsFor(context, initial),
    files: files.map(each => each.file),
    next: commandLine(context, files.length === 0 ? again : 'up --router-only'),
  }
}
