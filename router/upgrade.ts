/**
 * Upgrades (WebSocket and the like): a tunnel of bytes, never terminated, that starts only after the upstream's 101. Until
 * then nothing that the client sends behind its request reaches an upstream.
 */
import { ServerResponse } from 'node:http'
import type { ClientRequest, IncomingMessage, Server } from 'node:http'
import type { Socket } from 'node:net'
import { ROUTER_ERRORS } from '../model/errors-router.ts'
import type { ErrorRule } from '../model/errors.ts'
import { decide, isUnsafe } from './decide.ts'
import type { Forward } from './decide.ts'
import { factsOf, legToLegacy, legToService } from './desk.ts'
import type { Desk, Leg, LegRequest } from './desk.ts'
import { framingOf, isRule } from './framing.ts'
import { ruleOf } from './lanes/failures.ts'
import { cut, relayEnd, relayHead } from './lanes/relay.ts'
import { problemBytes } from './problem.ts'

export interface Tunnels {
  /** For the server's `upgrade` event. */
  accept(req: IncomingMessage, socket: Socket, head: Buffer): void
  /** Closes every tunnel. */
  close(): void
}

export function createTunnels(desk: Desk, server: Server): Tunnels {
  const open = new Set<Socket>()
  return {
    accept(req, socket, head) {
      socket.on('error', () => socket.destroy())
      // A request before this one is still being answered on this socket, which Node has already let go of.
      if (desk.turns.current(socket)) {
        socket.destroy()
        return
      }
      if (!isTunnel(req)) {
        serveWithoutUpgrade(server, req, socket, head)
        return
      }
      open.add(socket)
      socket.once('close', () => open.delete(socket))
      tunnel(desk, req, socket, head).catch((err: unknown) => {
        desk.log.error({ err }, 'upgrade failed inside the router')
        socket.destroy()
      })
    },
    close() {
      for (const socket of open) socket.destroy()
    },
  }
}

/**
 * Only a GET without a body asks for a tunnel here. `h2c` is an offer that a proxy doesn't take (RFC 9113 removed it), and
 * everything else has no meaning together with an upgrade that we know of.
 */
function isTunnel(req: IncomingMessage): boolean {
  const plain =
    req.headers['content-length'] !== undefined || req.headers['transfer-encoding'] !== undefined
  const facts = factsOf(req, req.url ?? '')
  return req.method === 'GET' && !plain && !isUnsafe(facts) && !/\bh2c\b/i.test(upgradeOf(req))
}

function upgradeOf(req: IncomingMessage): string {
  return req.headers.upgrade ?? ''
}

/** Hands the socket back to the server with the same request, minus its wish. RFC 9110 §7.8: a server may ignore it. */
function serveWithoutUpgrade(
  server: Server,
  req: IncomingMessage,
  socket: Socket,
  head: Buffer,
): void {
  let text = `${req.method} ${req.url} HTTP/${req.httpVersion}\r\n`
  for (let i = 0; i < req.rawHeaders.length; i += 2) {
    const name = req.rawHeaders[i] ?? ''
    const lower = name.toLowerCase()
    if (lower === 'upgrade' || lower === 'http2-settings') continue
    const value = req.rawHeaders[i + 1] ?? ''
    const kept =
      lower === 'connection' ? value.replace(/\b(?:upgrade|http2-settings)\b/gi, '') : value
    text += `${name}: ${kept}\r\n`
  }
  socket.unshift(Buffer.concat([Buffer.from(`${text}\r\n`, 'latin1'), head]))
  server.emit('connection', socket)
}

async function tunnel(
  desk: Desk,
  req: IncomingMessage,
  socket: Socket,
  head: Buffer,
): Promise<void> {
  const refuse = (rule: ErrorRule): void => {
    socket.resume()
    socket.end(problemBytes(rule))
  }
  const framing = framingOf(req, desk.limits.headLines)
  if (isRule(framing)) return refuse(framing)
  if (desk.closing()) return refuse(ROUTER_ERRORS.SHUTTING_DOWN)
  const table = desk.table()
  if (!table) return refuse(ROUTER_ERRORS.NO_ORDERS)
  const facts = factsOf(req, req.url ?? '')
  const decision = decide(table, facts, desk.tokens.fresh)
  if (decision.kind === 'refuse') return refuse(ROUTER_ERRORS.PATH_UNCLEAR)

  const of = { req, table, facts, transferEncoding: undefined, upgrade: upgradeOf(req) }
  const leg = await firstLeg(desk, of, decision)
  if (!leg) return refuse(ROUTER_ERRORS.IDENTITY_UNAVAILABLE)
  if (socket.destroyed) return
  let failure = await connect(desk, { req, socket, head }, leg)
  if (decision.slice) desk.counters.served(decision.slice.name, decision.side)
  if (failure && decision.side === 'service' && decision.fallback && !socket.destroyed) {
    if (decision.slice) desk.counters.failed(decision.slice.name, 'service')
    failure = await connect(desk, { req, socket, head }, legToLegacy(desk, of))
  }
  if (!failure) return
  desk.log.warn({ code: failure.code, route: decision.route }, 'upgrade failed')
  refuse(failure)
}

