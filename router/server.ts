/** The façade, put together: Fastify hosts it, @fastify/http-proxy mounts the data path, and our lanes move the bytes. */
import http from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import proxy from '@fastify/http-proxy'
import { fastify } from 'fastify'
import type { FastifyInstance } from 'fastify'
import type { JWK } from 'jose'
import { ROUTER_ERRORS } from '../model/errors-router.ts'
import type { Freshness, Orders, RouterAck, RouterControl } from '../model/orders.ts'
import { sleep, systemClock } from './clock.ts'
import type { Clock } from './clock.ts'
import { createCounters } from './counters.ts'
import type { Desk } from './desk.ts'
import { createDrain } from './drain.ts'
import { createTokens } from './freshness.ts'
import { createHolds } from './hold.ts'
import { JWKS_PATH, createIdentity } from './identity.ts'
import { createExactLane } from './lanes/exact.ts'
import { DEFAULT_LIMITS } from './limits.ts'
import type { RouterLimits } from './limits.ts'
import type { Log } from './log.ts'
import { problemBytes } from './problem.ts'
import { serve } from './serve.ts'
import { createShadow } from './shadow.ts'
import { createSteering } from './steering.ts'
import type { Steering } from './steering.ts'
import { compileTable } from './table.ts'
import type { Table } from './table.ts'
import { createTurns } from './turns.ts'
import { createTunnels } from './upgrade.ts'
import type { Tunnels } from './upgrade.ts'
import { createUpstreams } from './upstreams.ts'
import { createWhoami, parseWhoami } from './whoami.ts'

export interface RouterOptions {
  readonly control: RouterControl
  /** In force before the port opens; taken from `control` again, and acknowledged, once it runs. */
  readonly first?: Orders | undefined
  readonly freshness: Freshness
  /** A private ES256 key (newIdentityKey); all routers behind one address share it. */
  readonly identityKey: JWK
  readonly log: Log
  /** Port 0: any free one. */
  readonly listen: { readonly host: string; readonly port: number }
  readonly limits?: Partial<RouterLimits>
  readonly clock?: Clock
}

export interface Router extends AsyncDisposable {
  /** Where it listens, from the start. Until orders are in force every request is answered 503 `no-orders`. */
  readonly address: { readonly host: string; readonly port: number; readonly url: string }
  /**
   * Takes orders, acknowledges and reports until the signal aborts; then takes no new connections, lets what is under
   * way end (limits.graceMs) and resolves. To be called once.
   */
  run(signal: AbortSignal): Promise<void>
}

/** Opens the data port. Rejects where the port can't be had, the key isn't one, or `first` can't be obeyed. */
export async function createRouter(options: RouterOptions): Promise<Router> {
  const limits = { ...DEFAULT_LIMITS, ...options.limits }
  const clock = options.clock ?? systemClock()
  const state: State = { table: undefined, closing: false }
  const stopping = new AbortController()
  const { desk, steering } = await assemble(options, limits, clock, state, stopping.signal)
  if (options.first) swap(desk, state, options.first)
  const host = await openHost(desk, options.listen)

  const shut = async (): Promise<void> => {
    state.closing = true
    desk.holds.close()
    stopping.abort()
    const over = new AbortController()
    const grace = sleep(clock, limits.graceMs, over.signal).then(() => {
      host.tunnels.close()
      host.app.server.closeAllConnections()
    })
    // Node closes what is idle now; what becomes idle later is ours to close.
    const idle = setInterval(() => {
      host.app.server.closeIdleConnections()
      host.closeSilent()
    }, CLOSE_IDLE_EVERY_MS)
    await host.app.close()
    clearInterval(idle)
    over.abort()
    await grace
    await desk.upstreams[Symbol.asyncDispose]()
    await desk.shadow.idle()
  }
  let shutting: Promise<void> | undefined
  const close = (): Promise<void> => (shutting ??= shut())

  return {
    address: host.address,
    async run(signal) {
      const running = AbortSignal.any([signal, stopping.signal])
      await steering.run(running)
      await close()
    },
    [Symbol.asyncDispose]: close,
  }
}

