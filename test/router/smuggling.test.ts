/** Random heads from a small grammar: each is one request for the upstream, framed in one way, or none at all. */
import fc from 'fast-check'
import t from 'tap'
import { dial, facade, rawOrigin } from '../support/facade.ts'
import type { Teardown } from '../support/facade.ts'
import { readHttp } from '../support/http-text.ts'
import type { HttpText } from '../support/http-text.ts'
import { ordersOf, sliceOrder } from '../support/router-control.ts'

const seed = Date.now()
t.comment(`seed ${seed}`)

/** The body of every request here: whoever cuts it out of its frame serves it as a request. */
const BODY = 'GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n'
const SIZE = String(BODY.length)
const CHUNKS = `${BODY.length.toString(16)}\r\n${BODY}\r\n0\r\n\r\n`
const LAST = 'GET /last HTTP/1.1\r\nHost: a\r\n\r\n'

// Each spelling says how long the body is, or must be refused: nobody may pass over one.
const LENGTHS = [
  SIZE,
  `\t${SIZE} `,
  `0${SIZE}`,
  `+${SIZE}`,
  `${SIZE}, ${SIZE}`,
  `0x${SIZE}`,
  `${SIZE}\x0b`,
]
const CODINGS = [
  'chunked',
  'Chunked',
  '\tchunked ',
  'gzip, chunked',
  'chunked, identity',
  'identity',
  '',
].concat(
  '\x0bchunked',
  '"chunked"',
  'chunked;q=1',
  ', chunked',
  'chunked,',
  'chunked, chunked',
  'xchunked',
  '\xa0chunked',
  'x, chunked',
)
const name = (of: string) =>
  fc.constantFrom(of, of.toLowerCase(), of.toUpperCase(), `${of} `, ` ${of}`, `${of}\t`)
const line = (of: string, values: readonly string[]) =>
  fc.tuple(name(of), fc.constantFrom(...values)).map(([a, b]) => `${a}:${b}`)

const LENGTH = fc.oneof(
  { weight: 3, arbitrary: fc.constant(`Content-Length: ${SIZE}`) },
  { weight: 1, arbitrary: line('Content-Length', LENGTHS) },
)
const CODING = fc.oneof(
  { weight: 3, arbitrary: fc.constant('Transfer-Encoding: chunked') },
  { weight: 1, arbitrary: line('Transfer-Encoding', CODINGS) },
)
const NOISE = fc.oneof(
  line('Content-Length', [...LENGTHS, '0', '1', '-1', '']),
  line('Transfer-Encoding', CODINGS),
  ...[1, 2, 3].map(() =>
    fc.constantFrom(
      'Connection: keep-alive',
      'Connection: close',
      'Connection: Content-Length, X-A',
      'Connection: transfer-encoding, host',
      'Connection: Upgrade, x-b',
      'Upgrade: websocket',
      'Upgrade: h2c',
      'Keep-Alive: timeout=9',
      'Proxy-Connection: close',
      'TE: trailers, chunked',
      'Trailer: Content-Length',
      'Expect: 100-continue',
      'Host: b',
      'X-A: 1',
      'X-B: 2',
      'X-A: 3\r\n folded',
      'X-HTTP-Method-Override: GET',
      'Content_Length: 0',
      'Transfer_Encoding: chunked',
    ),
  ),
)

const REQUEST = fc.record({
  method: fc.constantFrom('GET', 'HEAD', 'POST', 'DELETE', 'OPTIONS'),
  version: fc.constantFrom('1.1', '1.1', '1.1', '1.0'),
  chunked: fc.boolean(),
  length: LENGTH,
  coding: CODING,
  noise: fc.array(NOISE, { maxLength: 3 }),
  at: fc.nat(3),
})

type Request = typeof REQUEST extends fc.Arbitrary<infer Of> ? Of : never

function textOf({ method, version, chunked, length, coding, noise, at }: Request): string {
  const headers = [...noise]
  headers.splice(at, 0, chunked ? coding : length)
  const head = [`${method} /real HTTP/${version}`, 'Host: a', ...headers]
  return `${head.join('\r\n')}\r\n\r\n${chunked ? CHUNKS : BODY}${LAST}`
}

/** An origin that answers every request it can make out, and a façade in front of it. */
async function stand(t: Teardown) {
  const seen: HttpText[] = []
  const legacy = await rawOrigin(t, async socket => {
    while (!socket.ended) {
      const found = readHttp(socket.text)
      if (!found) {
        await socket.news()
        continue
      }
      seen.push(found)
      socket.text = found.rest
      const target = found.line.split(' ')[1] ?? ''
      socket.write(`HTTP/1.1 200 OK\r\nX-Saw: ${target}\r\nContent-Length: 0\r\n\r\n`)
    }
  })
  const f = await facade(t, ordersOf(legacy.url, legacy.url, [sliceOrder('legacy')]))
  return { seen, port: f.port }
}

void t.test('whatever the head: one request upstream, framed in one way, or none', async t => {
  const { seen, port } = await stand(t)
  let [passed, refused] = [0, 0]
  const property = fc.asyncProperty(REQUEST, async request => {
    seen.length = 0
    const client = await dial(t, port)
    client.write(textOf(request))
    while (!client.ended && !client.text.includes('X-Saw: /last')) await client.news()
    client.socket.destroy()
    if (seen.length === 0) refused++
    else passed++
    return isSound(seen, request)
  })
  await fc.assert(property, { seed, numRuns: 1_000, interruptAfterTimeLimit: 60_000 })
  t.comment(`${passed} passed, ${refused} refused`)
  t.ok(passed > 50 && refused > 50, 'the grammar has both')
})

function isSound(seen: readonly HttpText[], { noise }: Request): boolean {
  const [real, last, ...more] = seen
  if (more.length > 0 || (last && !last.line.startsWith('GET /last '))) return false
  if (!real) return true
  if (!/^[A-Z]+ \/real HTTP\/1\.1$/.test(real.line) || real.body !== BODY) return false
  return isFramedOnce(real.headers) && isHopClean(real.headers, noise)
}

function isFramedOnce(headers: readonly string[]): boolean {
  const framing = headers.filter(each => /^(?:content-length|transfer-encoding)\s*:/i.test(each))
  return framing.length === 1 && /^[\w-]+: (?:\d+|(?:gzip, )?chunked)$/i.test(framing[0] ?? '')
}

/** What belongs to the client's hop stays there, and what it nominated with it. */
function isHopClean(headers: readonly string[], noise: readonly string[]): boolean {
  const has = (pattern: RegExp): boolean => headers.some(each => pattern.test(each))
  if (has(/^(?:keep-alive|proxy-connection|upgrade):/i) || has(/^te: (?!trailers$)/i)) return false
  if (headers.filter(each => /^host:/i.test(each)).length !== 1) return false
  const nominated = noise.join().toLowerCase()
  if (/connection: [^,]*, x-a/.test(nominated) && has(/^x-a:/i)) return false
  return !(/connection: [^,]*, x-b/.test(nominated) && has(/^x-b:/i))
}
