/** What the monolith's first answer tells `banyan init`: that it is there, its session cookie, and which framework it is. */
import http from 'node:http'
import https from 'node:https'
import { BanyanError } from '../model/errors.ts'
import { CONTROL_ERRORS } from '../model/errors-control.ts'
import type { Aliases } from '../model/orders.ts'

export interface Monolith {
  readonly status: number
  /** Until its head was here, with a new connection, milliseconds. */
  readonly ms: number
  /** The name of its session cookie, where it sets one at once. */
  readonly cookie: string | undefined
  readonly aliases: Guess
}

export interface Guess {
  readonly aliases: Aliases
  /** What spoke for it: `cookie JSESSIONID`; empty where nothing did. */
  readonly because: readonly string[]
  /** Several frameworks speak: nothing is guessed. */
  readonly torn: boolean
}

const TIMEOUT_MS = 5_000

/** Asks `GET /` once, follows nothing, reads the head alone. Throws MONOLITH_SILENT. */
export async function askMonolith(url: string, signal: AbortSignal): Promise<Monolith> {
  const began = performance.now()
  const late = AbortSignal.timeout(TIMEOUT_MS)
  try {
    const { status, headers } = await headOf(new URL('/', url), AbortSignal.any([signal, late]))
    const ms = Math.round(performance.now() - began)
    const cookies = valuesOf(headers, 'set-cookie').map(line => line.split('=')[0]!.trim())
    return { status, ms, cookie: sessionCookie(cookies), aliases: guessAliases(headers, cookies) }
  } catch (cause) {
    signal.throwIfAborted()
    const code = (cause as { code?: string }).code
    const why = late.aborted
      ? `nothing within ${TIMEOUT_MS} ms`
      : (code ?? (cause as Error).message)
    throw new BanyanError(CONTROL_ERRORS.MONOLITH_SILENT, [new URL(url).origin, why], { cause })
  }
}

/** Names as they came and values, one after the other: a header may stand twice. */
type RawHeaders = readonly string[]

function headOf(url: URL, signal: AbortSignal): Promise<{ status: number; headers: RawHeaders }> {
  const { request } = url.protocol === 'https:' ? https : http
  return new Promise((resolve, reject) => {
    const headers = { accept: 'text/html,*/*', 'user-agent': 'banyan-init' }
    const asked = request(url, { signal, headers, agent: false }, answer => {
      resolve({ status: answer.statusCode ?? 0, headers: answer.rawHeaders })
      // The rest is not ours to read.
      answer.destroy()
    })
    asked.on('error', reject)
    asked.end()
  })
}

function valuesOf(headers: RawHeaders, name: string): string[] {
  return headers.filter((_, n) => n % 2 === 1 && headers[n - 1]!.toLowerCase() === name)
}

type Framework = Exclude<Aliases, 'strict'>

/** By name, of cookies that a framework makes by itself. */
const COOKIES: readonly (readonly [RegExp, Framework | undefined])[] = [
  [/^connect\.sid$/, 'express'],
  [/^JSESSIONID$/i, 'spring'],
  [/^_(?:[a-z0-9]+_)*session(?:_id)?$/, 'rails'],
  [/^(?:PHPSESSID|laravel_session)$/, 'php'],
  [/^(?:ASP\.NET_SessionId|\.AspNetCore\..+|ASPSESSIONID.*)$/i, 'aspnet'],
  // Django, and others of whose paths no preset knows.
  [/^(?:sessionid|session|sid|sess)$/i, undefined],
]

const POWERED_BY: readonly (readonly [RegExp, Framework])[] = [
  [/^express\b/i, 'express'],
  [/^php\b/i, 'php'],
  [/^asp\.net\b/i, 'aspnet'],
  [/^phusion passenger\b/i, 'rails'],
  [/^(?:servlet|jsp|spring)\b/i, 'spring'],
]

const OTHER_HEADERS: readonly (readonly [RegExp, Framework])[] = [
  [/^x-aspnet(?:mvc)?-version$/i, 'aspnet'],
  [/^x-application-context$/i, 'spring'],
]

/** One that a framework makes, else one whose name says it. */
export function sessionCookie(cookies: readonly string[]): string | undefined {
  for (const [pattern] of COOKIES) {
    const found = cookies.find(name => pattern.test(name))
    if (found !== undefined) return found
  }
  return cookies.find(name => /sess|(?:^|[._-])sid$/i.test(name))
}

/** `strict` where nothing speaks, or several frameworks do: a wrong guess would let a spelling slip past a flip. */
export function guessAliases(headers: RawHeaders, cookies: readonly string[]): Guess {
  const hints: { readonly framework: Framework; readonly because: string }[] = []
  const hint = (framework: Framework | undefined, because: string): void => {
    if (framework !== undefined) hints.push({ framework, because })
  }
  for (const value of valuesOf(headers, 'x-powered-by').flatMap(each => each.split(','))) {
    const known = POWERED_BY.find(([pattern]) => pattern.test(value.trim()))
    // The value is the monolith's own text; what is printed is the word that was known in it.
    if (known) hint(known[1], `X-Powered-By: ${known[0].exec(value.trim())![0]}`)
  }
  for (const [n, name] of headers.entries()) {
    if (n % 2 === 1) continue
    const known = OTHER_HEADERS.find(([pattern]) => pattern.test(name))
    if (known) hint(known[1], name)
  }
  for (const name of cookies) {
    hint(COOKIES.find(([pattern]) => pattern.test(name))?.[1], `cookie ${name}`)
  }
  const frameworks = [...new Set(hints.map(each => each.framework))]
  const because = [...new Set(hints.map(each => each.because))]
  const [only] = frameworks
  if (only === undefined) return { aliases: 'strict', because: [], torn: false }
  if (frameworks.length > 1) return { aliases: 'strict', because, torn: true }
  return { aliases: only, because, torn: false }
}
