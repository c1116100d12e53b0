/** Sockets to the upstreams: one bounded pool each, closed when no table names it any more. */
import http from 'node:http'
import https from 'node:https'
import { isIP } from 'node:net'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Upstream } from '../model/orders.ts'
import { BanyanError } from '../model/errors.ts'
import { ROUTER_ERRORS } from '../model/errors-router.ts'
import type { RawHeaders } from './headers.ts'
import type { RouterLimits } from './limits.ts'

export interface RequestLine {
  readonly method: string
  readonly target: string
  readonly headers: RawHeaders
}

export interface UpstreamPool {
  /** What to send as Host where the client sent none. */
  readonly authority: string
  /** Requests under way or waiting for a socket. */
  readonly active: number
  /** True where one more may be sent or wait. */
  hasRoom(): boolean
  /** Opens a request with exactly these headers. `alone`: on a socket of its own, for retries and tunnels. */
  open(line: RequestLine, alone: boolean): http.ClientRequest
}

export interface Upstreams extends AsyncDisposable {
  /** Throws BanyanError UPSTREAM_URL. */
  pool(upstream: Upstream, use?: 'serve' | 'shadow'): UpstreamPool
  /** Idle sockets to upstreams that aren't among these are closed; requests under way end as they will. */
  retain(upstreams: readonly Upstream[]): void
}

export function createUpstreams(limits: RouterLimits): Upstreams {
  const pools = new Map<string, ReturnType<typeof createPool>>()
  return {
    pool(upstream, use = 'serve') {
      const key = `${use} ${keyOf(upstream)}`
      const pool = pools.get(key) ?? createPool(upstream, use, limits)
      pools.set(key, pool)
      return pool
    },
    retain(upstreams) {
      const wanted = new Set(upstreams.map(keyOf))
      for (const [key, pool] of pools) {
        if (wanted.has(key.slice(key.indexOf(' ') + 1))) continue
        pool.retire()
        pools.delete(key)
      }
    },
    async [Symbol.asyncDispose]() {
      for (const pool of pools.values()) pool.destroy()
      pools.clear()
    },
  }
}

function keyOf(upstream: Upstream): string {
  return `${upstream.insecure ? 'insecure' : 'verified'} ${upstream.url}`
}

function createPool(upstream: Upstream, use: 'serve' | 'shadow', limits: RouterLimits) {
  const url = parseUpstream(upstream.url)
  const secure = url.protocol === 'https:'
  const host = url.hostname.replace(/^\[|\]$/g, '')
  const sockets = use === 'shadow' ? limits.shadowSockets : limits.upstreamSockets
  const tls = secure
    ? { rejectUnauthorized: !upstream.insecure, ...(isIP(host) ? {} : { servername: host }) }
    : {}
  const pooled = { ...tls, keepAlive: true, maxSockets: sockets, maxFreeSockets: sockets }
  const agent = secure
    ? new PooledHttps(pooled, limits.upstreamIdleMs)
    : new PooledHttp(pooled, limits.upstreamIdleMs)
  const alone = secure ? new https.Agent(tls) : new http.Agent()
  let active = 0
  return {
    authority: url.host,
    get active() {
      return active
    },
    hasRoom: () => active < sockets + limits.upstreamWaiting,
    open(line: RequestLine, single: boolean) {
      const request = new ExactRequest({
        agent: single ? alone : agent,
        protocol: url.protocol,
        host,
        port: url.port || (secure ? 443 : 80),
        method: line.method,
        path: line.target,
        headers: line.headers as string[],
        maxHeaderSize: limits.headBytes,
      })
      request.maxHeadersCount = 0
      active++
      request.once('close', () => active--)
      return request
    },
    retire() {
      agent.retire()
    },
    destroy() {
      agent.destroy()
      alone.destroy()
    },
  }
}

/** Parses an upstream's URL: http or https, a host, no path. Throws BanyanError UPSTREAM_URL. */
export function parseUpstream(text: string): URL {
  const refuse = (why: string): never => {
    throw new BanyanError(ROUTER_ERRORS.UPSTREAM_URL, [text, why])
  }
  if (!URL.canParse(text)) return refuse('it can not be read')
  const url = new URL(text)
  if (url.protocol !== 'http:' && url.protocol !== 'https:') refuse('it is neither http nor https')
  if (url.username !== '' || url.password !== '') refuse('it carries credentials')
  if (url.pathname !== '/' || url.search !== '' || url.hash !== '') refuse('it has a path')
  return url
}

