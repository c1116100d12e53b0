/**
 * The client's own HTTP: bounded keep-alive sockets, and an honest word for every way in which a
 * request can end.
 */
import { Agent, request, type IncomingHttpHeaders } from 'node:http'

export interface Call {
  readonly method: string
  readonly path: string
  readonly cookie?: string
  readonly body?: unknown
}

/**
 * How a request ended. `refused`: no connection was made, so nothing was asked. `reset` and
 * `timeout`: it may have been done or not.
 */
export type End =
  | ({ readonly kind: 'answer'; readonly status: number; readonly reason?: string } & Payload)
  | { readonly kind: 'refused' | 'reset' | 'timeout'; readonly code: string }

interface Payload {
  readonly headers: IncomingHttpHeaders
  readonly text: string
}

export interface HttpClient {
  call(call: Call): Promise<End>
  close(): void
}

/**
 * Below the five seconds after which a plain Node server closes an idle socket: a request must not
 * be written to a socket that the other end is about to close, for that reset would be the client's
 * own.
 */
const IDLE_SOCKET_MS = 3_000

/**
 * `sockets` bounds connections (whoever calls keeps below it, so that "sent" is known); `timeoutMs`
 * from sending.
 */
export function createHttpClient(options: {
  target: string
  sockets: number
  timeoutMs: number
}): HttpClient {
  const target = new URL(options.target)
  const agent = new Agent({
    keepAlive: true,
    maxSockets: options.sockets,
    maxFreeSockets: options.sockets,
    timeout: IDLE_SOCKET_MS,
  })
  const jar = createJar()
  return {
    async call(call) {
      const cookies = call.cookie === undefined ? {} : { cookie: jar.cookiesOf(call.cookie) }
      const end = await send({
        target,
        agent,
        timeoutMs: options.timeoutMs,
        call: { ...call, ...cookies },
      })
      if (call.cookie !== undefined && end.kind === 'answer') jar.keep(call.cookie, end.headers)
      return end
    },
    close: () => agent.destroy(),
  }
}

/** What each session was given besides the cookie that names it: like a browser, it sends that back. */
function createJar() {
  const given = new Map<string, Map<string, string>>()
  return {
    cookiesOf: (session: string): string =>
      [session, ...(given.get(session)?.values() ?? [])].join('; '),
    keep(session: string, headers: IncomingHttpHeaders): void {
      for (const line of headers['set-cookie'] ?? []) {
        const pair = line.split(';', 1)[0] ?? ''
        const name = pair.split('=', 1)[0] ?? ''
        if (session.startsWith(`${name}=`)) continue
        given.set(session, (given.get(session) ?? new Map<string, string>()).set(name, pair))
      }
    },
  }
}

function send(options: { target: URL; agent: Agent; timeoutMs: number; call: Call }): Promise<End> {
  const { target, agent, timeoutMs, call } = options
  const body = call.body === undefined ? undefined : JSON.stringify(call.body)
  return new Promise(resolve => {
    let connected = false
    const outgoing = request({
      agent,
      host: target.hostname,
      port: target.port === '' ? 80 : target.port,
      method: call.method,
      path: call.path,
      headers: headersOf(call, body),
    })
    const timer = setTimeout(() => {
      end({ kind: 'timeout', code: connected ? 'no answer' : 'no connection' })
      outgoing.destroy()
    }, timeoutMs)
    const end = (how: End): void => {
      clearTimeout(timer)
      resolve(how)
    }
    const broken = (error: NodeJS.ErrnoException): void =>
      end({ kind: connected ? 'reset' : 'refused', code: error.code ?? error.message })
    outgoing.on('socket', socket => {
      if (!socket.connecting) connected = true
      else socket.once('connect', () => (connected = true))
    })
    outgoing.on('error', broken)
    outgoing.on('response', response => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', broken)
      response.on('end', () => {
        const reason = response.headers['x-banyan']
        end({
          kind: 'answer',
          status: response.statusCode ?? 0,
          headers: response.headers,
          text: Buffer.concat(chunks).toString(),
          ...(typeof reason === 'string' ? { reason } : {}),
        })
      })
    })
    outgoing.end(body)
  })
}

function headersOf(call: Call, body: string | undefined): Record<string, string | number> {
  return {
    accept: 'application/json',
    ...(call.cookie === undefined ? {} : { cookie: call.cookie }),
    ...(body === undefined
      ? {}
      : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
  }
}

/** The JSON of an answer, or undefined where it isn't an object or an array. */
export function jsonOf(end: End): unknown {
  if (end.kind !== 'answer') return undefined
  try {
    return JSON.parse(end.text) as unknown
  } catch {
    return undefined
  }
}

/** A numeric field of an answer. */
export function numberIn(value: unknown, field: string): number | undefined {
  const found = textual(value)?.[field]
  return typeof found === 'number' ? found : undefined
}

/** A text field of an answer. */
export function textIn(value: unknown, field: string): string | undefined {
  const found = textual(value)?.[field]
  return typeof found === 'string' ? found : undefined
}

function textual(value: unknown): Record<string, unknown> | undefined {
  return typeof value === 'object' && value !== null
    ? (value as Record<string, unknown>)
    : undefined
}
