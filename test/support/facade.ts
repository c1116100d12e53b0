/** A façade between raw sockets and origins that a test writes itself: bytes in, bytes out. */
import { EventEmitter, once } from 'node:events'
import http from 'node:http'
import net from 'node:net'
import type { AddressInfo } from 'node:net'
import type { JWK } from 'jose'
import type { Orders } from '../../model/orders.ts'
import type { Clock } from '../../router/clock.ts'
import { newIdentityKey } from '../../router/identity.ts'
import type { RouterLimits } from '../../router/limits.ts'
import { SILENT } from '../../router/log.ts'
import { createRouter } from '../../router/server.ts'
import type { Router } from '../../router/server.ts'
import { memoryControl, memoryFreshness } from './router-control.ts'
import type { MemoryControl, MemoryFreshness } from './router-control.ts'

export interface Teardown {
  teardown(callback: () => unknown): void
}

export interface Facade {
  readonly router: Router
  readonly control: MemoryControl
  readonly freshness: MemoryFreshness
  readonly port: number
  /** Resolves when the router is done: for tests that stop it themselves. */
  stop(): Promise<void>
  /** Pushes orders and waits until they are in force. */
  order(orders: Orders): Promise<void>
}

let sharedKey: Promise<JWK> | undefined

export async function facade(
  t: Teardown,
  orders: Orders | undefined,
  options: { readonly limits?: Partial<RouterLimits>; readonly clock?: Clock } = {},
): Promise<Facade> {
  const control = memoryControl(orders)
  const freshness = memoryFreshness()
  sharedKey ??= newIdentityKey()
  const router = await createRouter({
    control,
    freshness,
    identityKey: await sharedKey,
    log: SILENT,
    listen: { host: '127.0.0.1', port: 0 },
    ...options,
    // With a clock of its own a test moves it.
    limits: { graceMs: 200, ...(!options.clock && { reportMs: 20 }), ...options.limits },
  })
  const stopping = new AbortController()
  const running = router.run(stopping.signal)
  const stop = async (): Promise<void> => {
    stopping.abort()
    await running
  }
  t.teardown(stop)
  if (orders) await control.acked(ack => ack.version === orders.version)
  return {
    router,
    control,
    freshness,
    port: router.address.port,
    stop,
    async order(next) {
      control.push(next)
      await control.acked(ack => ack.version === next.version)
    },
  }
}

export interface Origin {
  readonly url: string
  readonly port: number
  readonly server: http.Server
  /** Requests that arrived, newest last. */
  readonly seen: http.IncomingMessage[]
  /** Resolves when this many requests have arrived. */
  arrived(count: number): Promise<void>
}

