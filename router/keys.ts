/** A request's key: who it belongs to, for the canary's split and for reading one's own writes. */
import { BanyanError } from '../model/errors.ts'
import { ROUTER_ERRORS } from '../model/errors-router.ts'

/** What a decision may know of a request. Names are lower-case; values are joined as Node joins them. */
export interface RequestFacts {
  readonly method: string
  /** The request target as it came. */
  readonly target: string
  header(name: string): string | undefined
}

export interface KeyRule {
  readonly from: 'header' | 'cookie'
  readonly name: string
}

export interface IncludeRule extends KeyRule {
  /** Undefined: being there is enough. */
  readonly value: string | undefined
}

/** Parses `header:x-tenant-id` or `cookie:sid`. Throws BanyanError KEY_RULE. */
export function parseKeyRule(text: string, slice: string): KeyRule {
  const rule = parseIncludeRule(text, slice)
  if (rule.value !== undefined) throw new BanyanError(ROUTER_ERRORS.KEY_RULE, [slice, text])
  return rule
}

/** Parses `header:x-beta=1`, `cookie:beta`. Throws BanyanError KEY_RULE. */
export function parseIncludeRule(text: string, slice: string): IncludeRule {
  const match = /^(header|cookie):([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:=(.*))?$/.exec(text)
  if (!match) throw new BanyanError(ROUTER_ERRORS.KEY_RULE, [slice, text])
  const from = match[1] === 'header' ? 'header' : 'cookie'
  const name = match[2] ?? ''
  return { from, name: from === 'header' ? name.toLowerCase() : name, value: match[3] }
}

/** The first rule that finds something makes the key; it carries the rule's name, so that keys of two kinds never meet. */
export function keyOf(rules: readonly KeyRule[], facts: RequestFacts): string | null {
  for (const rule of rules) {
    const value = valueOf(rule, facts)
    if (value) return `${rule.from}:${rule.name}=${value}`
  }
  return null
}

export function includes(rules: readonly IncludeRule[], facts: RequestFacts): boolean {
  return rules.some(rule => {
    const value = valueOf(rule, facts)
    return value !== undefined && (rule.value === undefined || rule.value === value)
  })
}

/** The first cookie of this name in a Cookie header. */
export function cookieOf(header: string | undefined, name: string): string | undefined {
  if (header === undefined) return undefined
  for (const part of header.split(';')) {
    const at = part.indexOf('=')
    if (at !== -1 && part.slice(0, at).trim() === name) return part.slice(at + 1).trim()
  }
  return undefined
}

function valueOf(rule: KeyRule, facts: RequestFacts): string | undefined {
  return rule.from === 'header'
    ? facts.header(rule.name)
    : cookieOf(facts.header('cookie'), rule.name)
}

export const BUCKETS = 10_000

/**
 * A key's bucket, 0–9999. A key belongs to the canary iff its bucket is below percent × 100, so that a growing percentage
 * only ever adds keys. FNV-1a with MurmurHash3's finaliser: FNV alone leaves the low bits of similar keys alike.
 */
export function bucketOf(key: string): number {
  let hash = 0x811c9dc5
  for (const byte of Buffer.from(key, 'utf8')) hash = Math.imul(hash ^ byte, 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return ((hash ^ (hash >>> 16)) >>> 0) % BUCKETS
}
