/** From files to what processes are made from: reads the project, resolves every secret, finds the control database. */
import { readFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { readFiles } from '../control/lease.ts'
import { type DatabaseRoles, parseReference } from '../model/banyan-file.ts'
import { type Diagnostic, diagnostic, placed } from '../model/diagnostic.ts'
import { CONFIG_ERRORS } from '../model/errors-config.ts'
import { CONTROL_ERRORS } from '../model/errors-control.ts'
import { BanyanError, must } from '../model/errors.ts'
import { loadProject } from '../model/project.ts'
import type { LoadedProject, Project } from '../model/project.ts'
import type { Source } from '../model/source.ts'
import type { DatabaseUrls, Wiring } from '../model/wiring.ts'
import { connect } from '../postgres/connection.ts'
import { FilesInvalid } from './context.ts'
import { foldersOf } from './folders.ts'
import type { PartLog } from './log.ts'
import { canonicalOf, readProject, readProjectTexts } from './project-files.ts'

const CONNECT_MS = 3_000

/** A project without problems. Throws CONFIG_MISSING, FilesInvalid. */
export async function openProject(
  config: string,
): Promise<LoadedProject & { readonly project: Project }> {
  const loaded = await readProject(config)
  if (!loaded.project) throw new FilesInvalid(loaded.diagnostics)
  return { ...loaded, project: loaded.project }
}

/** The whole wiring. Throws CONFIG_MISSING, FilesInvalid (a secret that isn't there is one), CONTROL_NOT_STARTED. */
export async function openWiring(config: string): Promise<Wiring> {
  const { wiring, diagnostics } = await loadWiring(config)
  if (!wiring) throw new FilesInvalid(diagnostics)
  return wiring
}

/** The same, for whoever goes on with what it had: what is wrong with the files is returned. Throws CONTROL_NOT_STARTED. */
export async function loadWiring(
  config: string,
): Promise<{ wiring: Wiring | null; diagnostics: readonly Diagnostic[] }> {
  return await wiringOf(config, await readProject(config))
}

async function wiringOf(
  config: string,
  { project, sources, diagnostics: problems }: LoadedProject,
): Promise<{ wiring: Wiring | null; diagnostics: readonly Diagnostic[] }> {
  if (!project) return { wiring: null, diagnostics: problems }
  const { diagnostics, legacy, services, control } = await databasesOf(config, { project, sources })
  const url = control ?? (await embeddedControl(config))
  if (diagnostics.length > 0) return { wiring: null, diagnostics }
  const configPath = resolve(config)
  const wiring = { project, sources, legacy, services, control: url, configPath }
  return { wiring, diagnostics: [] }
}

/**
 * For what must not wait until somebody has mended a file: where the files are broken, the wiring of those that a
 * controller went by last, and what is wrong with the present ones. Throws CONFIG_MISSING, CONTROL_NOT_STARTED, and
 * FilesInvalid where nobody knows better ones.
 */
export async function openGoodWiring(
  config: string,
): Promise<{ readonly wiring: Wiring; readonly broken: FilesInvalid | undefined }> {
  const { wiring, diagnostics } = await loadWiring(config)
  if (wiring) return { wiring, broken: undefined }
  const broken = new FilesInvalid(diagnostics)
  const last = await lastGood(config).catch(() => undefined)
  if (!last?.wiring) throw broken
  return { wiring: last.wiring, broken }
}

/** The same for a part that starts, which says in its log what it goes by. */
export async function wiringOfPart(config: string, log: Pick<PartLog, 'warn'>): Promise<Wiring> {
  const { wiring, broken } = await openGoodWiring(config)
  if (broken) {
    const problems = broken.diagnostics.map(placed)
    log.warn({ problems }, 'the files have problems: going by those that a controller took up last')
  }
  return wiring
}

/** Where the control database is, banyan.yaml alone says, or what an embedded one left behind. */
async function lastGood(config: string) {
  const { banyan } = await readProjectTexts(config)
  const { project, sources } = loadProject({ banyan, slices: [] })
  const url = project
    ? await openControlUrl(config, { project, sources })
    : await embeddedControl(config)
  const client = await connect({ url, applicationName: 'banyan', connectTimeoutMs: CONNECT_MS })
  try {
    const files = await readFiles(client)
    return files && (await wiringOf(config, loadProject(files, canonicalOf)))
  } finally {
    await client.end()
  }
}

type Opened = Pick<Awaited<ReturnType<typeof openProject>>, 'project' | 'sources'>

/** For whoever is about to start what needs them: all secrets are there. Throws FilesInvalid. */
export async function checkSecrets(config: string, opened: Opened): Promise<void> {
  const { diagnostics } = await databasesOf(config, opened)
  if (diagnostics.length > 0) throw new FilesInvalid(diagnostics)
}

/** What the references lead to, and what is wrong with them. `control` is null where it is embedded. */
async function databasesOf(config: string, { project, sources }: Opened) {
  const { banyan } = project
  const { diagnostics, secret, urls } = secretsOf(config, sources.banyan)
  const legacy = await urls(banyan.legacy.database, ['legacy', 'database'])
  const services: Record<string, DatabaseUrls> = {}
  for (const [name, { database }] of Object.entries(banyan.services)) {
    services[name] = await urls(database, ['services', name, 'database'])
  }
  const { database } = banyan.control
  const control = database === 'embedded' ? null : await secret(database, ['control', 'database'])
  return { legacy, services, control, diagnostics: once(diagnostics) }
}

/** The URLs of `legacy` or of a service, whatever the others lack. Throws FilesInvalid where a secret isn't there. */
export async function openUrls(
  config: string,
  { project, sources }: Opened,
  name: string,
): Promise<DatabaseUrls> {
  const { diagnostics, urls } = secretsOf(config, sources.banyan)
  const { legacy, services } = project.banyan
  const found =
    name === 'legacy'
      ? await urls(legacy.database, ['legacy', 'database'])
      : await urls(must(services[name], name).database, ['services', name, 'database'])
  if (diagnostics.length > 0) throw new FilesInvalid(once(diagnostics))
  return found
}

/** The control database's URL, whatever the others lack. Throws CONTROL_NOT_STARTED, FilesInvalid. */
export async function openControlUrl(
  config: string,
  { project, sources }: Opened,
): Promise<string> {
  const { database } = project.banyan.control
  if (database === 'embedded') return await embeddedControl(config)
  const { diagnostics, secret } = secretsOf(config, sources.banyan)
  const found = await secret(database, ['control', 'database'])
  if (diagnostics.length > 0) throw new FilesInvalid(diagnostics)
  return found
}

/** Reads secrets, and gathers what is wrong with them. */
function secretsOf(config: string, source: Source) {
  const diagnostics: Diagnostic[] = []
  const secret = async (reference: string, path: readonly string[]): Promise<string> => {
    const found = await readSecret(reference, dirname(config))
    if (typeof found === 'string') return found
    diagnostics.push(missing(source, path, reference, found.why))
    return ''
  }
  const urls = async (roles: DatabaseRoles, path: readonly string[]): Promise<DatabaseUrls> => {
    const place = (role: string): readonly string[] =>
      roles.setup === roles.apply && roles.apply === roles.capture ? path : [...path, role]
    return {
      setup: await secret(roles.setup, place('setup')),
      apply: await secret(roles.apply, place('apply')),
      capture: await secret(roles.capture, place('capture')),
    }
  }
  return { diagnostics, secret, urls }
}

/** The three roles often name one variable: that is one problem. */
function once(list: readonly Diagnostic[]): Diagnostic[] {
  return [...new Map(list.map(one => [`${one.line}:${one.column}`, one])).values()]
}

async function embeddedControl(config: string): Promise<string> {
  const { controlUrl } = foldersOf(config)
  try {
    return (await readFile(controlUrl, 'utf8')).trim()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    throw new BanyanError(CONTROL_ERRORS.CONTROL_NOT_STARTED)
  }
}

/** What a reference leads to, trimmed; relative paths begin at `folder`. */
export async function readSecret(
  reference: string,
  folder: string,
): Promise<string | { why: string }> {
  const secret = parseReference(reference)
  if (secret.kind === 'env') {
    const value = process.env[secret.name]
    return value || { why: `the variable ${secret.name} is not set` }
  }
  try {
    const text = (await readFile(resolve(folder, secret.path), 'utf8')).trim()
    return text || { why: `the file ${secret.path} is empty` }
  } catch (error) {
    return { why: `the file ${secret.path} can't be read (${(error as { code?: string }).code})` }
  }
}

function missing(source: Source, path: readonly string[], reference: string, why: string) {
  const span = source.at(path, 'value')
  const details = [reference, why]
  return diagnostic({ source, span, rule: CONFIG_ERRORS.SECRET_MISSING, details })
}
