/** What `banyan init` says: what it saw, what it couldn't see, and what it wrote. Never a secret. */
import { dirname, relative } from 'node:path'
import type { BanyanError } from '../model/errors.ts'
import { countOf, countText, sizeText, timeText } from './amounts.ts'
import type { Context, Problem } from './context.ts'
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
    nextLine(paint, context, 'up --router-only'),
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
  const { monolithError, databases } = initial
  const unseen = [monolithError, ...databases.map(each => each.error)]
  const found = databases.flatMap(({ seen, address }) =>
    seen && address !== undefined ? databaseProblems(seen, address, LIMITS) : [],
  )
  const problem = ({ code, message, hint }: BanyanError, command: string): Problem => {
    const then = hint.replace(/`banyan (?:doctor <slice>|init[^`]*)`(?: again)?/, `\`${command}\``)
    return printable({ code, message, hint: then })
  }
  const all = [
    ...unseen.flatMap(error => (error ? [problem(error, `${context.self} init … --force`)] : [])),
    ...found.map(error => problem(error, `${context.self} doctor`)),
  ]
  // Two databases of one server say the same.
  return [...new Map(all.map(each => [`${each.code} ${each.message}`, each])).values()]
}

function writtenLines(context: Context, { files, databases }: Initial): string[] {
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
    const file = name === 'legacy' ? 'for-dba.sql' : `for-dba-${name}.sql`
    const guessed =
      each.seen && homesFor(each.seen).length > 0 ? '' : ', once the owner is filled in'
    return [`  for the administrator${guessed}: psql -d ${databaseName(address)} -f ${file}`]
  })
  const where = folder === '.' ? '' : ` in ${folder}`
  return [`wrote${where} ${written.join(', ')}`, ...steps]
}

/** `for-dba.sql (3 roles, 11 grants)` */
function fileText({ file, text }: WrittenFile): string {
  const lines = text.trimEnd().split('\n')
  if (!file.endsWith('.sql')) return `${file} (${countOf(lines.length, 'line')})`
  const roles = lines.filter(line => line.startsWith('ALTER ROLE')).length
  const grants = lines.filter(line => !line.startsWith('--') && /\bGRANT\b/.test(line)).length
  return `${file} (${countOf(roles, 'role')}, ${countOf(grants, 'grant')})`
}
