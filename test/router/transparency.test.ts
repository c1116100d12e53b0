/** Law L1: with every slice at legacy a client can't tell the façade from the monolith. Raw bytes, direct and through. */
import t from 'tap'
import { dial, facade, rawOrigin } from '../support/facade.ts'
import type { RawSocket, Teardown } from '../support/facade.ts'
import { readHttp } from '../support/http-text.ts'
import type { HttpText } from '../support/http-text.ts'
import { ordersOf, sliceOrder } from '../support/router-control.ts'

interface Case {
  readonly name: string
  readonly send: string
  /** Default: 200 with a short body. */
  readonly answer?: string
  /** The answer has no body, whatever its headers say. */
  readonly bodiless?: true
  /** The origin closes after its answer. */
  readonly closes?: true
}

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'

function get(target: string, ...headers: string[]): string {
  return ['GET ' + target + ' HTTP/1.1', 'Host: app.test', ...headers, '', ''].join('\r\n')
}

function post(headers: readonly string[], body: string, method = 'POST'): string {
  return [`${method} /x HTTP/1.1`, 'Host: app.test', ...headers, '', body].join('\r\n')
}

function answer(head: readonly string[], body = ''): string {
  return [...head, '', body].join('\r\n')
}

const TARGETS = [
  '/',
  '/a%2Fb',
  '/a/../b',
  '/a/%2e%2e/b',
  '/..foo',
  '/100%/x',
  '/caf%E9',
  '//x//y',
  '/a\\b',
  '/a;b=c;d',
  '/x?',
  '/x?a=1?b=2&&a=%zz+|[]',
  '/x?q=http://other.test/',
  '/api/%61ppointments/1',
  '/api/appointments/1;v=2',
  '/api//slots/../slots',
  'http://app.test/absolute?x=1',
  `/${'a'.repeat(8000)}`,
]

const METHODS =
  'DELETE OPTIONS TRACE PATCH PUT PROPFIND REPORT PURGE SEARCH QUERY MKCOL LOCK M-SEARCH'.split(' ')

const CASES: readonly Case[] = [
  ...TARGETS.map(target => ({ name: `target ${target.slice(0, 40)}`, send: get(target) })),
  { name: 'OPTIONS *', send: get('*').replace('GET', 'OPTIONS') },
  ...METHODS.map(method => ({ name: `${method} without a body`, send: post([], '', method) })),
  ...['GET', 'DELETE', 'OPTIONS', 'PATCH', 'SEARCH'].map(method => ({
    name: `${method} with a body`,
    send: post(['Content-Length: 5'], 'hello', method),
  })),
  { name: 'POST without a body or a length', send: post([], '') },
  { name: 'POST with an empty body', send: post(['Content-Length: 0'], '') },
  {
    name: 'a chunked body, extensions and all',
    send: post(['Transfer-Encoding: chunked'], '3;x=y\r\nabc\r\n2\r\nde\r\n0\r\n\r\n'),
  },
  {
    name: 'a chunked DELETE',
    send: post(['Transfer-Encoding: chunked'], '3\r\nabc\r\n0\r\n\r\n', 'DELETE'),
  },
  {
    name: 'request trailers',
    send: post(
      ['Transfer-Encoding: chunked', 'Trailer: X-Sum'],
      '3\r\nabc\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n',
    ),
  },
  {
    name: 'a body of any bytes under any content type',
    send: post(['Content-Type: json ; ; charset', 'Content-Length: 6'], '\x00\xff\r\n{"'),
  },
  {
    name: 'header names, case, order and doubles',
    send: get(
      '/',
      'x-LOWER: 1',
      'X-Dup: a',
      'Cookie: a=1',
      'X-Dup: b',
      'Cookie: b=2',
      'x-lower: 3',
    ),
  },
  {
    name: 'header bytes above 0x7f, empty values, odd names',
    send: get(
      '/',
      'X-Name: caf\xe9 \xc3\xa9',
      'X-Empty:',
      '__proto__: x',
      'constructor: y',
      'a_b: c',
    ),
  },
  {
    name: 'the same with a body',
    send: post(['X-Name: caf\xe9', 'Content-Length: 1'], 'x'),
  },
  { name: 'a header of 15 kB', send: get('/', `X-Long: ${'x'.repeat(15_000)}`) },
  {
    name: 'two hundred headers',
    send: get('/', ...Array.from({ length: 200 }, (_, i) => `X-${i}: ${i}`)),
  },
  { name: 'an empty Host', send: 'GET / HTTP/1.1\r\nHost:\r\n\r\n' },
  {
    name: 'Authorization and a Host with a port',
    send: get('/', 'Authorization: Basic x').replace('app.test', 'app.test:8443'),
  },
  { name: 'X-Forwarded-Proto from the load balancer', send: get('/', 'Accept: */*') },
  {
    name: 'Expect with something unknown',
    send: post(['Expect: miracles', 'Content-Length: 1'], 'x'),
  },
  {
    name: 'a reason of its own',
    send: get('/'),
    answer: answer(['HTTP/1.1 200 Fine By Me', 'Content-Length: 0']),
  },
  { name: 'no reason', send: get('/'), answer: answer(['HTTP/1.1 200 ', 'Content-Length: 0']) },
  ...[201, 299, 302, 401, 404, 418, 500, 503, 599, 888].map(status => ({
    name: `status ${status}`,
    send: get('/'),
    answer: answer(
      [`HTTP/1.1 ${status} X`, 'Retry-After: 1', 'Location: /y', 'Content-Length: 1'],
      'x',
    ),
  })),
  {
    name: 'fifty cookies with commas',
    send: get('/'),
    answer: answer([
      'HTTP/1.1 200 OK',
      ...Array.from(
        { length: 50 },
        (_, i) => `Set-Cookie: c${i}=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT`,
      ),
      'Content-Length: 0',
    ]),
  },
  {
    name: 'response names, case, order, doubles and bytes',
    send: get('/'),
    answer: answer(
      [
        'HTTP/1.1 200 OK',
        'x-b: 2',
        'X-A: caf\xe9',
        'x-B: 3',
        'content-LENGTH: 2',
        'Server: s',
        'X-E:',
      ],
      'ok',
    ),
  },
  {
    name: 'a chunked answer with trailers',
    send: get('/', 'TE: trailers'),
    answer: answer(
      ['HTTP/1.1 200 OK', 'Trailer: X-Sum', 'Transfer-Encoding: chunked', 'X-After: 1'],
      '3\r\nabc\r\n0\r\nX-Sum: caf\xe9\r\n\r\n',
    ),
  },
  {
    name: 'a gzip answer, untouched',
    send: get('/', 'Accept-Encoding: gzip'),
    answer: answer(
      ['HTTP/1.1 200 OK', 'Content-Encoding: gzip', 'Content-Length: 3'],
      '\x1f\x8b\x00',
    ),
  },
  {
    name: 'an answer that ends with the connection',
    send: get('/'),
    answer: answer(['HTTP/1.1 200 OK', 'Content-Type: text/plain'], 'until the end'),
    closes: true,
  },
  {
    name: 'an HTTP/1.0 client',
    send: 'GET / HTTP/1.0\r\nHost: app.test\r\n\r\n',
    answer: answer(['HTTP/1.1 200 OK', 'Content-Length: 2', 'Connection: close'], 'ok'),
    closes: true,
  },
  {
    name: 'HEAD with a length',
    send: get('/').replace('GET', 'HEAD'),
    answer: answer(['HTTP/1.1 200 OK', 'Content-Length: 1234']),
    bodiless: true,
  },
  {
    name: 'HEAD with chunks announced',
    send: get('/').replace('GET', 'HEAD'),
    answer: answer(['HTTP/1.1 200 OK', 'Transfer-Encoding: chunked']),
    bodiless: true,
  },
  ...['204 No Content', '304 Not Modified'].map(status => ({
    name: status,
    send: get('/'),
    answer: answer([`HTTP/1.1 ${status}`, 'ETag: "x"']),
    bodiless: true as const,
  })),
  {
    name: '304 with a length',
    send: get('/', 'If-None-Match: "x"'),
    answer: answer(['HTTP/1.1 304 Not Modified', 'ETag: "x"', 'Content-Length: 99']),
    bodiless: true,
  },
  {
    name: '204 with a trailer announced',
    send: get('/'),
    answer: answer(['HTTP/1.1 204 No Content', 'X-Y: z']),
    bodiless: true,
  },
  {
    name: 'a length and a trailer announced',
    send: get('/'),
    answer: answer(['HTTP/1.1 200 OK', 'Content-Length: 2'], 'ok'),
  },
  {
    name: 'ranges',
    send: get('/', 'Range: bytes=0-1', 'If-Range: "x"'),
    answer: answer(
      ['HTTP/1.1 206 Partial Content', 'Content-Range: bytes 0-1/5', 'Content-Length: 2'],
      'ab',
    ),
  },
]

