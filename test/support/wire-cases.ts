/** Requests and answers whose bytes must be the same, direct and through: `no` is the number in docs/transparency.md. */

export interface WireCase {
  readonly no: number
  readonly name: string
  readonly send: string
  /** Default: 200 with a short body. */
  readonly answer?: string
  /** The answer has no body, whatever its headers say. */
  readonly bodiless?: true
  /** The origin closes after its answer. */
  readonly closes?: true
}

function get(target: string, ...headers: string[]): string {
  return ['GET ' + target + ' HTTP/1.1', 'Host: app.test', ...headers, '', ''].join('\r\n')
}

function post(headers: readonly string[], body: string, method = 'POST'): string {
  return [`${method} /x HTTP/1.1`, 'Host: app.test', ...headers, '', body].join('\r\n')
}

function answer(head: readonly string[], body = ''): string {
  return [...head, '', body].join('\r\n')
}

const TARGETS: readonly (readonly [number, string])[] = [
  [1, '/'],
  [1, '/a%2Fb'],
  [2, '/a/../b'],
  [2, '/a/%2e%2e/b'],
  [2, '/..foo'],
  [2, '/api/%61ppointments/1'],
  [2, '/api/appointments/1;v=2'],
  [2, '/api//slots/../slots'],
  [3, '/100%/x'],
  [4, '/caf%E9'],
  [5, '/a\\b'],
  [6, '//x//y'],
  [7, '/a;b=c;d'],
  [8, '/x?'],
  [8, '/x?a=1?b=2&&a=%zz+|[]'],
  [8, '/x?q=http://other.test/'],
  [9, '/x?a#part'],
  [10, 'http://app.test/absolute?x=1'],
  [12, `/${'a'.repeat(8_000)}`],
  [12, `/${'b'.repeat(16_000)}`],
]

/** Ten thousand parts, some with the boundary's own characters in them. */
const PARTS = `${Array.from({ length: 10_000 }, (_, i) => `--x:y z\r\nContent-Disposition: form-data; name="f${i}"\r\n\r\n--x:y\r\n`).join('')}--x:y z--\r\n`

const METHODS =
  'DELETE OPTIONS TRACE PATCH PUT PROPFIND REPORT PURGE SEARCH QUERY MKCOL LOCK M-SEARCH'.split(' ')

