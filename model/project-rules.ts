/** What no file can be asked alone: rules between slices, and between a slice and banyan.yaml. */
import { valueAt } from './diagnose.ts'
import { diagnostic } from './diagnostic.ts'
import type { Diagnostic } from './diagnostic.ts'
import { CONFIG_ERRORS } from './errors-config.ts'
import { ROUTER_ERRORS } from './errors-router.ts'
import { BanyanError } from './errors.ts'
import { conflict, parseRoute } from './route.ts'
import type { Route } from './route.ts'
import type { Path, Source } from './source.ts'
import { suggest } from './suggest.ts'

/** A route as the monolith's framework sees it: folded where it ignores case, without a slash that it ignores. */
export type CanonicalRoute = (route: Route) => Route

/** A place in a file that claims something. */
interface Place {
  readonly source: Source
  readonly path: Path
}

/**
 * What one slice file claims, read without its schema: a typo somewhere else in the file must not hide that two slices
 * claim one table. What can't be read is left out; the schema speaks of it.
 */
export interface Claim {
  readonly slice: string
  readonly source: Source
  readonly service: string | undefined
  readonly routes: readonly (Place & { readonly text: string; readonly route: Route })[]
  readonly tables: readonly (Place & { readonly table: string; readonly to: string })[]
}

/** Reads the claims of a slice file, valid or not. */
export function claimOf(slice: string, source: Source): Claim {
  const { raw } = source
  const service = valueAt(raw, ['service'])
  return {
    slice,
    source,
    service: typeof service === 'string' ? service : undefined,
    routes: listAt(raw, ['routes']).flatMap((text, index) => {
      const route = typeof text === 'string' ? tryRoute(text) : undefined
      return route ? [{ text: String(text), route, source, path: ['routes', index] }] : []
    }),
    tables: entriesAt(raw, ['tables']).map(([table, mapping]) => {
      const to = valueAt(mapping, ['to'])
      return { table, to: typeof to === 'string' ? to : table, source, path: ['tables', table] }
    }),
  }
}

/** All problems between the files. */
export function crossFileProblems(
  banyan: Source,
  claims: readonly Claim[],
  canonical: CanonicalRoute,
): Diagnostic[] {
  return [
    ...claims.flatMap(claim => serviceProblems(banyan, claim)),
    ...claims.flatMap(canaryProblems),
    ...routeProblems(claims, canonical),
    ...tableProblems(claims),
    ...copyProblems(banyan, claims),
    ...databaseProblems(banyan),
  ]
}

function serviceProblems(banyan: Source, claim: Claim): Diagnostic[] {
  const { source, slice, service } = claim
  if (banyan.raw === undefined || service === undefined) return []
  const known = entriesAt(banyan.raw, ['services']).map(([name]) => name)
  if (known.includes(service)) return []
  const meant = suggest(service, known)
  const hint = meant === undefined ? undefined : `did you mean "${meant}"?`
  const rule = CONFIG_ERRORS.SERVICE_MISSING
  const span = source.at(['service'], 'value')
  return [diagnostic({ source, span, rule, details: [slice, service], hint })]
}

function canaryProblems({ source }: Claim): Diagnostic[] {
  if (valueAt(source.raw, ['stage']) !== 'canary') return []
  const by = valueAt(source.raw, ['canary', 'by'])
  if (by !== undefined && !(Array.isArray(by) && by.length === 0)) return []
  const span = source.at(by === undefined ? ['stage'] : ['canary', 'by'], 'value')
  return [diagnostic({ source, span, rule: CONFIG_ERRORS.CANARY_KEY, details: [] })]
}

function routeProblems(claims: readonly Claim[], canonical: CanonicalRoute): Diagnostic[] {
  const all = claims.flatMap(({ slice, routes }) =>
    routes.map(one => ({ ...one, slice, route: canonical(one.route) })),
  )
  return pairs(all, shapeOf, (a, b) => {
    if (!conflict(a.route, b.route)) return []
    const details = [a.text, a.slice, b.text, b.slice]
    return [clash(b, a, { rule: ROUTER_ERRORS.ROUTE_CONFLICT, details })]
  })
}

