/** The request that `banyan explain` is asked about, as a router would see it; what isn't HTTP is refused. */
import { METHODS } from 'node:http'
import { BanyanError } from '../model/errors.ts'
import { CONTROL_ERRORS } from '../model/errors-control.ts'
import type { RequestFacts } from '../router/keys.ts'

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/

/** Throws OPTION_INVALID for a method, a path or a header line that no router could receive. */
export function requestOf(method: string, path: string, headers: readonly string[]): RequestFacts {
  const target = targetOf(path)
  const fields = new Map<string, string>()
  for (const line of headers) {
    const [name, value] = headerOf(line)
    const before = fields.get(name)
    // As Node joins what came in several lines.
    const joined = `${before}${name === 'cookie' ? '; ' : ', '}${value}`
    fields.set(name, before === undefined ? value : joined)
  }
  return { method: methodOf(method, target), target, header: name => fields.get(name) }
}

// Methods are case-sensitive (RFC 9110 §9.1), and a router knows none in lower case: whoever types `get` means GET.
function methodOf(text: string, target: string): string {
  const method = text.toUpperCase()
  // A router is no tunnel: Node gives it no CONNECT to decide about.
  if (!METHODS.includes(method) || method === 'CONNECT') {
    return refuse('the method', text, 'it is one of HTTP, as in GET, POST, PATCH')
  }
  if (target === '*' && method !== 'OPTIONS') {
    return refuse('the path', target, 'only OPTIONS may ask about the whole server')
  }
  return method
}

function targetOf(path: string): string {
  if (path === '*') return path
  if (!/^(\/|https?:\/\/[^/\s])/i.test(path)) {
    return refuse('the path', path, 'it begins with a slash, as in /api/patients/7')
  }
  if (path.includes('#')) {
    return refuse('the path', path, 'what follows # never leaves the browser; leave it out')
  }
  if (/[\u0000-\u0020\u007f]/.test(path)) {
    return refuse('the path', path, 'blanks and control characters are percent-encoded: %20')
  }
  if (/[^\u0000-\u007f]/.test(path)) {
    return refuse('the path', path, `it travels percent-encoded, as ${encodeURI(path)}`)
  }
  return path
}

function headerOf(line: string): readonly [string, string] {
  const colon = line.indexOf(':')
  const name = line.slice(0, colon).trim().toLowerCase()
  const value = line.slice(colon + 1).trim()
  if (colon < 1 || !TOKEN.test(name) || /[\u0000-\u0008\u000a-\u001f\u007f]/.test(value)) {
    const shown = colon < 1 ? line : line.slice(0, colon)
    return refuse('--header', shown, 'it is a name, a colon and a value: -H "cookie: sid=1"')
  }
  return [name, value]
}

function refuse(what: string, text: string, why: string): never {
  const shown = text.replace(/[\u0000-\u001f\u007f-\u009f]/g, '?')
  throw new BanyanError(CONTROL_ERRORS.OPTION_INVALID, [what, shown, why, 'explain'])
}
