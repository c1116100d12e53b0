/** The documented edits to headers, on raw arrays: everything else keeps its name, case, order and bytes. */
import { withoutMark } from './wrote.ts'

/** Name, value, name, value … as Node's rawHeaders. */
export type RawHeaders = readonly string[]

// RFC 9110 §7.6.1, and what old clients and servers use in the same way.
const HOP_BY_HOP = new Set([
  'connection',
  'http2-settings',
  'keep-alive',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'transfer-encoding',
  'upgrade',
])

// Naming one of these in Connection must not take it away: an attacker would drop what an origin relies on.
const NEVER_NOMINATED = new Set([
  'authorization',
  'content-encoding',
  'content-length',
  'content-type',
  'cookie',
  'expect',
  'host',
  'set-cookie',
])

const FORWARDED_FOR = 'x-forwarded-for'
const FORWARDED_HOST = 'x-forwarded-host'
const FORWARDED_PROTO = 'x-forwarded-proto'

/** Names that only Banyan may say towards an upstream. Servers that read `_` as `-` (CGI and its heirs) are covered. */
export function isReserved(name: string): boolean {
  return /^x[-_]banyan[-_]/i.test(name)
}

export interface RequestEdits {
  /** The client's address; appended to X-Forwarded-For. */
  readonly peer: string | undefined
  /** The value of Transfer-Encoding to send, where the body is chunked. */
  readonly transferEncoding: string | undefined
  /** What to add, in front of everything that the client sent. */
  readonly set: RawHeaders
  /** For a tunnel: keep Upgrade, and say so in Connection. */
  readonly upgrade?: string
  /** Host to send where the client sent none (HTTP/1.0). */
  readonly host: string
}

/**
 * A client's request headers as an upstream gets them: hop-by-hop and reserved ones out, forwarding headers in.
 * X-Forwarded-For grows by the peer; Host and Proto are added where nobody in front of us did.
 */
export function requestHeaders(raw: RawHeaders, edits: RequestEdits): string[] {
  const nominated = nominatedBy(raw)
  const out = [...edits.set]
  const via: string[] = []
  const seen = {
    host: undefined as string | undefined,
    forwardedHost: false,
    proto: false,
    trailers: false,
  }
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i] ?? ''
    const value = raw[i + 1] ?? ''
    const lower = name.toLowerCase()
    if (lower === 'te' && /(?:^|,)\s*trailers\s*(?:[;,]|$)/i.test(value)) seen.trailers = true
    if (lower === 'trailer' && edits.transferEncoding === undefined) continue
    if (HOP_BY_HOP.has(lower) || nominated?.has(lower) || isReserved(lower)) continue
    if (lower === FORWARDED_FOR) {
      via.push(value)
      continue
    }
    if (lower === 'host') seen.host = value
    else if (lower === FORWARDED_HOST) seen.forwardedHost = true
    else if (lower === FORWARDED_PROTO) seen.proto = true
    const sent = lower === 'cookie' ? withoutMark(value) : value
    if (sent !== undefined) out.push(name, sent)
  }
  if (seen.host === undefined) out.unshift('Host', edits.host)
  else if (!seen.forwardedHost) out.push('X-Forwarded-Host', seen.host)
  if (edits.peer !== undefined) via.push(edits.peer)
  if (via.length > 0) out.push('X-Forwarded-For', via.join(', '))
  if (!seen.proto) out.push('X-Forwarded-Proto', 'http')
  frame(out, edits, seen.trailers)
  return out
}

function frame(out: string[], edits: RequestEdits, trailers: boolean): void {
  if (edits.transferEncoding !== undefined) out.push('Transfer-Encoding', edits.transferEncoding)
  if (edits.upgrade !== undefined) out.push('Connection', 'Upgrade', 'Upgrade', edits.upgrade)
  // Trailers are relayed, so the client's wish for them is passed on in our own name (RFC 9110 §10.1.4).
  else if (trailers) out.push('TE', 'trailers', 'Connection', 'keep-alive, TE')
}

/** An upstream's response headers as the client gets them. `trailer`: keep the announcement (trailers will follow). */
export function responseHeaders(raw: RawHeaders, trailer: boolean): string[] {
  const nominated = nominatedBy(raw)
  const out: string[] = []
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i] ?? ''
    const lower = name.toLowerCase()
    if (HOP_BY_HOP.has(lower) || nominated?.has(lower)) continue
    if (lower === 'trailer' && !trailer) continue
    out.push(name, raw[i + 1] ?? '')
  }
  return out
}

// Fields that steer framing, routing or identity mean nothing, or something bad, after a body (RFC 9110 §6.5.1).
const NEVER_TRAILERS = new Set([...NEVER_NOMINATED, 'content-range', 'trailer', 'x-forwarded-for'])

/** Trailers as pairs, without what must not come as a trailer. */
export function trailerPairs(raw: RawHeaders): [string, string][] {
  const out: [string, string][] = []
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i] ?? ''
    const lower = name.toLowerCase()
    if (HOP_BY_HOP.has(lower) || NEVER_TRAILERS.has(lower) || isReserved(lower)) continue
    out.push([name, raw[i + 1] ?? ''])
  }
  return out
}

/** All values of a header, in order. */
export function valuesOf(raw: RawHeaders, lower: string): string[] {
  const out: string[] = []
  for (let i = 0; i < raw.length; i += 2) {
    if (raw[i]?.toLowerCase() === lower) out.push(raw[i + 1] ?? '')
  }
  return out
}

function nominatedBy(raw: RawHeaders): Set<string> | undefined {
  let names: Set<string> | undefined
  for (const value of valuesOf(raw, 'connection')) {
    for (const part of value.split(',')) {
      const name = part.trim().toLowerCase()
      if (name !== '' && !NEVER_NOMINATED.has(name)) (names ??= new Set()).add(name)
    }
  }
  return names
}
