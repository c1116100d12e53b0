/** Requests that two parsers could cut in two places are refused, whatever this version of Node thinks of them. */
import type { IncomingMessage } from 'node:http'
import { ROUTER_ERRORS } from '../model/errors-router.ts'
import type { ErrorRule } from '../model/errors.ts'
import { valuesOf } from './headers.ts'

export interface Framing {
  /** The Transfer-Encoding to send on; undefined: the body, if any, has a Content-Length. */
  readonly transferEncoding: string | undefined
  /** Whether body bytes may follow the head. */
  readonly bodied: boolean
  /** The client waits for a 100 before it sends the body. */
  readonly expects: boolean
}

/** Reads how a request's body is framed, or says which rule it breaks. */
export function framingOf(req: IncomingMessage, headLines: number): Framing | ErrorRule {
  const raw = req.rawHeaders
  if (raw.length / 2 > headLines) return ROUTER_ERRORS.HEAD_TOO_LARGE
  // RFC 9112 §3.2: one Host, and only HTTP/1.0 may leave it out.
  const hosts = valuesOf(raw, 'host').length
  if (hosts > 1 || (hosts === 0 && req.httpVersion === '1.1')) {
    return ROUTER_ERRORS.REQUEST_MALFORMED
  }
  const encodings = valuesOf(raw, 'transfer-encoding')
  const lengths = valuesOf(raw, 'content-length')
  // RFC 9112 §6.1, §6.3: chunked comes last, once; never together with a length; an empty one is no encoding at all.
  if (encodings.length > 0 && (lengths.length > 0 || !endsInChunked(encodings))) {
    return ROUTER_ERRORS.REQUEST_MALFORMED
  }
  if (lengths.length > 1 || !/^[0-9]*$/.test(lengths[0] ?? ''))
    return ROUTER_ERRORS.REQUEST_MALFORMED
  const transferEncoding = encodings.length > 0 ? encodings.join(', ') : undefined
  return {
    transferEncoding,
    bodied: transferEncoding !== undefined || Number(lengths[0] ?? 0) > 0,
    expects: /(?:^|\W)100-continue(?:$|\W)/i.test(req.headers.expect ?? ''),
  }
}

export function isRule(value: Framing | ErrorRule): value is ErrorRule {
  return 'code' in value
}

// Every registered coding but chunked. What else stands in front of it could be chunked to somebody who reads quotes,
// parameters or odd white space in another way.
const BEFORE_CHUNKED = new Set(['compress', 'deflate', 'gzip', 'x-compress', 'x-gzip'])

function endsInChunked(values: readonly string[]): boolean {
  const codings = values
    .join(',')
    .split(',')
    .map(coding => coding.replace(/^[ \t]+|[ \t]+$/g, '').toLowerCase())
  return codings.pop() === 'chunked' && codings.every(coding => BEFORE_CHUNKED.has(coding))
}
