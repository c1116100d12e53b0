/** One case of wire-cases.ts over real sockets: what the origin saw, and what the client got. */
import { dial } from './facade.ts'
import type { RawSocket, Teardown } from './facade.ts'
import { readHttp } from './http-text.ts'
import type { HttpText } from './http-text.ts'
import type { WireCase } from './wire-cases.ts'

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'

/** What came of a case. A string: how it ended without a message. */
export interface Passage {
  readonly seen: HttpText | string
  readonly got: HttpText | string
  /** The name of the origin that saw it. */
  readonly by: string | undefined
}

interface Arrival {
  readonly socket: RawSocket
  readonly name: string
  /** To be called when the request is answered: what comes on the same connection then is the next one. */
  readonly free: () => void
}

/** Requests to origins, in the order in which they came, whatever connections they came on. */
export interface Arrivals {
  /** For an origin: takes its connections. */
  at(name: string): (socket: RawSocket) => Promise<void>
  /** Resolves with the next one; undefined once `until` has aborted. */
  next(until: AbortSignal): Promise<Arrival | undefined>
}

export function arrivals(): Arrivals {
  const here: Arrival[] = []
  let news = (): void => {}
  return {
    at: name => async socket => {
      for (;;) {
        while (socket.text === '') {
          if (socket.ended) return
          await socket.news()
        }
        await new Promise<void>(free => {
          here.push({ socket, name, free })
          news()
        })
        socket.text = ''
      }
    },
    async next(until) {
      while (here.length === 0 && !until.aborted) {
        await new Promise<void>(resolve => {
          news = resolve
          until.addEventListener('abort', () => resolve(), { once: true })
        })
      }
      return here.shift()
    },
  }
}

/**
 * Sends the case to `port` and answers it at the origin. Where the client is answered, or let down, before an origin saw
 * anything, or `until` aborts, that is the outcome.
 */
export async function pass(
  t: Teardown,
  port: number,
  which: WireCase,
  origins: Arrivals,
  until = AbortSignal.timeout(10_000),
): Promise<Passage> {
  const client = await dial(t, port)
  client.write(which.send)
  const over = new AbortController()
  const reading = message(client, until, which.bodiless === true).finally(() => over.abort())
  const enough = AbortSignal.any([until, over.signal])
  const arrival = await origins.next(enough)
  let seen: HttpText | string = 'nothing'
  if (arrival) {
    const { socket } = arrival
    seen = await message(socket, enough)
    socket.write(which.answer ?? OK)
    if (which.closes) socket.socket.end()
  }
  const got = await reading
  arrival?.free()
  client.socket.destroy()
  return { seen, got, by: arrival?.name }
}

async function message(
  socket: RawSocket,
  until: AbortSignal,
  bodiless = false,
): Promise<HttpText | string> {
  const aborted = new Promise<void>(resolve => {
    until.addEventListener('abort', () => resolve(), { once: true })
  })
  for (;;) {
    const found = readHttp(socket.text, { bodiless, closed: socket.ended === 'fin' })
    if (found) return found
    if (socket.ended) return `${socket.ended} after ${socket.text.length} bytes`
    if (until.aborted) return `silence after ${socket.text.length} bytes`
    await Promise.race([socket.news(), aborted])
  }
}

const EDITED = /^(?:connection|keep-alive|te|x-forwarded-(?:for|host|proto)):/i
/** What the façade adds for its own sake: only at canary, only where a write was answered. */
const MARK = /^set-cookie: banyan-wrote=/i

/**
 * What must be the same. Hop-by-hop and forwarding headers are the documented edits; white space around a value and a
 * request's protocol version are a proxy's own (RFC 9110 §5.5, RFC 9112 §2.3); of the framing, only where it stands.
 */
export function comparable({ seen, got }: Pick<Passage, 'seen' | 'got'>) {
  return { seen: partsOf(seen), got: partsOf(got) }
}

export type Comparable = ReturnType<typeof comparable>

function partsOf(message: HttpText | string) {
  if (typeof message === 'string') return message
  const framing = /^transfer-encoding:/i
  const kept = message.headers
    .filter(line => !EDITED.test(line) && !MARK.test(line))
    .map(line => line.replace(/^([^:]*):[ \t]*(.*?)[ \t]*$/, '$1:$2'))
  return {
    line: message.line.replace(/ HTTP\/1\.[01]$/, ''),
    headers: kept.filter(line => !framing.test(line)),
    framing: kept.filter(line => framing.test(line)),
    body: message.body,
    trailers: message.trailers,
    rest: message.rest,
  }
}
