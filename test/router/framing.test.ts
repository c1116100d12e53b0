/** Requests that could be cut in two places never reach an upstream; nobody but the façade speaks in its name. */
import t from 'tap'
import { dial, facade, rawOrigin } from '../support/facade.ts'
import { ordersOf, sliceOrder } from '../support/router-control.ts'

const HOST = 'Host: a\r\n'
const NEXT = 'GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n'

const REFUSED: Readonly<Record<string, string>> = {
  'a length and an encoding': `POST / HTTP/1.1\r\n${HOST}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  'an empty encoding and a length': `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding:\r\nContent-Length: ${NEXT.length}\r\n\r\n`,
  'an empty encoding': `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding:\r\n\r\n`,
  'two lengths': `POST / HTTP/1.1\r\n${HOST}Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde`,
  'the same length twice': `POST / HTTP/1.1\r\n${HOST}Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd`,
  'a length list': `POST / HTTP/1.1\r\n${HOST}Content-Length: 4, 4\r\n\r\nabcd`,
  'a signed length': `POST / HTTP/1.1\r\n${HOST}Content-Length: +4\r\n\r\nabcd`,
  'chunked, then identity': `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n`,
  'chunked twice': `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  'a padded encoding': `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n`,
  'a quoted encoding before chunked': `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: "chunked"\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  'an unknown encoding before chunked': `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked;q=1, chunked\r\n\r\n0\r\n\r\n`,
  'a space before the colon': `POST / HTTP/1.1\r\n${HOST}Content-Length : 4\r\n\r\nabcd`,
  'a folded header': `GET / HTTP/1.1\r\n${HOST}X: a\r\n b\r\n\r\n`,
  'two hosts': `GET / HTTP/1.1\r\n${HOST}Host: b\r\n\r\n`,
  'no host': 'GET / HTTP/1.1\r\n\r\n',
  'too many headers': `GET / HTTP/1.1\r\n${HOST}${'X: y\r\n'.repeat(600)}\r\n`,
  'a length behind two thousand headers': `POST / HTTP/1.1\r\n${HOST}${'X: y\r\n'.repeat(2100)}Content-Length: ${NEXT.length}\r\n\r\n`,
  'too large a head': `GET / HTTP/1.1\r\n${HOST}X: ${'y'.repeat(70_000)}\r\n\r\n`,
  'a method that nobody knows': `FROB / HTTP/1.1\r\n${HOST}\r\n`,
  'a method in lower case': `get / HTTP/1.1\r\n${HOST}\r\n`,
  'a NUL in a value': `GET / HTTP/1.1\r\n${HOST}X: a\x00b\r\n\r\n`,
  'a bare carriage return in a value': `GET / HTTP/1.1\r\n${HOST}X: a\rY: b\r\n\r\n`,
  'a bare line feed behind a value': `GET / HTTP/1.1\r\n${HOST}X: a\nY: b\r\n\r\n`,
  'a broken chunk': `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\nzz\r\n`,
  'a bare line feed': `GET / HTTP/1.1\nHost: a\n\n`,
}

void t.test('requests with two readings are refused, with the connection', async t => {
  const legacy = await rawOrigin(t, async socket => {
    await socket.until('\r\n\r\n')
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
  })
  const { port } = await facade(t, ordersOf(legacy.url, legacy.url, [sliceOrder('legacy')]))
  for (const [name, bytes] of Object.entries(REFUSED)) {
    const client = await dial(t, port)
    client.write(bytes + NEXT)
    const { text } = await client.end()
    t.match(text, /^(?:HTTP\/1.1 4(?:00|31) |$)/, name)
    t.notMatch(text, /HTTP\/1.1 200/, name)
  }
  // A broken chunk shows only after the head: that request may begin, and must not end.
  for (const socket of legacy.sockets) {
    t.match(socket.text, /^(?:POST [^]*transfer-encoding: chunked\r\n|$)/i)
    t.notMatch(socket.text, /smuggled|\r\n0\r\n\r\n$/)
  }
})

void t.test('what only the façade may say never passes, however it is spelled', async t => {
  const legacy = await rawOrigin(t)
  const { port } = await facade(t, ordersOf(legacy.url, legacy.url, [sliceOrder('legacy')]))
  const client = await dial(t, port)
  const spoofed = [
    'x-banyan-identity: evil',
    'X-Banyan-Identity: evil',
    'X_BANYAN_IDENTITY: evil',
    'x-banyan_identity: evil',
    'x-banyan-shadow: evil',
    'Connection: x-banyan-identity, keep-alive',
  ]
  const chunks = '1\r\nx\r\n0\r\nx-banyan-identity: evil\r\nHost: evil\r\nX-Fine: 1\r\n\r\n'
  const framing = 'Transfer-Encoding: chunked\r\nTrailer: X-Fine\r\n'
  client.write(`POST / HTTP/1.1\r\n${HOST}${framing}${spoofed.join('\r\n')}\r\n\r\n${chunks}`)
  const origin = await legacy.connection(0)
  const seen = await origin.until('X-Fine: 1\r\n\r\n')
  t.notMatch(seen, /evil/)
  t.notMatch(seen, /banyan/i)
})

void t.test('garbage behind a request is not answered in that request’s place', async t => {
  const legacy = await rawOrigin(t)
  const { port } = await facade(t, ordersOf(legacy.url, legacy.url, [sliceOrder('legacy')]))
  const client = await dial(t, port)
  client.write(`POST / HTTP/1.1\r\n${HOST}Content-Length: 1\r\n\r\nx`)
  const origin = await legacy.connection(0)
  await origin.until('\r\n\r\nx')
  client.write('garbage\r\n\r\n')
  t.equal((await client.end()).text, '')
})

void t.test(
  'what follows a request that says close is nobody’s, and the request is answered',
  async t => {
    const legacy = await rawOrigin(t)
    const { port } = await facade(t, ordersOf(legacy.url, legacy.url, [sliceOrder('legacy')]))
    const heads = [
      `POST / HTTP/1.1\r\n${HOST}Connection: close\r\nContent-Length: 1\r\n\r\nx`,
      `GET / HTTP/1.0\r\n${HOST}\r\n`,
    ]
    for (const [i, head] of heads.entries()) {
      const client = await dial(t, port)
      client.write(head + NEXT)
      const origin = await legacy.connection(i)
      await origin.until(/\r\n\r\nx?$/)
      client.write(NEXT)
      // Once this is answered, what the first client sent behind its request has been read.
      const other = await dial(t, port)
      other.write('GET /.well-known/banyan/jwks.json HTTP/1.1\r\nHost: a\r\n\r\n')
      await other.until('keys')
      origin.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok')
      t.match((await client.end()).text, /^HTTP\/1.1 200 OK\r\n[^]*\r\n\r\nok$/)
      origin.socket.end()
    }
    for (const socket of legacy.sockets) t.notMatch(socket.text, /smuggled/)
  },
)
