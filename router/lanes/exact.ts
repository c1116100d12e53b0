/**
 * The exact lane: one request to one upstream and its answer back, byte for byte save the documented edits. It carries
 * all of HTTP/1.1: bodies in both directions, Expect, 1xx, trailers, aborts.
 */
import type { ClientRequest, IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { ROUTER_ERRORS } from '../../model/errors-router.ts'
import type { ErrorRule } from '../../model/errors.ts'
import type { Clock } from '../clock.ts'
import type { Framing } from '../framing.ts'
import type { RawHeaders } from '../headers.ts'
import type { RouterLimits } from '../limits.ts'
import type { UpstreamPool } from '../upstreams.ts'
import { ruleOf } from './failures.ts'
import { linger } from './linger.ts'
import { cut, relayEnd, relayHead, relayInterim } from './relay.ts'
import type { Ending } from './relay.ts'
import { createUpload } from './upload.ts'
import type { Upload } from './upload.ts'

export interface Carriage {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  /** The request target as it came. */
  readonly target: string
  readonly headers: RawHeaders
  readonly framing: Framing
  /** Body bytes that were read while the request was parked. */
  readonly ahead: readonly Buffer[]
  readonly unsafe: boolean
  readonly pool: UpstreamPool
  /** What the façade adds to the answer's head. */
  readonly set: RawHeaders
  /** Sees the answer's head before the client does; may return a listener for the body. Must not throw or wait. */
  readonly onAnswer: (answer: IncomingMessage) => ((chunk: Buffer) => void) | undefined
  /**
   * Called once, when the upstream is through with it: its answer is complete, or its socket is closed. A client that
   * left is no such end.
   */
  readonly onEnded: () => void
}

export type Outcome =
  /** The whole answer was handed to the client's socket. */
  | { readonly kind: 'answered'; readonly status: number }
  /** The answer began and broke off; so did the client's. */
  | { readonly kind: 'cut'; readonly status: number }
  /** The client left first. */
  | { readonly kind: 'gone' }
  /** No head came; nothing was sent to the client. `untouched`: the request can be sent again in full. */
  | { readonly kind: 'failed'; readonly rule: ErrorRule; readonly untouched: boolean }

export interface ExactLane {
  carry(carriage: Carriage): Promise<Outcome>
}

export function createExactLane(deps: {
  readonly limits: RouterLimits
  readonly clock: Clock
}): ExactLane {
  return {
    async carry(carriage) {
      if (!carriage.pool.hasRoom()) {
        carriage.onEnded()
        return { kind: 'failed', rule: ROUTER_ERRORS.UPSTREAM_BUSY, untouched: true }
      }
      // A safe request without a body that met a pooled socket at the moment the origin closed it, is sent once more,
      // on a socket of its own. Nothing else is ever sent twice.
      const again = !carriage.unsafe && !carriage.framing.bodied
      const first = await attempt(carriage, deps, false, again)
      const outcome = first === 'stale' ? await attempt(carriage, deps, true, false) : first
      return outcome === 'stale' ? failed(ROUTER_ERRORS.UPSTREAM_RESET, true) : outcome
    },
  }
}

function failed(rule: ErrorRule, untouched: boolean): Outcome {
  return { kind: 'failed', rule, untouched }
}

interface Deps {
  readonly limits: RouterLimits
  readonly clock: Clock
}

function attempt(
  c: Carriage,
  deps: Deps,
  alone: boolean,
  mayRepeat: boolean,
): Promise<Outcome | 'stale'> {
  if (c.res.destroyed) {
    c.onEnded()
    return Promise.resolve({ kind: 'gone' })
  }
  let request: ClientRequest
  try {
    request = c.pool.open(
      { method: c.req.method ?? 'GET', target: c.target, headers: c.headers },
      alone,
    )
  } catch {
    // Bytes that this version of Node reads but won't write.
    c.onEnded()
    return Promise.resolve(failed(ROUTER_ERRORS.REQUEST_MALFORMED, false))
  }
  return new Promise(resolve => {
    const passage = new Passage(c, deps, request, mayRepeat, resolve)
    passage.start()
  })
}

/** One request on its way. Its stages: connecting, waiting for the head, relaying, over. */
class Passage {
  readonly #c: Carriage
  readonly #deps: Deps
  readonly #request: ClientRequest
  readonly #upload: Upload
  readonly #mayRepeat: boolean
  readonly #resolve: (outcome: Outcome | 'stale') => void
  #settled = false
  #stale = false
  #clientGone = false
  #continued = false
  #answer: IncomingMessage | undefined
  #ending: Ending = 'none'
  #stopConnectTimer: () => void = () => {}
  #timedOut: ErrorRule | undefined

  constructor(
    c: Carriage,
    deps: Deps,
    request: ClientRequest,
    mayRepeat: boolean,
    resolve: (outcome: Outcome | 'stale') => void,
  ) {
    this.#c = c
    this.#deps = deps
    this.#request = request
    this.#upload = createUpload({ ...c, request })
    this.#mayRepeat = mayRepeat
    this.#resolve = resolve
  }

  start(): void {
    const { limits, clock } = this.#deps
    const { req, res } = this.#c
    const request = this.#request
    this.#stopConnectTimer = clock.timer(limits.connectMs, () => {
      this.#timedOut = ROUTER_ERRORS.UPSTREAM_CONNECT_TIMEOUT
      request.destroy()
    })
    request.once('socket', socket => this.#onSocket(socket))
    request.on('information', interim => {
      if (interim.statusCode === 100) this.#continued = true
      if (!this.#clientGone) relayInterim(req, res, interim)
    })
    request.once('response', answer => this.#onAnswer(answer))
    request.on('error', error => this.#onError(error))
    request.once('close', () => this.#onClose())
    res.once('close', this.#onClientClose)
    this.#upload.start()
  }

  #settle(outcome: Outcome | 'stale'): void {
    if (this.#settled) return
    this.#settled = true
    this.#resolve(outcome)
  }

  // ── towards the upstream ──

  #onSocket(socket: Socket): void {
    const { limits } = this.#deps
    const connected = (): void => {
      this.#stopConnectTimer()
      socket.setTimeout(limits.answerMs)
      socket.on('timeout', this.#onIdle)
    }
    const secure = 'encrypted' in socket && socket.encrypted === true
    if (socket.connecting) socket.once(secure ? 'secureConnect' : 'connect', connected)
    else connected()
    this.#request.once('close', () => socket.removeListener('timeout', this.#onIdle))
  }

  readonly #onIdle = (): void => {
    // Before the head: whoever we were waiting for. After it the stream is cut.
    const waitingForClient = !this.#request.writableEnded
    this.#timedOut = waitingForClient
      ? ROUTER_ERRORS.REQUEST_TIMEOUT
      : ROUTER_ERRORS.UPSTREAM_TIMEOUT
    this.#request.destroy()
  }

  // ── towards the client ──

  #onAnswer(answer: IncomingMessage): void {
    const { req, res } = this.#c
    this.#answer = answer
    this.#request.socket?.setTimeout(this.#deps.limits.streamIdleMs)
    answer.on('error', () => this.#breakOff())
    if (this.#clientGone) {
      answer.resume()
      return
    }
    const watch = this.#c.onAnswer(answer)
    try {
      this.#ending = relayHead(req, res, answer, this.#c.set)
    } catch {
      this.#settle(failed(ROUTER_ERRORS.UPSTREAM_GARBAGE, false))
      this.#request.destroy()
      return
    }
    answer.on('data', (chunk: Buffer) => {
      watch?.(chunk)
      if (!this.#clientGone && !res.write(chunk)) answer.pause()
    })
    res.on('drain', () => answer.resume())
    answer.once('end', () => this.#onAnswerEnd(answer))
    // The head goes out even if the body takes its time. Not by flushHeaders(): it writes bytes above 0x7f as UTF-8.
    process.nextTick(() => {
      if (!res.destroyed && !res.writableEnded) res.write('', 'latin1')
    })
  }

  #onAnswerEnd(answer: IncomingMessage): void {
    if (!answer.complete) {
      this.#breakOff()
      return
    }
    if (this.#settled) return
    const { res, framing } = this.#c
    if (!this.#clientGone) relayEnd(res, answer)
    this.#settle({ kind: 'answered', status: answer.statusCode ?? 0 })
    // Without its 100 the client never sends the body, so the request will never be complete: this socket is spent.
    const open = !this.#request.writableEnded
    if (framing.expects && !this.#continued && open) this.#request.destroy()
  }

  #breakOff(): void {
    // A complete answer may still be waiting for a slow client; its end will come.
    if (this.#answer === undefined || this.#answer.complete || this.#settled) return
    const { res } = this.#c
    const status = this.#answer.statusCode ?? 0
    this.#settle({ kind: 'cut', status })
    cut(res, this.#ending, this.#deps.limits.lingerMs)
  }

  // ── ends ──

  #onError(error: NodeJS.ErrnoException): void {
    if (this.#answer !== undefined) {
      this.#breakOff()
      return
    }
    if (this.#settled || this.#clientGone) return
    const reset = error.code === 'ECONNRESET' || error.code === 'EPIPE'
    if (this.#mayRepeat && reset && this.#request.reusedSocket && this.#timedOut === undefined) {
      this.#stale = true
      return
    }
    const untouched = !this.#c.framing.bodied
    this.#settle(failed(this.#timedOut ?? ruleOf(error), untouched))
  }

  #onClose(): void {
    this.#stopConnectTimer()
    this.#upload.stop()
    // A complete answer that a slow client still reads is over when it has, or leaves.
    const reading = this.#answer?.complete === true && !this.#settled
    if (!reading) this.#c.res.removeListener('close', this.#onClientClose)
    if (this.#stale && !this.#clientGone) {
      this.#settle('stale')
      return
    }
    linger(this.#c.req, this.#deps)
    if (this.#answer === undefined && !this.#clientGone) {
      this.#settle(failed(this.#timedOut ?? ROUTER_ERRORS.UPSTREAM_RESET, !this.#c.framing.bodied))
    }
    this.#breakOff()
    this.#c.onEnded()
  }

  // The client closed its side, or the response is written: only the former is news.
  readonly #onClientClose = (): void => {
    const { res, unsafe } = this.#c
    if (res.writableFinished || this.#clientGone) return
    this.#clientGone = true
    this.#upload.stop()
    this.#settle({ kind: 'gone' })
    const socket = this.#request.socket
    // A safe request is over. For an unsafe one the origin is told by a FIN, and we go on listening: until it answers
    // or closes, it may still be writing, and a drain must wait for it.
    if (!unsafe || !socket || socket.connecting || socket.destroyed) {
      this.#request.destroy()
      return
    }
    socket.end()
    this.#answer?.resume()
  }
}
