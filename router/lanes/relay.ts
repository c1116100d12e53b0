/** An upstream's answer on its way to the client: heads, trailers, and an end that is never prettier than the real one. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { type RawHeaders, responseHeaders, trailerPairs } from '../headers.ts'

/** How the client learns where the body ends. */
export type Ending = 'none' | 'framed' | 'close'

/** What Node tells about a 1xx response. */
export interface Interim {
  readonly statusCode: number
  readonly statusMessage: string
  readonly rawHeaders: string[]
}

/** Relays a 1xx response (RFC 9110 §15.2: a proxy must), where the client speaks HTTP/1.1 and it can still come first. */
export function relayInterim(req: IncomingMessage, res: ServerResponse, interim: Interim): void {
  if (req.httpVersion !== '1.1' || res.headersSent || !res.socket || res.destroyed) return
  if (interim.statusCode === 100) {
    res.writeContinue()
    return
  }
  const headers = responseHeaders(interim.rawHeaders, false)
  let head = `HTTP/1.1 ${interim.statusCode} ${interim.statusMessage}\r\n`
  for (let i = 0; i < headers.length; i += 2) head += `${headers[i]}: ${headers[i + 1]}\r\n`
  res.socket.write(`${head}\r\n`, 'latin1')
}

/**
 * Writes the response's head with its own names, case, order, reason and framing. Throws where Node can't
 * write it (a status below 100, control characters): the upstream didn't speak HTTP. `set`: added behind its headers.
 */
export function relayHead(
  req: IncomingMessage,
  res: ServerResponse,
  answer: IncomingMessage,
  set: RawHeaders,
): Ending {
  const status = answer.statusCode ?? 0
  const bodiless = req.method === 'HEAD' || status === 204 || status === 304
  const encoding = answer.headers['transfer-encoding']
  const sized = answer.headers['content-length'] !== undefined
  const chunked = encoding !== undefined && req.httpVersion === '1.1'
  const headers = [...responseHeaders(answer.rawHeaders, chunked && !bodiless), ...set]
  // A 204 or 304 has no Transfer-Encoding (RFC 9112 §6.1), a HEAD's answer repeats what GET's would have.
  if (chunked && status !== 204 && status !== 304) headers.push('Transfer-Encoding', encoding)
  res.sendDate = false
  // Without a length or chunks the body ends where the connection does; Node would make chunks of it.
  if (!chunked && !sized && !bodiless) res.useChunkedEncodingByDefault = false
  res.writeHead(status, answer.statusMessage ?? '', headers)
  if (bodiless) return 'none'
  return chunked || sized ? 'framed' : 'close'
}

/** Ends a response that came whole, with its trailers. */
export function relayEnd(res: ServerResponse, answer: IncomingMessage): void {
  if (res.chunkedEncoding && answer.rawTrailers.length > 0) {
    res.addTrailers(trailerPairs(answer.rawTrailers))
  }
  res.end()
}

/**
 * Cuts a response that broke off. Where the length or the chunks show the gap, what is on its way may arrive first;
 * where only the connection's end says "complete", the end must be a reset.
 */
export function cut(res: ServerResponse, ending: Ending, lingerMs: number): void {
  const socket = res.socket
  if (!socket || socket.destroyed) return
  if (ending === 'close') socket.resetAndDestroy()
  else if (socket.writableLength === 0) socket.destroy()
  else {
    socket.setTimeout(lingerMs)
    socket.destroySoon()
  }
}