/**
 * Node's client request, minus two habits that change what a client sent: `Transfer-Encoding: chunked` on a POST or PATCH
 * without a body (Node 20), and a head with bytes above 0x7f written as UTF-8 when it goes out alone. And minus a third:
 * destroyed while it waits for a socket, it says nothing until there is one.
 */
class ExactRequest extends http.ClientRequest {
  static {
    Object.defineProperty(this.prototype, 'useChunkedEncodingByDefault', {
      get: () => false,
      set: () => undefined,
    })
  }

  override destroy(error?: Error): this {
    const waited = !this.destroyed && leaveQueue(this)
    super.destroy(error)
    if (waited) {
      const reset = Object.assign(new Error('never had a socket'), { code: 'ECONNRESET' })
      process.nextTick(() => {
        this.emit('error', error ?? reset)
        this.emit('close')
      })
    }
    return this
  }

  // Node calls this (undocumented since 0.x, unchanged) with an empty string to send the head alone. Where a future
  // version doesn't, this is never called and nothing is lost but the exact bytes of such a head.
  _send(data: unknown, encoding?: unknown, callback?: unknown, length?: unknown): boolean {
    const send = SEND_OF_NODE
    return send.call(this, data, data === '' ? 'latin1' : encoding, callback, length)
  }
}

/** False: it has a socket, or one is on its way. */
function leaveQueue(request: http.ClientRequest): boolean {
  const { requests } = (request as unknown as { agent: { requests: Record<string, unknown[]> } })
    .agent
  for (const [name, queue] of Object.entries(requests)) {
    const at = queue.indexOf(request)
    if (at === -1) continue
    queue.splice(at, 1)
    if (queue.length === 0) delete requests[name]
    return true
  }
  return false
}

const SEND_OF_NODE = (http.OutgoingMessage.prototype as unknown as { _send: Send })._send
type Send = (this: http.OutgoingMessage, ...args: unknown[]) => boolean

interface Pooled {
  readonly freeSockets: NodeJS.ReadOnlyDict<Socket[]>
}

// What the two agents share; they have no common class to put it in.
class IdleRules {
  #retired = false
  readonly #idleMs: number

  constructor(idleMs: number) {
    this.#idleMs = idleMs
  }

  /** Before a socket goes to the pool. False: close it instead. */
  keep(stream: Duplex): boolean {
    const socket = stream as Socket & { _httpMessage?: { res?: http.IncomingMessage } }
    if (this.#retired || socket.destroyed || !socket.writable) return false
    const said = socket._httpMessage?.res?.headers['keep-alive']
    const hint = /timeout=(\d+)/.exec(String(said ?? ''))?.[1]
    const hintMs = hint === undefined ? Infinity : Number(hint) * 1000 - 1000
    if (hintMs <= 0) return false
    socket.setKeepAlive(true, 1000)
    socket.setTimeout(Math.min(this.#idleMs, hintMs))
    socket.unref()
    // Bytes on an idle socket answer nobody's request: they must never become the next client's response.
    socket.on('data', destroyIdle)
    return true
  }

  reuse(stream: Duplex): void {
    const socket = stream as Socket
    socket.removeListener('data', destroyIdle)
    socket.setTimeout(0)
  }

  retire(agent: Pooled): void {
    this.#retired = true
    for (const sockets of Object.values(agent.freeSockets)) {
      for (const socket of [...(sockets ?? [])]) socket.destroy()
    }
  }
}

function destroyIdle(this: Socket): void {
  this.destroy()
}

class PooledHttp extends http.Agent {
  readonly #rules: IdleRules

  constructor(options: http.AgentOptions, idleMs: number) {
    super(options)
    this.#rules = new IdleRules(idleMs)
  }

  override keepSocketAlive(socket: Duplex): boolean {
    return this.#rules.keep(socket)
  }

  override reuseSocket(socket: Duplex, request: http.ClientRequest): void {
    this.#rules.reuse(socket)
    super.reuseSocket(socket, request)
  }

  retire(): void {
    this.#rules.retire(this)
  }
}

class PooledHttps extends https.Agent {
  readonly #rules: IdleRules

  constructor(options: https.AgentOptions, idleMs: number) {
    super(options)
    this.#rules = new IdleRules(idleMs)
  }

  override keepSocketAlive(socket: Duplex): boolean {
    return this.#rules.keep(socket)
  }

  override reuseSocket(socket: Duplex, request: http.ClientRequest): void {
    this.#rules.reuse(socket)
    super.reuseSocket(socket, request)
  }

  retire(): void {
    this.#rules.retire(this)
  }
}