const ADDED = /^(?:connection|keep-alive|te|x-forwarded-(?:for|host|proto)):/i

/**
 * What must be the same. Hop-by-hop and forwarding headers are the documented edits; white space at the end of a line and a
 * request's protocol version are a proxy's own (RFC 9110 §5.5, RFC 9112 §2.3); of the framing, only where it stands.
 */
function comparable(message: HttpText) {
  const framing = /^transfer-encoding:/i
  const kept = message.headers.filter(line => !ADDED.test(line)).map(line => line.trimEnd())
  return {
    line: message.line.replace(/ HTTP\/1\.[01]$/, ''),
    headers: kept.filter(line => !framing.test(line)),
    framing: kept.filter(line => framing.test(line)),
    body: message.body,
    trailers: message.trailers,
    rest: message.rest,
  }
}

async function message(socket: RawSocket, options: { bodiless?: boolean } = {}): Promise<HttpText> {
  for (;;) {
    const found = readHttp(socket.text, { ...options, closed: socket.ended === 'fin' })
    if (found) return found
    await socket.news()
  }
}

async function run(
  t: Teardown,
  port: number,
  which: Case,
): Promise<{ seen: unknown; got: unknown }> {
  const client = await dial(t, port)
  client.write(which.send)
  const origin = await nextConnection()
  const seen = await message(origin)
  origin.text = ''
  origin.write(which.answer ?? OK)
  if (which.closes) origin.socket.end()
  const got = await message(client, which.bodiless ? { bodiless: true } : {})
  client.socket.destroy()
  return { seen: comparable(seen), got: comparable(got) }
}

const arrivals: RawSocket[] = []
let waiting: (() => void) | undefined
async function nextConnection(): Promise<RawSocket> {
  while (arrivals.length === 0) await new Promise<void>(resolve => (waiting = resolve))
  return arrivals.shift() as RawSocket
}

void t.test('every case is the same, direct and through the façade', async t => {
  const legacy = await rawOrigin(t, socket => {
    arrivals.push(socket)
    waiting?.()
  })
  // One socket per request to the origin, so that each case finds its own.
  const limits = { upstreamIdleMs: 1 }
  const orders = ordersOf(legacy.url, legacy.url, [sliceOrder('legacy')])
  const through = await facade(t, orders, { limits })
  let same = 0
  for (const which of CASES) {
    const direct = await run(t, legacy.port, which)
    const proxied = await run(t, through.port, which)
    if (t.strictSame(proxied, direct, which.name)) same++
  }
  t.comment(`${same} of ${CASES.length} cases are the same`)
})
