/** What `banyan init` is told, checked, with its secrets read: nothing of a secret is ever in a message. */
import { BanyanFile, NAME } from '../model/banyan-file.ts'
import { BanyanError } from '../model/errors.ts'
import { CONFIG_ERRORS } from '../model/errors-config.ts'
import { CONTROL_ERRORS } from '../model/errors-control.ts'
import { POSTGRES_ERRORS } from '../model/errors-postgres.ts'
import { placeOf } from '../postgres/explain.ts'
import type { InitOptions } from './banyan.ts'
import { databaseName, type DatabaseWanted } from './init-files.ts'
import { readSecret } from './wiring.ts'

export type DatabaseGiven = DatabaseWanted

export interface InitGiven {
  /** The monolith's. */
  readonly url: string
  /** Legacy first, then the services in their order. */
  readonly databases: readonly DatabaseGiven[]
}

/** Throws what `runInit` says of its options. */
export async function optionsOf(options: InitOptions, folder: string): Promise<InitGiven> {
  const url = upstream('--url', options.url)
  const legacy = await databaseOf('legacy', url, options.database, folder)
  const databases: DatabaseGiven[] = [legacy]
  for (const text of options.service ?? []) {
    const [, name, at] = /^([^=]*)=(.*)$/.exec(text) ?? []
    if (name === undefined || at === undefined) {
      throw invalid('--service', text, 'write it as name=http://host:port')
    }
    if (!NAME.test(name)) throw new BanyanError(CONFIG_ERRORS.NAME_INVALID, [shown(name)])
    if (databases.some(each => each.name === name)) {
      throw invalid('--service', text, 'each service has one name')
    }
    databases.push(await databaseOf(name, upstream('--service', at), undefined, folder))
  }
  mustNotShare(databases)
  return { url, databases }
}

function upstream(option: string, text: string): string {
  if (BanyanFile.shape.legacy.shape.url.safeParse(text).success && URL.canParse(text)) return text
  throw invalid(
    option,
    text,
    'it is http://host:port or https://host, without a path or a password',
  )
}

/** Without a reference, the variable that it would be in by its name is looked at, and may be missing. */
async function databaseOf(
  name: string,
  url: string,
  reference: string | undefined,
  folder: string,
): Promise<DatabaseGiven> {
  const usual = `env:${name.toUpperCase()}_DATABASE_URL`
  const place = reference ?? usual
  if (!/^(?:env:[A-Za-z_][A-Za-z0-9_]*|file:\S(?:.*\S)?)$/.test(place)) {
    // It may be the secret itself.
    throw /[:@=/]/.test(place)
      ? new BanyanError(CONFIG_ERRORS.SECRET_LITERAL)
      : new BanyanError(CONFIG_ERRORS.REFERENCE_INVALID, [shown(place)])
  }
  const secret = await readSecret(place, folder)
  if (typeof secret === 'string') {
    return { name, url, reference: place, address: addressOf(secret) }
  }
  if (reference === undefined) return { name, url, reference: place, address: undefined }
  throw new BanyanError(CONFIG_ERRORS.SECRET_MISSING, [place, secret.why])
}

/** A URL into which the name and the password of a role can be put. */
function addressOf(secret: string): string {
  const url = URL.canParse(secret) ? new URL(secret) : undefined
  const decodes = !/%(?![0-9A-Fa-f]{2})/.test(secret)
  if (!url || !decodes || !/^postgres(ql)?:$/.test(url.protocol) || url.hostname === '') {
    throw new BanyanError(POSTGRES_ERRORS.DATABASE_URL_INVALID)
  }
  // They would go over the role's own.
  for (const name of ['user', 'password']) {
    const value = url.searchParams.get(name)
    if (value === null) continue
    if (name === 'user') url.username = encodeURIComponent(value)
    else url.password = encodeURIComponent(value)
    url.searchParams.delete(name)
  }
  return url.href
}

function mustNotShare(databases: readonly DatabaseGiven[]): void {
  const first = new Map<string, string>()
  for (const { name, address } of databases) {
    if (address === undefined) continue
    const key = `${placeOf(address)}/${databaseName(address)}`
    const other = first.get(key)
    if (other !== undefined) {
      throw new BanyanError(CONFIG_ERRORS.DATABASE_SHARED, [other, name, key])
    }
    first.set(key, name)
  }
}

function invalid(option: string, text: string, why: string): BanyanError {
  return new BanyanError(CONTROL_ERRORS.OPTION_INVALID, [option, shown(text), why, 'init'])
}

/** Who types a password where an address belongs must not find it in a log. */
function shown(text: string): string {
  return /[@\u0000-\u001f\u007f-\u009f]|password|:\/\/[^/]*:[^/]*@/i.test(text)
    ? '…'
    : text.slice(0, 100)
}