const CLOSE_IDLE_EVERY_MS = 50

interface State {
  table: Table | undefined
  closing: boolean
}

async function assemble(
  options: RouterOptions,
  limits: RouterLimits,
  clock: Clock,
  state: State,
  signal: AbortSignal,
): Promise<{ desk: Desk; steering: Steering }> {
  const { control, freshness, log } = options
  const upstreams = createUpstreams(limits)
  const counters = createCounters()
  const tokens = createTokens(freshness, limits.tokens)
  const drain = createDrain(slice => {
    if (state.table?.slices.get(slice)?.order.hold) steering.ack()
  })
  const holds = createHolds({
    clock,
    log,
    releaseConcurrency: limits.releaseConcurrency,
    controlLost: () => steering.lost(),
  })
  const desk: Desk = {
    table: () => state.table,
    closing: () => state.closing,
    upstreams,
    lane: createExactLane({ limits, clock }),
    holds,
    drain,
    tokens,
    identity: await createIdentity({
      key: options.identityKey,
      ask: createWhoami({ upstreams, limits, clock }),
      clock,
      limits,
    }),
    shadow: createShadow({
      ...{ limits, clock, freshness, tokens, signal },
      sample: slice => state.table?.slices.get(slice)?.order.sample ?? 0,
      onVerdict: (slice, verdict) => counters.shadowed(slice, verdict),
    }),
    counters,
    turns: createTurns(limits.pipelined),
    limits,
    clock,
    log,
  }
  const steering = createSteering({
    ...{ control, clock, log, lostMs: limits.controlLostMs, reportMs: limits.reportMs },
    accept(orders) {
      swap(desk, state, orders)
      steering.ack()
    },
    ackOf: () => state.table && ackOf(desk, state.table),
    reports: () =>
      [...(state.table?.slices.keys() ?? [])].map(s => counters.report(s, holds.counts(s))),
  })
  return { desk, steering }
}

/** From here on every request is decided by these orders. Throws, and changes nothing, where they can't be obeyed. */
function swap(desk: Desk, state: State, orders: Orders): void {
  const table = compileTable(orders)
  const all = [orders.legacy, ...Object.values(orders.services)]
  for (const upstream of all) desk.upstreams.pool(upstream)
  if (orders.identity) parseWhoami(orders.identity.whoami)
  const before = state.table?.slices
  for (const { name, stage } of orders.slices) {
    if (stage === 'shadow' && before?.get(name)?.order.stage !== 'shadow') {
      desk.counters.shadowBegins(name)
    }
  }
  const from = state.table?.version
  // Whom it lets in may have written before, through other routers: unmarked, since nobody sent them to a copy.
  if (state.table && table.readers !== state.table.readers) desk.tokens.everybody()
  state.table = table
  const holds = new Map<string, NonNullable<Orders['slices'][number]['hold']>>()
  for (const slice of orders.slices) if (slice.hold) holds.set(slice.name, slice.hold)
  desk.holds.apply(holds)
  desk.upstreams.retain(all)
  desk.log.info({ from, to: table.version }, 'orders in force')
}

function ackOf({ drain }: Desk, table: Table): RouterAck {
  const held = table.orders.slices.filter(slice => slice.hold !== null)
  const waiting = held.filter(slice => drain.underWay(slice.name) > 0)
  return {
    version: table.version,
    drained: held
      .filter(slice => drain.underWay(slice.name) === 0)
      .map(slice => ({ slice: slice.name, epoch: slice.hold?.epoch ?? 0 })),
    waiting: waiting.map(({ name }) => ({
      slice: name,
      count: drain.underWay(name),
      oldest: drain.oldest(name) ?? '',
    })),
  }
}

interface Host {
  readonly app: FastifyInstance
  readonly tunnels: Tunnels
  readonly address: Router['address']
  /** Closes the connections that have sent nothing yet: for Node they aren't idle, they are late with their first head. */
  closeSilent(): void
}