export const WIRE_CASES: readonly WireCase[] = [
  ...TARGETS.map(([no, target]) => ({
    no,
    name: target.length > 100 ? `a target of ${target.length - 1}` : `target ${target}`,
    send: get(target),
  })),
  { no: 11, name: 'OPTIONS *', send: get('*').replace('GET', 'OPTIONS') },
  ...METHODS.map(method => ({
    no: 17,
    name: `${method} without a body`,
    send: post([], '', method),
  })),
  ...['GET', 'DELETE', 'OPTIONS', 'PATCH', 'SEARCH'].map(method => ({
    no: 15,
    name: `${method} with a body`,
    send: post(['Content-Length: 5'], 'hello', method),
  })),
  { no: 24, name: 'POST without a body or a length', send: post([], '') },
  { no: 24, name: 'POST with an empty body', send: post(['Content-Length: 0'], '') },
  {
    no: 23,
    name: 'a chunked body, extensions and all',
    send: post(['Transfer-Encoding: chunked'], '3;x=y\r\nabc\r\n2\r\nde\r\n0\r\n\r\n'),
  },
  {
    no: 22,
    name: 'a chunked DELETE',
    send: post(['Transfer-Encoding: chunked'], '3\r\nabc\r\n0\r\n\r\n', 'DELETE'),
  },
  {
    no: 28,
    name: 'request trailers',
    send: post(
      ['Transfer-Encoding: chunked', 'Trailer: X-Sum'],
      '3\r\nabc\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n',
    ),
  },
  {
    no: 21,
    name: 'a body of any bytes under any content type',
    send: post(['Content-Type: json ; ; charset', 'Content-Length: 6'], '\x00\xff\r\n{"'),
  },
  {
    no: 41,
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
    no: 43,
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
    no: 43,
    name: 'the same with a body',
    send: post(['X-Name: caf\xe9', 'Content-Length: 1'], 'x'),
  },
  { no: 46, name: 'a header of 15 kB', send: get('/', `X-Long: ${'x'.repeat(15_000)}`) },
  {
    no: 46,
    name: 'two hundred headers',
    send: get('/', ...Array.from({ length: 200 }, (_, i) => `X-${i}: ${i}`)),
  },
  { no: 13, name: 'an empty Host', send: 'GET / HTTP/1.1\r\nHost:\r\n\r\n' },
  {
    no: 14,
    name: 'Authorization and a Host with a port',
    send: get('/', 'Authorization: Basic x').replace('app.test', 'app.test:8443'),
  },
  {
    no: 30,
    name: 'Expect with something unknown',
    send: post(['Expect: miracles', 'Content-Length: 1'], 'x'),
  },
  {
    no: 58,
    name: 'a reason of its own',
    send: get('/'),
    answer: answer(['HTTP/1.1 200 Fine By Me', 'Content-Length: 0']),
  },
  {
    no: 58,
    name: 'no reason',
    send: get('/'),
    answer: answer(['HTTP/1.1 200 ', 'Content-Length: 0']),
  },
  ...[201, 299, 302, 401, 404, 418, 500, 503, 599, 888].map(status => ({
    no: 59,
    name: `status ${status}`,
    send: get('/'),
    answer: answer(
      [`HTTP/1.1 ${status} X`, 'Retry-After: 1', 'Location: /y', 'Content-Length: 1'],
      'x',
    ),
  })),
  {
    no: 48,
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
    no: 43,
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
    no: 65,
    name: 'a chunked answer with trailers',
    send: get('/', 'TE: trailers'),
    answer: answer(
      ['HTTP/1.1 200 OK', 'Trailer: X-Sum', 'Transfer-Encoding: chunked', 'X-After: 1'],
      '3\r\nabc\r\n0\r\nX-Sum: caf\xe9\r\n\r\n',
    ),
  },
  {
    no: 70,
    name: 'a gzip answer, untouched',
    send: get('/', 'Accept-Encoding: gzip'),
    answer: answer(
      ['HTTP/1.1 200 OK', 'Content-Encoding: gzip', 'Content-Length: 3'],
      '\x1f\x8b\x00',
    ),
  },
  {
    no: 64,
    name: 'an answer that ends with the connection',
    send: get('/'),
    answer: answer(['HTTP/1.1 200 OK', 'Content-Type: text/plain'], 'until the end'),
    closes: true,
  },
  {
    no: 13,
    name: 'an HTTP/1.0 client',
    send: 'GET / HTTP/1.0\r\nHost: app.test\r\n\r\n',
    answer: answer(['HTTP/1.1 200 OK', 'Content-Length: 2', 'Connection: close'], 'ok'),
    closes: true,
  },
  {
    no: 16,
    name: 'HEAD with a length',
    send: get('/').replace('GET', 'HEAD'),
    answer: answer(['HTTP/1.1 200 OK', 'Content-Length: 1234']),
    bodiless: true,
  },
  {
    no: 16,
    name: 'HEAD with chunks announced',
    send: get('/').replace('GET', 'HEAD'),
    answer: answer(['HTTP/1.1 200 OK', 'Transfer-Encoding: chunked']),
    bodiless: true,
  },
  ...['204 No Content', '304 Not Modified'].map(status => ({
    no: 61,
    name: status,
    send: get('/'),
    answer: answer([`HTTP/1.1 ${status}`, 'ETag: "x"']),
    bodiless: true as const,
  })),
  {
    no: 62,
    name: '304 with a length',
    send: get('/', 'If-None-Match: "x"'),
    answer: answer(['HTTP/1.1 304 Not Modified', 'ETag: "x"', 'Content-Length: 99']),
    bodiless: true,
  },
  {
    no: 69,
    name: 'ranges',
    send: get('/', 'Range: bytes=0-1', 'If-Range: "x"'),
    answer: answer(
      ['HTTP/1.1 206 Partial Content', 'Content-Range: bytes 0-1/5', 'Content-Length: 2'],
      'ab',
    ),
  },
  ...['xn--bcher-kva.test:81', 'b\xc3\xbccher.test'].map(host => ({
    no: 14,
    name: `Host ${host}`,
    send: get('/').replace('app.test', host),
  })),
  {
    no: 37,
    name: 'a gzip body, untouched',
    send: post(['Content-Encoding: gzip', 'Content-Length: 3'], '\x1f\x8b\x00'),
  },
  {
    no: 38,
    name: 'a multipart body of ten thousand parts',
    send: post(
      ['Content-Type: multipart/form-data; boundary="x:y z"', `Content-Length: ${PARTS.length}`],
      PARTS,
    ),
  },
  {
    no: 44,
    name: 'white space around values',
    send: get('/', 'X-None:a', 'X-Lead: \t a', 'X-Trail: b \t', 'X-In: c \t d', 'X-Only:  '),
  },
  {
    no: 46,
    name: 'headers of 60 kB',
    send: get('/', ...Array.from({ length: 4 }, (_, i) => `X-Long-${i}: ${'x'.repeat(15_000)}`)),
  },
  { no: 47, name: 'two lines of cookies', send: get('/', 'Cookie: a=1; b=2', 'Cookie: c="3,4"') },
  {
    no: 51,
    name: 'a Host that names somebody else',
    send: get('/').replace('app.test', 'other.test:8443'),
  },
  {
    no: 56,
    name: 'trace headers, Forwarded and Via',
    send: get(
      '/',
      'traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
      'tracestate: a=1,b=2',
      'Forwarded: for=192.0.2.1;proto=https',
      'Via: 1.1 lb',
    ),
  },
  { no: 57, name: 'names with underscores', send: get('/', 'x_a: 1', 'X-A: 2', '_: 3') },
  {
    no: 61,
    name: '205 Reset Content',
    send: post(['Content-Length: 1'], 'x'),
    answer: answer(['HTTP/1.1 205 Reset Content', 'Content-Length: 0']),
  },
  {
    no: 69,
    name: 'several ranges',
    send: get('/', 'Range: bytes=0-0,2-2'),
    answer: answer(
      [
        'HTTP/1.1 206 Partial Content',
        'Content-Type: multipart/byteranges; boundary=b',
        'Content-Length: 10',
      ],
      '--b\r\n\r\na\r\n',
    ),
  },
  ...['br', 'zstd', 'identity', 'x-own'].map(coding => ({
    no: 70,
    name: `a body in ${coding}, untouched`,
    send: get('/', `Accept-Encoding: ${coding}`),
    answer: answer(
      ['HTTP/1.1 200 OK', `Content-Encoding: ${coding}`, 'Content-Length: 3'],
      '\x1b\xff\x00',
    ),
  })),
  {
    no: 71,
    name: 'validators and rules for caches',
    send: get('/', 'If-None-Match: W/"a", "b"', 'Cache-Control: no-cache'),
    answer: answer(
      [
        'HTTP/1.1 200 OK',
        'ETag: W/"a"',
        'Vary: Accept, *',
        'Cache-Control: private',
        'Cache-Control: max-age=0',
        'Content-Length: 2',
      ],
      'ok',
    ),
  },
  {
    no: 72,
    name: 'addresses in an answer',
    send: get('/'),
    answer: answer([
      'HTTP/1.1 303 See Other',
      'Location: http://127.0.0.1:1/inner?a=%zz',
      'Content-Location: ../x',
      'Refresh: 0; url=http://inner.test/',
      'Content-Length: 0',
    ]),
  },
  {
    no: 73,
    name: 'Date and Server as the origin says them',
    send: get('/'),
    answer: answer([
      'HTTP/1.1 200 OK',
      'Date: yesterday',
      'Server: legacy/1 (odd)',
      'Content-Length: 0',
    ]),
  },
  { no: 73, name: 'no Date where the origin says none', send: get('/') },
  {
    no: 124,
    name: 'a target that names somebody else',
    send: 'GET http://127.0.0.2:1/latest HTTP/1.1\r\nHost: 127.0.0.2:1\r\n\r\n',
  },
]
