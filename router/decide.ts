/** Where a request goes. Pure: a table, the request's facts and what is fresh go in, a decision comes out. */
import type { HoldOrder } from '../model/orders.ts'
import { unreachable } from '../model/errors.ts'
import type { Side } from '../model/stage.ts'
import { bucketOf, includes, keyOf } from './keys.ts'
import type { RequestFacts } from './keys.ts'
import type { Found, Table, TableSlice } from './table.ts'
import { markOf } from './wrote.ts'

export type Reason =
  | 'unmatched' // no slice's route: legacy, always
  | 'unclear' // spellings disagree, and the owner is legacy anyway
  | 'owner' // unsafe requests go to the owner
  | 'stage' // the stage's table says so
  | 'no-key' // canary: nothing to hold the request by
  | 'outside' // canary: not one of the chosen keys
  | 'stale' // canary: the copy may not have this key's own writes yet
  | 'chosen' // canary: one of the chosen keys
  | 'included' // canary: an include rule matches

export interface Forward {
  readonly kind: 'forward'
  readonly side: Side
  readonly reason: Reason
  readonly slice: TableSlice | null
  /** For logs and reports; null where no slice's route matched. */
  readonly route: string | null
  readonly unsafe: boolean
  /** Park the request first. Only ever on unsafe ones. */
  readonly hold: HoldOrder | null
  /** A copy may go to the service, to be compared. */
  readonly shadow: boolean
  /** Legacy owns the data and the request is safe: legacy may answer when the service can't be reached. */
  readonly fallback: boolean
}

/** `path-unclear`: the monolith may read this path as one of a slice that is no longer, or not quite, its own. */
export type Decision = Forward | { readonly kind: 'refuse'; readonly reason: 'path-unclear' }

/** True where the service's copy has everything that this key's own requests wrote, and the client whose mark it is. */
export type FreshFor = (slice: string, key: string | null, mark: string | null) => boolean

const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE'])
const OVERRIDES = ['x-http-method-override', 'x-http-method', 'x-method-override']

/** Everything but GET, HEAD, OPTIONS, TRACE; and anything that asks to be taken for another method. */
export function isUnsafe(facts: RequestFacts): boolean {
  return !SAFE_METHODS.has(facts.method) || overrideOf(facts) !== undefined
}

/** Decides one request. The order of questions is the order of the lines. */
export function decide(table: Table, facts: RequestFacts, fresh: FreshFor): Decision {
  const unsafe = isUnsafe(facts)
  const override = overrideOf(facts)?.toUpperCase()
  const methods = override === undefined ? [facts.method] : [facts.method, override]
  const finding = table.find(methods, facts.target)
  switch (finding.kind) {
    case 'none':
      return toLegacy('unmatched', unsafe)
    case 'unclear':
      return finding.slices.some(slice => isGuarded(slice, unsafe))
        ? { kind: 'refuse', reason: 'path-unclear' }
        : toLegacy('unclear', unsafe)
    case 'one':
      return unsafe ? toOwner(finding) : toReader(finding, facts, fresh)
    default:
      return unreachable(finding)
  }
}

function toOwner(found: Found): Forward {
  const { owner, hold } = found.slice.order
  return { ...basis(found), side: owner, reason: 'owner', unsafe: true, hold }
}

function toReader(found: Found, facts: RequestFacts, fresh: FreshFor): Forward {
  const { rule, order } = found.slice
  const fallback = order.owner === 'legacy'
  switch (rule.reads) {
    case 'legacy':
      return { ...basis(found), side: 'legacy', reason: 'stage' }
    case 'compare':
      return { ...basis(found), side: 'legacy', reason: 'stage', shadow: true }
    case 'service':
      return { ...basis(found), side: 'service', reason: 'stage', fallback }
    case 'split': {
      const reason = splitReason(found.slice, facts, fresh)
      const side = reason === 'chosen' || reason === 'included' ? 'service' : 'legacy'
      return { ...basis(found), side, reason, fallback: fallback && side === 'service' }
    }
    default:
      return unreachable(rule.reads)
  }
}

function splitReason(slice: TableSlice, facts: RequestFacts, fresh: FreshFor): Reason {
  const key = keyOf(slice.by, facts)
  const included = includes(slice.include, facts)
  if (!included && key === null) return 'no-key'
  if (!included && key !== null && bucketOf(key) >= slice.bucketsBelow) return 'outside'
  // Without tables there is nothing that a copy could lack.
  if (slice.order.ownsTables && !fresh(slice.name, key, markOf(facts))) return 'stale'
  return included ? 'included' : 'chosen'
}

/** May this client's reads be sent to a copy that its writes reach later? */
export function readsCopies(table: Table, facts: RequestFacts): boolean {
  return table.copied.some(slice => {
    if (slice.rule.reads !== 'split' || !slice.order.ownsTables) return false
    const reason = splitReason(slice, facts, () => true)
    return reason === 'chosen' || reason === 'included'
  })
}

/** A slice whose requests legacy must not simply get. */
function isGuarded(slice: TableSlice, unsafe: boolean): boolean {
  return slice.order.owner === 'service' || (unsafe && slice.order.hold !== null)
}

const NOTHING = { unsafe: false, hold: null, shadow: false, fallback: false } as const

function basis(found: Found) {
  return { kind: 'forward', slice: found.slice, route: found.route, ...NOTHING } as const
}

function toLegacy(reason: Reason, unsafe: boolean): Forward {
  return { kind: 'forward', ...NOTHING, slice: null, route: null, side: 'legacy', reason, unsafe }
}

function overrideOf(facts: RequestFacts): string | undefined {
  return OVERRIDES.map(name => facts.header(name)).find(value => value !== undefined)
}
