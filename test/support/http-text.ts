/** An HTTP message as text, taken apart so that two can be compared: chunks are joined, nothing else is touched. */

export interface HttpText {
  /** The request or status line. */
  readonly line: string
  /** `Name: value`, in order. */
  readonly headers: readonly string[]
  readonly body: string
  readonly trailers: readonly string[]
  /** What follows the message. */
  readonly rest: string
}

/** Undefined: not complete yet. `bodiless`: an answer to HEAD, or one of 204, 304. `closed`: the connection has ended. */
export function readHttp(
  text: string,
  options: { readonly bodiless?: boolean; readonly closed?: boolean } = {},
): HttpText | undefined {
  const end = text.indexOf('\r\n\r\n')
  if (end === -1) return undefined
  const [line = '', ...headers] = text.slice(0, end).split('\r\n')
  const after = text.slice(end + 4)
  const base = { line, headers, trailers: [] }
  if (options.bodiless) return { ...base, body: '', rest: after }
  if (valueOf(headers, 'transfer-encoding') !== undefined) return readChunks(base, after)
  const length = valueOf(headers, 'content-length')
  if (length !== undefined) {
    const size = Number(length)
    if (after.length < size && !options.closed) return undefined
    return { ...base, body: after.slice(0, size), rest: after.slice(size) }
  }
  // A request without framing has no body; a response's ends with the connection.
  if (!line.startsWith('HTTP/')) return { ...base, body: '', rest: after }
  return options.closed ? { ...base, body: after, rest: '' } : undefined
}

function readChunks(base: Pick<HttpText, 'line' | 'headers'>, text: string): HttpText | undefined {
  let body = ''
  let at = 0
  for (;;) {
    const eol = text.indexOf('\r\n', at)
    if (eol === -1) return undefined
    const size = parseInt(text.slice(at, eol), 16)
    if (size === 0) {
      const end = text.indexOf('\r\n\r\n', eol)
      if (end === -1) return undefined
      const trailers = text
        .slice(eol + 2, end)
        .split('\r\n')
        .filter(Boolean)
      return { ...base, body, trailers, rest: text.slice(end + 4) }
    }
    const next = eol + 2 + size + 2
    if (text.length < next) return undefined
    body += text.slice(eol + 2, eol + 2 + size)
    at = next
  }
}

function valueOf(headers: readonly string[], name: string): string | undefined {
  const found = headers.find(line => line.toLowerCase().startsWith(`${name}:`))
  return found?.slice(name.length + 1).trim()
}