function tableProblems(claims: readonly Claim[]): Diagnostic[] {
  const all = claims.flatMap(({ slice, service, tables }) =>
    tables.map(table => ({ ...table, slice, service })),
  )
  const taken = pairs(
    all,
    one => one.table,
    (a, b) => {
      const details = [a.table, a.slice, b.slice]
      return [clash(b, a, { rule: CONFIG_ERRORS.TABLE_TAKEN, details })]
    },
  )
  const targets = pairs(
    all,
    one => `${one.service} ${one.to}`,
    (a, b) => {
      if (a.table === b.table || a.service === undefined) return []
      const details = [a.table, b.table, a.to, a.service]
      return [clash(b, a, { rule: CONFIG_ERRORS.TARGET_TAKEN, details })]
    },
  )
  return [...taken, ...targets]
}

function copyProblems(banyan: Source, claims: readonly Claim[]): Diagnostic[] {
  return entriesAt(banyan.raw, ['services']).flatMap(([service]) => {
    const path = ['services', service, 'copies']
    const copies = listAt(banyan.raw, path)
    return copies.flatMap((copy, index) => {
      const here: Place = { source: banyan, path: [...path, index] }
      const found: Diagnostic[] = []
      if (copies.indexOf(copy) < index) {
        found.push(
          clash(here, undefined, { rule: CONFIG_ERRORS.LIST_TWICE, details: [String(copy)] }),
        )
      }
      for (const claim of claims.filter(one => one.service === service)) {
        for (const table of claim.tables) {
          const details = [service, String(copy), claim.slice]
          if (table.table === copy) {
            found.push(clash(here, table, { rule: CONFIG_ERRORS.COPY_OWNED, details }))
          } else if (table.to === copy) {
            const both = [copy, table.table, copy, service]
            found.push(clash(here, table, { rule: CONFIG_ERRORS.TARGET_TAKEN, details: both }))
          }
        }
      }
      return found
    })
  })
}

function databaseProblems(banyan: Source): Diagnostic[] {
  const services = entriesAt(banyan.raw, ['services']).map(([name]) => ['services', name])
  const owners = [['legacy'], ...services, ['control']].map(path => ({
    path,
    name: path.join('.'),
  }))
  const all = owners.flatMap(({ path, name }) => {
    const whole = valueAt(banyan.raw, [...path, 'database'])
    const apply = valueAt(whole, ['apply'])
    const at = apply === undefined ? [...path, 'database'] : [...path, 'database', 'apply']
    const reference = apply ?? whole
    if (typeof reference !== 'string' || reference === 'embedded') return []
    return [{ source: banyan, path: at, name, reference }]
  })
  return pairs(
    all,
    one => one.reference,
    (a, b) => {
      const details = [a.name, b.name, a.reference]
      return [clash(b, a, { rule: CONFIG_ERRORS.DATABASE_SHARED, details })]
    },
  )
}

function clash(
  here: Place,
  other: Place | undefined,
  what: Pick<Parameters<typeof diagnostic>[0], 'rule' | 'details'>,
): Diagnostic {
  const span = spanOf(here)
  const elsewhere = other && { other: { source: other.source, span: spanOf(other) } }
  return diagnostic({ source: here.source, span, ...what, ...elsewhere })
}

// Tables are named by keys, everything else by values.
function spanOf({ source, path }: Place) {
  return source.at(path, path[0] === 'tables' ? 'key' : 'value')
}

// Compares each with the first that has the same key: a third one clashes with the first as well, and once is enough.
function pairs<T>(
  all: readonly T[],
  keyOf: (one: T) => string,
  compare: (a: T, b: T) => Diagnostic[],
): Diagnostic[] {
  const seen = new Map<string, T[]>()
  return all.flatMap(b => {
    const before = seen.get(keyOf(b))
    if (before) before.push(b)
    else seen.set(keyOf(b), [b])
    for (const a of before ?? []) {
      const found = a === b ? [] : compare(a, b)
      if (found.length > 0) return found
    }
    return []
  })
}

// Routes that can conflict have the same kinds of segments and the same static ones.
function shapeOf({ route }: { readonly route: Route }): string {
  return route.segments
    .map(segment => (segment.kind === 'static' ? `/${segment.text}` : segment.kind))
    .join(' ')
}

function tryRoute(text: string): Route | undefined {
  try {
    return parseRoute(text)
  } catch (error) {
    if (error instanceof BanyanError) return undefined
    throw error
  }
}

function listAt(raw: unknown, path: Path): readonly unknown[] {
  const list = valueAt(raw, path)
  return Array.isArray(list) ? list : []
}

function entriesAt(raw: unknown, path: Path): [string, unknown][] {
  const map = valueAt(raw, path)
  return typeof map === 'object' && map !== null && !Array.isArray(map) ? Object.entries(map) : []
}