/**
 * Fastify sees one route, `/`, for every method: paths are matched by our table, and only on a copy. Bodies are nobody's
 * to parse, so every method counts as one without a body there.
 */
async function openHost(desk: Desk, listen: RouterOptions['listen']): Promise<Host> {
  const { limits } = desk
  const app = fastify({
    logger: false,
    exposeHeadRoutes: false,
    return503OnClosing: false,
    forceCloseConnections: 'idle',
    rewriteUrl: req => (isJwks(req) ? JWKS_PATH : '/'),
    clientErrorHandler: (error, socket) => answerClientError(desk, error, socket),
    serverFactory: handler => createServer(handler, limits),
  })
  const methods = http.METHODS.filter(method => method !== 'CONNECT')
  for (const method of methods) {
    app.addHttpMethod(method, { hasBody: false, overrideExisting: true })
  }
  app.get(JWKS_PATH, (_request, reply) =>
    reply.header('cache-control', 'public, max-age=60').send(desk.identity.jwks),
  )
  await app.register(proxy, {
    // Never used: `handler` replaces the plugin's transport, which would change what it carries.
    upstream: 'http://upstream.invalid',
    proxyPayloads: false,
    routes: ['/'],
    httpMethods: methods,
    handler(request, reply) {
      reply.hijack()
      void serve(desk, request.raw, reply.raw, request.originalUrl)
    },
  })
  const sockets = new Set<Socket>()
  app.server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  const tunnels = createTunnels(desk, app.server)
  app.server.on('upgrade', (req: http.IncomingMessage, socket: Socket, head: Buffer) =>
    tunnels.accept(req, socket, head),
  )
  await app.listen({ host: listen.host, port: listen.port })
  const { address, port } = app.server.address() as AddressInfo
  const url = `http://${address.includes(':') ? `[${address}]` : address}:${port}`
  return {
    app,
    tunnels,
    address: { host: address, port, url },
    closeSilent() {
      for (const socket of sockets) if (socket.bytesRead === 0) socket.destroy()
    },
  }
}

function isJwks(req: { readonly method?: string | undefined; readonly url?: string | undefined }) {
  return req.method === 'GET' && req.url === JWKS_PATH
}

function createServer(
  handler: (req: http.IncomingMessage, res: http.ServerResponse) => void,
  limits: RouterLimits,
): http.Server {
  const server = http.createServer({
    maxHeaderSize: limits.headBytes,
    headersTimeout: limits.headMs,
    // A body may take as long as it flows: the lane watches for silence.
    requestTimeout: 0,
    keepAliveTimeout: limits.clientIdleMs,
    connectionsCheckingInterval: 1_000,
    noDelay: true,
    // Checked with everything else, so that nothing behind such a request is served.
    requireHostHeader: false,
  })
  server.maxHeadersCount = 0
  server.on('request', handler)
  // Whether the client may go on, or what it expects, is the upstream's to say.
  server.on('checkContinue', handler)
  server.on('checkExpectation', handler)
  return server
}

// What can't be parsed is the end of its connection. It is answered where no other request is waiting for its answer: a
// client must not take this 400 for that one's.
function answerClientError(desk: Desk, error: NodeJS.ErrnoException, socket: Socket): void {
  const current = desk.turns.current(socket)
  // RFC 9112 §9.6: what a client sends behind its last request is nobody's. That request is answered, and then it ends.
  if (error.code === 'HPE_CLOSED_CONNECTION' && current !== undefined) return
  const another = current !== undefined && (current.headersSent || current.req.complete)
  if (socket.destroyed || !socket.writable || another) {
    socket.destroy()
    return
  }
  const rule =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? ROUTER_ERRORS.HEAD_TOO_LARGE
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? ROUTER_ERRORS.REQUEST_TIMEOUT
        : ROUTER_ERRORS.REQUEST_MALFORMED
  socket.end(problemBytes(rule), () => socket.destroy())
}
