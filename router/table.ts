/** Orders, compiled once into an immutable table in which a request finds its slice. */
import type { Orders, SliceOrder, Upstream } from '../model/orders.ts'
import { BanyanError } from '../model/errors.ts'
import { ROUTER_ERRORS } from '../model/errors-router.ts'
import { coversMethod, formatRoute, routeOf, shareMethod } from '../model/route.ts'
import type { Route } from '../model/route.ts'
import { STAGES } from '../model/stage.ts'
import type { StageRule } from '../model/stage.ts'
import { ALIASES, canonicalSegment, readingsOf } from './canonical.ts'
import type { AliasRules, Reading } from './canonical.ts'
import { parseIncludeRule, parseKeyRule } from './keys.ts'
import type { IncludeRule, KeyRule } from './keys.ts'

export interface TableSlice {
  readonly name: string
  readonly order: SliceOrder
  readonly rule: StageRule
  readonly upstream: Upstream
  readonly by: readonly KeyRule[]
  readonly include: readonly IncludeRule[]
  /** Keys whose bucket is below this belong to the canary. */
  readonly bucketsBelow: number
}

export interface Found {
  readonly slice: TableSlice
  /** `GET,POST /api/x/:id`: for logs and reports, which never show a path. */
  readonly route: string
}

/**
 * `one`: every reading of the path agrees. `none`: no reading matches. `unclear`: the readings disagree, or there are
 * too many; `slices` are all that some reading may belong to.
 */
export type Finding =
  | ({ readonly kind: 'one' } & Found)
  | { readonly kind: 'none' }
  | { readonly kind: 'unclear'; readonly slices: readonly TableSlice[] }

export interface Table {
  readonly version: number
  readonly orders: Orders
  readonly slices: ReadonlyMap<string, TableSlice>
  /**
   * Slices whose reads may go to a copy, now or after the next flip: for them, the keys of unsafe requests that legacy
   * answers must be remembered.
   */
  readonly copied: readonly TableSlice[]
  /** Who may be sent to a copy, as a text: it tells whether another table lets in others. */
  readonly readers: string
  /** `methods`: what the request may mean: its own method, and one that a header overrides it with. */
  find(methods: readonly string[], target: string): Finding
}

interface Leaf extends Found {
  readonly covers: Route
}

interface Node {
  readonly statics: Map<string, Node>
  param: Node | undefined
  /** Routes that end here, and routes that go on with `**` from here. */
  readonly ends: Leaf[]
  readonly rests: Leaf[]
}

const NONE: Finding = { kind: 'none' }

/**
 * Compiles orders. Throws BanyanError ROUTE_INVALID, ROUTE_CONFLICT (between slices), SERVICE_UNKNOWN, KEY_RULE; the
 * caller then keeps its last table.
 */
export function compileTable(orders: Orders): Table {
  const rules = ALIASES[orders.aliases]
  const root = newNode()
  const slices = new Map<string, TableSlice>()
  for (const order of orders.slices) {
    const slice = compileSlice(order, orders)
    slices.set(slice.name, slice)
    for (const routeOrder of order.routes) plant(root, routeOf(routeOrder), slice, rules)
  }
  return {
    version: orders.version,
    orders,
    slices,
    copied: [...slices.values()].filter(isCopied),
    readers: JSON.stringify([...slices.values()].map(readersOf)),
    find: (methods, target) => find(root, slices, methods, readingsOf(target, rules)),
  }
}

function compileSlice(order: SliceOrder, orders: Orders): TableSlice {
  const upstream = orders.services[order.service]
  if (!upstream) throw new BanyanError(ROUTER_ERRORS.SERVICE_UNKNOWN, [order.name, order.service])
  return {
    name: order.name,
    order,
    rule: STAGES[order.stage],
    upstream,
    by: order.by.map(text => parseKeyRule(text, order.name)),
    include: order.include.map(text => parseIncludeRule(text, order.name)),
    bucketsBelow: Math.round(order.percent * 100),
  }
}

function isCopied({ rule, by }: TableSlice): boolean {
  return by.length > 0 && (rule.reads === 'split' || rule.reads === 'compare')
}

function readersOf({ name, rule, by, include, bucketsBelow }: TableSlice): unknown {
  return rule.reads === 'split' ? [name, by, include, bucketsBelow] : null
}

function newNode(): Node {
  return { statics: new Map(), param: undefined, ends: [], rests: [] }
}

function plant(root: Node, route: Route, slice: TableSlice, rules: AliasRules): void {
  let node = root
  let leaves: Leaf[] | undefined
  for (const [i, segment] of route.segments.entries()) {
    if (segment.kind === 'rest') leaves = node.rests
    else if (segment.kind === 'param') node = node.param ??= newNode()
    else if (
      segment.text !== '' ||
      i < route.segments.length - 1 ||
      rules.trailingSlash === 'never'
    ) {
      const text = canonicalSegment(segment.text, rules)
      const next = node.statics.get(text) ?? newNode()
      node.statics.set(text, next)
      node = next
    }
  }
  leaves ??= node.ends
  for (const leaf of leaves) refuseConflict(leaf, route, slice)
  leaves.push({ slice, route: formatRoute(route), covers: route })
}

// Two routes of one slice may overlap: whichever is found, the slice is the same.
function refuseConflict(leaf: Leaf, route: Route, slice: TableSlice): void {
  if (leaf.slice === slice || !shareMethod(leaf.covers, route)) return
  const details = [leaf.route, leaf.slice.name, formatRoute(route), slice.name]
  throw new BanyanError(ROUTER_ERRORS.ROUTE_CONFLICT, details)
}

function find(
  root: Node,
  slices: ReadonlyMap<string, TableSlice>,
  methods: readonly string[],
  readings: readonly Reading[] | undefined,
): Finding {
  if (readings === undefined) return { kind: 'unclear', slices: [...slices.values()] }
  const found = new Set<TableSlice | undefined>()
  let first: Leaf | undefined
  for (const method of methods) {
    for (const reading of readings) {
      const leaf = match(root, reading, 0, method)
      first ??= leaf
      found.add(leaf?.slice)
    }
  }
  if (!first) return NONE
  if (found.size === 1) return { kind: 'one', slice: first.slice, route: first.route }
  return { kind: 'unclear', slices: [...found].filter(slice => slice !== undefined) }
}

// Depth first, static before parameter before `**`: the first hit is the most specific one (compareSpecificity). Every
// node is seen at most once, so the cost is bounded by the routes that share the path's segments.
function match(node: Node, path: Reading, depth: number, method: string): Leaf | undefined {
  const text = path[depth]
  if (text === undefined) {
    const end = node.ends.find(leaf => coversMethod(leaf.covers, method))
    if (end) return end
  } else {
    const fixed = node.statics.get(text)
    const found = fixed && match(fixed, path, depth + 1, method)
    if (found) return found
    const any = text !== '' && node.param ? match(node.param, path, depth + 1, method) : undefined
    if (any) return any
  }
  return node.rests.find(leaf => coversMethod(leaf.covers, method))
}
