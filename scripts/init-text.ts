/** What `banyan init` says: what it saw, what it couldn't see, and what it wrote. Never a secret. */
import { dirname, relative } from 'node:path'
import type { BanyanError } from '../model/errors.ts'
import { countOf, countText, sizeText, timeText } from './amounts.ts'
import type { InitOptions } from './banyan.ts'
import { commandLine, type Context, type Problem } from './context.ts'
import { dbaFile, psqlLine } from './dba-text.ts'
import { fit } from './fit.ts'
import type { DatabaseLook, Initial, WrittenFile } from './init.ts'
import { databaseProblems, homesFor } from './init-database.ts'
import { databaseName, LIMITS } from './init-files.ts'
import { nextLine, paintOf, problemLines } from './paint.ts'
import { printable } from './table.ts'

export function initScreen(context: Context, initial: Initial): string {
  const paint = paintOf(context)
  const { good, bad, colors } = paint
  const { monolith, databases } = initial
  const lines: string[] = []
  if (monolith) {
    const { ms, status, cookie, aliases } = printable(monolith)
    const session = cookie === undefined ? 'no session cookie' : `cookie ${cookie}`
    lines.push(`${good} monolith answers ${status}, ${timeText(ms)}; ${session}`)
    const spoke =
      aliases.because.length === 0 ? 'nothing spoke for another' : aliases.because.join(', ')
    lines.push(
      `  aliases: ${aliases.aliases} (${spoke}${aliases.torn ? ': choose in banyan.yaml' : ''})`,
    )
  }
  for (const each of databases) lines.push(...databaseLines(each, good))
  const problems = problemsFor(context, initial)
  const screen = [
    ...fit(context, lines),
    ...problems.flatMap(each => problemLines(paint, each)),
    ...fit(context, writtenLines(context, initial)),
    nextLine(paint, context, initial.files.length === 0 ? initial.again : 'up --router-only'),
  ]
  // Where nothing answered, that is what to read first.
  if (lines.length === 0) screen.unshift(`${bad} ${colors.red('nothing could be looked at')}`)
  return `${screen.join('\n')}\n`
}

function databaseLines(
  { name, reference, seen, error, address }: DatabaseLook,
  good: string,
): string[] {
  if (error) return []
  if (!seen || address === undefined) return [`– ${name}: not looked at (${reference} is not set)`]
  const { server, homes, bytes, tables } = printable(seen)
  const owners = [...new Set(homes.map(home => home.owner))].map(owner => `"${owner}"`)
  const of = owners.length > 0 ? ` of ${owners.join(', ')}` : ''
  const { role, walLevel, maxReplicationSlots, usedSlots, maxWalSenders, usedSenders } = server
  const traits = [role.superuser && 'a superuser', role.replication && 'REPLICATION'].filter(
    Boolean,
  )
  const as = `"${role.name}"${traits.length > 0 ? ` (${traits.join(', ')})` : ''}`
  return [
    `${good} ${name}: PostgreSQL ${server.version}, ${countOf(tables, 'table')}${of}, ${sizeText(bytes)}`,
    `  wal_level ${walLevel}; free: ${countText(maxReplicationSlots - usedSlots)} of ${maxReplicationSlots} slots, ` +
      `${countText(maxWalSenders - usedSenders)} of ${maxWalSenders} senders; asked as ${as}`,
  ]
}

/** What couldn't be seen first, then what is to be done there. */
export function problemsFor(context: Context, initial: Initial): Problem[] {
  const { monolithError, databases, again } = initial
  const unseen = [monolithError, ...databases.map(each => each.error)]
  const found = databases.flatMap(({ seen, address }) =>
    seen && address !== undefined ? databaseProblems(seen, address, LIMITS) : [],
  )
  const problem = ({ code, message, hint }: BanyanError, command: string): Problem => {
    const then = hint.replace('banyan doctor <slice>', command)
    return printable({ code, message, hint: then })
  }
  const all = [
    ...unseen.flatMap(error => (error ? [problem(error, commandLine(context, again))] : [])),
    ...found.map(error => problem(error, `${context.self} doctor`)),
  ]
  // Two databases of one server say the same.
  return [...new Map(all.map(each => [`${each.code} ${each.message}`, each])).values()]
}

function writtenLines(context: Context, { files, databases }: Initial): string[] {
  if (files.length === 0) return ['nothing was written']
  const secrets = files.filter(each => each.secret)
  const others = files.filter(each => !each.secret && !each.file.startsWith('secrets/'))
  const written = [
    ...others.map(fileText),
    ...(secrets.length > 0 ? [`${countOf(secrets.length, 'URL')} with passwords in secrets/`] : []),
  ]
  const folder = relative('.', dirname(context.config)) || '.'
  const steps = databases.flatMap(each => {
    const { name, address } = each
    if (address === undefined) return []
    const known = each.seen && homesFor(each.seen).length > 0
    const guessed = known ? '' : ', once the owner is filled in'
    return [
      `  for the administrator${guessed}: ${psqlLine(address, databaseName(address), dbaFile(name))}`,
    ]
  })
  const where = folder === '.' ? '' : ` in ${folder}`
  const slices = '  not yet: slices/<name>.yaml, what moves first (README.md has an example)'
  return [`wrote${where} ${written.join(', ')}`, ...steps, slices]
}

/** As it was typed: an address with a password in it, or a secret, was refused before. */
export function initCommand({ url, database, service = [], force }: InitOptions): string {
  const words = [
    ...['init', '--url', url],
    ...(database === undefined ? [] : ['--database', database]),
    ...(service.length === 0 ? [] : ['--service', ...service]),
    ...(force ? ['--force'] : []),
  ]
  return words.map(each => (/^[\w@%+=:,./-]+$/.test(each) ? each : quoted(each))).join(' ')
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`
}

/** `for-dba.sql (3 roles, 11 grants)` */
function fileText({ file, text }: WrittenFile): string {
  const lines = text.trimEnd().split('\n')
  if (!file.endsWith('.sql')) return `${file} (${countOf(lines.length, 'line')})`
  const roles = lines.filter(line => line.startsWith('ALTER ROLE')).length
  const grants = lines.filter(line => !line.startsWith('--') && /\bGRANT\b/.test(line)).length
  return `${file} (${countOf(roles, 'role')}, ${countOf(grants, 'grant')})`
}