/** A real node:http origin. */
export async function origin(t: Teardown, handler: http.RequestListener): Promise<Origin> {
  const events = new EventEmitter()
  const seen: http.IncomingMessage[] = []
  const server = http.createServer({ keepAliveTimeout: 60_000 }, (req, res) => {
    seen.push(req)
    events.emit('request')
    req.on('error', () => {})
    handler(req, res)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    server,
    seen,
    async arrived(count) {
      while (seen.length < count) await once(events, 'request')
    },
  }
}

export interface RawOrigin {
  readonly url: string
  readonly port: number
  readonly sockets: RawSocket[]
  /** Resolves with the n-th connection (from 0). */
  connection(index: number): Promise<RawSocket>
  /** Refuses connections from now on. */
  close(): void
}

/** An origin that speaks whatever bytes the test writes. */
export async function rawOrigin(
  t: Teardown,
  onConnection?: (socket: RawSocket) => unknown,
): Promise<RawOrigin> {
  const events = new EventEmitter()
  const sockets: RawSocket[] = []
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, socket => {
    const raw = new RawSocket(socket)
    sockets.push(raw)
    events.emit('connection')
    void Promise.resolve(onConnection?.(raw)).catch((err: unknown) => {
      if (!(err instanceof Ended)) throw err
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const close = (): void => {
    for (const raw of sockets) raw.socket.destroy()
    server.close()
  }
  t.teardown(close)
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    sockets,
    close,
    async connection(index) {
      while (sockets.length <= index) await once(events, 'connection')
      return sockets[index] as RawSocket
    },
  }
}

/** The connection ended before what was waited for. */
class Ended extends Error {}

/** Bytes as latin1 text, and how the connection ended. */
export class RawSocket {
  readonly socket: net.Socket
  /** All that has been received. */
  text = ''
  /** How the other side ended: a FIN, a reset, or not yet. */
  ended: 'fin' | 'reset' | undefined
  readonly #events = new EventEmitter()

  constructor(socket: net.Socket) {
    this.socket = socket
    socket.on('data', (chunk: Buffer) => {
      this.text += chunk.toString('latin1')
      this.#events.emit('news')
    })
    socket.on('end', () => this.#end('fin'))
    socket.on('error', () => this.#end('reset'))
    socket.on('close', () => this.#end('fin'))
  }

  #end(how: 'fin' | 'reset'): void {
    this.ended ??= how
    this.#events.emit('news')
  }

  write(text: string): void {
    this.socket.write(Buffer.from(text, 'latin1'))
  }

  /** Resolves when something more has been received, or the connection has ended. */
  async news(): Promise<void> {
    if (!this.ended) await once(this.#events, 'news')
  }

  /** Resolves with all text once it contains (or matches) this; rejects if the connection ends before. */
  async until(wanted: string | RegExp): Promise<string> {
    const has = (): boolean =>
      typeof wanted === 'string' ? this.text.includes(wanted) : wanted.test(this.text)
    while (!has()) {
      if (this.ended) throw new Ended(`ended before ${String(wanted)}: ${this.text}`)
      await once(this.#events, 'news')
    }
    return this.text
  }

  /** Resolves with all text and how it ended. */
  async end(): Promise<{ text: string; ended: 'fin' | 'reset' }> {
    while (!this.ended) await once(this.#events, 'news')
    return { text: this.text, ended: this.ended }
  }

  /** Takes what was received so far away, up to and including this text. */
  async take(upTo: string): Promise<string> {
    await this.until(upTo)
    const end = this.text.indexOf(upTo) + upTo.length
    const taken = this.text.slice(0, end)
    this.text = this.text.slice(end)
    return taken
  }
}

/** A client socket to the façade (or straight to an origin). */
export async function dial(t: Teardown, port: number): Promise<RawSocket> {
  const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true })
  t.teardown(() => socket.destroy())
  await once(socket, 'connect')
  return new RawSocket(socket)
}

export interface Reply {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  readonly body: string
}

/** One ordinary request on a connection of its own; rejects when the connection breaks. */
export function ask(
  port: number,
  method: string,
  path: string,
  options: { readonly headers?: http.OutgoingHttpHeaders; readonly body?: string } = {},
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const { headers = {}, body } = options
    const request = http.request({ port, method, path, headers, agent: false }, answer => {
      const chunks: Buffer[] = []
      answer.on('data', (chunk: Buffer) => chunks.push(chunk))
      answer.on('error', reject)
      answer.on('end', () =>
        resolve({
          status: answer.statusCode ?? 0,
          headers: answer.headers,
          body: Buffer.concat(chunks).toString('utf8'),
        }),
      )
    })
    request.on('error', reject)
    request.end(body)
  })
}

/** Writes until somebody makes us wait, 64 MB at the most. Returns how many bytes were taken. */
export async function writeUntilFull({ socket }: RawSocket, chunk: Buffer): Promise<number> {
  let sent = 0
  while (sent <= 64 << 20 && (socket.write(chunk) || socket.writableLength < 1 << 20)) {
    sent += chunk.length
    await new Promise(resolve => setImmediate(resolve))
  }
  return sent
}
