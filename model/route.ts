/** A route: a method set and a path pattern that belong to a slice. One grammar for files, lint and the router. */
import { BanyanError } from './errors.ts'
import { ROUTER_ERRORS } from './errors-router.ts'

export type Segment =
  | { readonly kind: 'static'; readonly text: string }
  | { readonly kind: 'param'; readonly name: string }
  /** `**`: zero or more segments; only ever the last one. */
  | { readonly kind: 'rest' }

export interface Route {
  /** Upper-case method names, sorted, without doubles; empty: every method. */
  readonly methods: readonly string[]
  /** As written, without the methods. */
  readonly pattern: string
  /** A pattern that ends in a slash has a last static segment with an empty text. `/` has none. */
  readonly segments: readonly Segment[]
}

/**
 * Parses `GET /api/x/:id`, `PATCH,DELETE /api/x/:id`, `* /api/slots/**` or, for every method, `/api/slots/**`.
 * Throws BanyanError ROUTE_INVALID.
 */
export function parseRoute(text: string): Route {
  const parts = text.trim().split(/\s+/)
  const pattern = parts.at(-1) ?? ''
  if (parts.length > 2) refuse(text, 'more than a method list and a path (no spaces after commas)')
  const methods = parts.length === 2 ? parseMethods(text, parts[0] ?? '') : []
  return { methods, pattern, segments: parsePattern(text, pattern) }
}

/** The same for a route that is already in two parts (as orders carry it). Throws BanyanError ROUTE_INVALID. */
export function routeOf(parts: {
  readonly methods: readonly string[]
  readonly pattern: string
}): Route {
  return parseRoute(
    `${parts.methods.length === 0 ? '*' : parts.methods.join(',')} ${parts.pattern}`,
  )
}

/** The canonical text: `GET,POST /api/x`, or `* /api/x`. parseRoute reads it back. */
export function formatRoute(route: Pick<Route, 'methods' | 'pattern'>): string {
  return `${route.methods.length === 0 ? '*' : route.methods.join(',')} ${route.pattern}`
}

/** A path's segments, as patterns see them: `/` has none, `/a/` has `a` and an empty one. */
export function pathSegments(path: string): string[] {
  return path === '/' ? [] : path.slice(1).split('/')
}

/** True where the route answers this method. GET includes HEAD: a HEAD is a GET without its body (RFC 9110 §9.3.2). */
export function coversMethod(route: Pick<Route, 'methods'>, method: string): boolean {
  if (route.methods.length === 0 || route.methods.includes(method)) return true
  return method === 'HEAD' && route.methods.includes('GET')
}

/** True where the pattern matches these segments of a canonical path. Methods aren't looked at. */
export function matchPattern(route: Pick<Route, 'segments'>, segments: readonly string[]): boolean {
  for (const [i, segment] of route.segments.entries()) {
    if (segment.kind === 'rest') return true
    const text = segments[i]
    if (text === undefined) return false
    if (segment.kind === 'static' ? segment.text !== text : text === '') return false
  }
  return segments.length === route.segments.length
}

// A pattern that ends where the other goes on with `**` is the more specific one: it matches nothing else.
const RANK = { static: 0, end: 1, param: 2, rest: 3 } as const

/**
 * Sorts the more specific route first: static before parameter before `**`, segment by segment, from the left.
 * 0: equally specific, whatever their static texts say.
 */
export function compareSpecificity(a: Pick<Route, 'segments'>, b: Pick<Route, 'segments'>): number {
  const length = Math.max(a.segments.length, b.segments.length)
  for (let i = 0; i < length; i++) {
    const by = RANK[a.segments[i]?.kind ?? 'end'] - RANK[b.segments[i]?.kind ?? 'end']
    if (by !== 0) return by
  }
  return 0
}

/**
 * True where some request matches both routes and neither is more specific: an error in the files.
 * `fold` is what the monolith's framework does to a static segment (express ignores case); default: nothing.
 */
export function conflict(
  a: Route,
  b: Route,
  fold: (segment: string) => string = text => text,
): boolean {
  return compareSpecificity(a, b) === 0 && sameStatics(a, b, fold) && shareMethod(a, b)
}

function sameStatics(a: Route, b: Route, fold: (segment: string) => string): boolean {
  return a.segments.every((segment, i) => {
    const other = b.segments[i]
    if (segment.kind !== 'static' || other?.kind !== 'static') return true
    return fold(segment.text) === fold(other.text)
  })
}

/** True where some method is answered by both. */
export function shareMethod(a: Pick<Route, 'methods'>, b: Pick<Route, 'methods'>): boolean {
  if (a.methods.length === 0 || b.methods.length === 0) return true
  return (
    a.methods.some(method => coversMethod(b, method)) ||
    b.methods.some(method => coversMethod(a, method))
  )
}

function parseMethods(text: string, list: string): readonly string[] {
  if (list === '*') return []
  const methods = list.split(',').map(method => method.toUpperCase())
  for (const method of methods) {
    if (!/^[A-Z][A-Z0-9-]*$/.test(method)) refuse(text, `"${method}" is not a method`)
  }
  return [...new Set(methods)].sort()
}

function parsePattern(text: string, pattern: string): readonly Segment[] {
  if (!pattern.startsWith('/')) refuse(text, 'the path must start with a slash')
  if (/[?#\\]/.test(pattern)) refuse(text, 'a path has no query, fragment or backslash')
  const texts = pathSegments(pattern)
  const names = new Set<string>()
  return texts.map((part, i) => {
    const last = i === texts.length - 1
    if (part === '' && !last) refuse(text, 'the path has an empty segment')
    if (part === '.' || part === '..') refuse(text, 'the path has a dot segment')
    if (part === '**') {
      if (!last) refuse(text, '`**` can only be the last segment')
      return { kind: 'rest' }
    }
    if (part.includes('*'))
      refuse(text, '`*` inside a path: use `:name` for one segment, `**` at the end')
    if (!part.startsWith(':')) return { kind: 'static', text: part }
    const name = part.slice(1)
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) refuse(text, `":${name}" is not a parameter's name`)
    if (names.has(name)) refuse(text, `the parameter ":${name}" stands twice`)
    names.add(name)
    return { kind: 'param', name }
  })
}

function refuse(text: string, why: string): never {
  throw new BanyanError(ROUTER_ERRORS.ROUTE_INVALID, [text, why])
}