async function firstLeg(desk: Desk, of: LegRequest, decision: Forward): Promise<Leg | undefined> {
  if (decision.side === 'legacy' || !decision.slice) return legToLegacy(desk, of)
  try {
    return await legToService(desk, of, decision.slice)
  } catch {
    return decision.fallback ? legToLegacy(desk, of) : undefined
  }
}

interface Client {
  readonly req: IncomingMessage
  readonly socket: Socket
  /** What the client sent behind its request already. */
  readonly head: Buffer
}

/** Resolves once the client has its answer (undefined), or with the rule where no answer came. */
function connect(desk: Desk, client: Client, leg: Leg): Promise<ErrorRule | undefined> {
  const { req, socket } = client
  const { limits, clock } = desk
  let request: ClientRequest
  try {
    request = leg.pool.open({ method: 'GET', target: req.url ?? '/', headers: leg.headers }, true)
  } catch {
    return Promise.resolve(ROUTER_ERRORS.REQUEST_MALFORMED)
  }
  return new Promise(resolve => {
    const expire = (rule: ErrorRule) => (): void => {
      resolve(rule)
      request.destroy()
    }
    let stop = clock.timer(limits.connectMs, expire(ROUTER_ERRORS.UPSTREAM_CONNECT_TIMEOUT))
    request.once('socket', upstream => {
      upstream.once('encrypted' in upstream ? 'secureConnect' : 'connect', () => {
        stop()
        stop = clock.timer(limits.answerMs, expire(ROUTER_ERRORS.UPSTREAM_TIMEOUT))
      })
    })
    const leave = (): void => void request.destroy()
    socket.once('close', leave)
    const answered = (): void => {
      stop()
      socket.removeListener('close', leave)
      resolve(undefined)
    }
    request.once('upgrade', (answer, upstream, rest) => {
      answered()
      join(client, answer, upstream, rest, limits.lingerMs)
    })
    request.once('response', answer => {
      answered()
      relayRefusal(client, request, answer, limits.lingerMs)
    })
    request.on('error', error => {
      stop()
      resolve(ruleOf(error))
    })
    request.once('close', () => stop())
    request.end()
  })
}

function join(
  client: Client,
  answer: IncomingMessage,
  upstream: Socket,
  rest: Buffer,
  lingerMs: number,
): void {
  const { socket, head } = client
  let text = `HTTP/1.1 ${answer.statusCode} ${answer.statusMessage}\r\n`
  for (let i = 0; i < answer.rawHeaders.length; i += 2) {
    text += `${answer.rawHeaders[i]}: ${answer.rawHeaders[i + 1]}\r\n`
  }
  socket.write(`${text}\r\n`, 'latin1')
  if (rest.length > 0) socket.write(rest)
  if (head.length > 0) upstream.write(head)
  for (const [from, to] of [
    [socket, upstream],
    [upstream, socket],
  ] as const) {
    from.setTimeout(0)
    from.setNoDelay(true)
    from.setKeepAlive(true, 30_000)
    // An end is passed on as an end, and a reset as a reset: a WebSocket's 1006 must stay one.
    from.on('error', () => to.resetAndDestroy())
    from.once('close', () => {
      // What is on its way may still arrive, but not for ever.
      to.setTimeout(lingerMs, () => to.destroy())
      to.destroySoon()
    })
    from.pipe(to)
  }
}

/** Any answer but 101: it is the client's, and the connection ends with it. What the client sent behind is forgotten. */
function relayRefusal(
  { req, socket }: Client,
  request: ClientRequest,
  answer: IncomingMessage,
  lingerMs: number,
): void {
  const res = new ServerResponse(req)
  res.assignSocket(socket)
  res.shouldKeepAlive = false
  socket.resume()
  try {
    const ending = relayHead(req, res, answer, [])
    const breakOff = (): void => cut(res, ending, lingerMs)
    answer.on('error', breakOff)
    request.on('error', breakOff)
    res.once('close', () => request.destroy())
    answer.on('data', (chunk: Buffer) => {
      if (!res.write(chunk)) answer.pause()
    })
    socket.on('drain', () => {
      res.emit('drain')
      answer.resume()
    })
    answer.once('end', () => {
      if (!answer.complete) return breakOff()
      res.once('finish', () => socket.end())
      relayEnd(res, answer)
    })
  } catch {
    request.destroy()
    socket.end(problemBytes(ROUTER_ERRORS.UPSTREAM_GARBAGE))
  }
}
