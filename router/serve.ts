/** One request from its head to its end: its turn, the decision, a hold, the lane, and what is remembered afterwards. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { ROUTER_ERRORS } from '../model/errors-router.ts'
import type { ErrorRule } from '../model/errors.ts'
import type { Side } from '../model/stage.ts'
import { decide, readsCopies } from './decide.ts'
import type { Forward } from './decide.ts'
import { factsOf, legToLegacy, legToService, sessionOf } from './desk.ts'
import type { Desk, Leg, LegRequest } from './desk.ts'
import { framingOf, isRule } from './framing.ts'
import type { Framing } from './framing.ts'
import { keyOf } from './keys.ts'
import type { RequestFacts } from './keys.ts'
import type { Outcome } from './lanes/exact.ts'
import { linger } from './lanes/linger.ts'
import { answerProblem } from './problem.ts'
import type { ShadowCopy } from './shadow.ts'
import type { Table } from './table.ts'
import { markHeaders, newMark } from './wrote.ts'

interface Exchange {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  readonly facts: RequestFacts
  readonly framing: Framing
  /** Body bytes that were read while the request was parked. */
  readonly ahead: Buffer[]
}

/** A decision, the table it was made by (its promise is kept whatever comes), and what to call at the request's end. */
interface Admitted {
  readonly table: Table
  readonly decision: Forward
  /** Of a write that the client's own reads must not overtake at another router. */
  readonly mark: string | null
  readonly onEnded: () => void
}

const RETRY_AFTER_SECONDS = 1

/** Serves one request. Never rejects: what goes wrong is answered, or cuts the connection. */
export async function serve(
  desk: Desk,
  req: IncomingMessage,
  res: ServerResponse,
  target: string,
): Promise<void> {
  try {
    const turn = desk.turns.take(req.socket, res)
    if (turn) await turn
    // Gone, or told that its connection ends: what it sent behind a refused request is nobody's.
    if (res.destroyed || !req.socket.writable) return
    if (desk.closing()) res.shouldKeepAlive = false
    const framing = framingOf(req, desk.limits.headLines)
    if (isRule(framing)) {
      answerProblem(req, res, framing, { close: true })
      return
    }
    const exchange = { req, res, facts: factsOf(req, target), framing, ahead: [] }
    const admitted = await admit(desk, exchange)
    if (admitted) await forward(desk, exchange, admitted)
  } catch (err) {
    desk.log.error({ err }, 'request failed inside the router')
    res.destroy()
  }
}

/** Decides, and decides again after each hold. Undefined: the request has been answered, or its client is gone. */
async function admit(desk: Desk, exchange: Exchange): Promise<Admitted | undefined> {
  const { req, res, facts, ahead } = exchange
  let released: (() => void) | undefined
  for (;;) {
    const table = desk.table()
    if (!table) return refuse(desk, exchange, ROUTER_ERRORS.NO_ORDERS, released)
    const decision = decide(table, facts, desk.tokens.fresh)
    if (decision.kind === 'refuse') {
      return refuse(desk, exchange, ROUTER_ERRORS.PATH_UNCLEAR, released)
    }
    if (!decision.hold || !decision.slice) return begin(desk, facts, table, decision, released)
    released?.()
    released = undefined
    const verdict = await desk.holds.park(decision.slice.name, { req, res, ahead })
    switch (verdict.kind) {
      case 'released':
        released = verdict.done
        break
      case 'pass':
        return begin(desk, facts, table, decision, undefined)
      case 'gone':
        return undefined
      case 'expired':
        return refuse(desk, exchange, ROUTER_ERRORS.HOLD_EXPIRED)
      case 'overflow':
        return refuse(desk, exchange, ROUTER_ERRORS.HOLD_OVERFLOW)
      case 'closing':
        return refuse(desk, exchange, ROUTER_ERRORS.SHUTTING_DOWN)
    }
  }
}

function refuse(
  desk: Desk,
  { req, res }: Exchange,
  rule: ErrorRule,
  released?: () => void,
): undefined {
  released?.()
  const retry = rule.retry ? { retryAfterSeconds: RETRY_AFTER_SECONDS } : {}
  answerProblem(req, res, rule, retry)
  linger(req, desk)
  return undefined
}

// Invariant: no await between the decision and this. A request that was decided before a hold began is counted before
// the hold can ask whether any is under way.
function begin(
  desk: Desk,
  facts: RequestFacts,
  table: Table,
  decision: Forward,
  released: (() => void) | undefined,
): Admitted {
  const ends: (() => void)[] = released ? [released] : []
  const { slice, route, unsafe, side } = decision
  if (unsafe && slice) {
    const pattern = route?.slice(route.indexOf(' ') + 1) ?? ''
    ends.push(desk.drain.begin(slice.name, `${facts.method} ${pattern}`))
  }
  const written = unsafe && side === 'legacy'
  const mark = written && readsCopies(table, facts) ? newMark() : null
  if (written) {
    const keys = table.copied.map(copied => keyOf(copied.by, facts))
    const known = new Set([...keys, mark].filter(key => key !== null))
    if (known.size > 0) ends.push(desk.tokens.wrote([...known]))
  }
  const onEnded = (): void => {
    for (const end of ends.splice(0)) end()
  }
  return { table, decision, mark, onEnded }
}

async function forward(desk: Desk, exchange: Exchange, admitted: Admitted): Promise<void> {
  const { decision, table, onEnded } = admitted
  const { req, facts, framing } = exchange
  const of = { req, table, facts, transferEncoding: framing.transferEncoding }
  let side: Side = decision.side
  let leg: Leg | undefined
  if (side === 'service' && decision.slice) {
    try {
      leg = await legToService(desk, of, decision.slice)
    } catch (err) {
      // Not the service's failure, but its answer would be one. Legacy can answer a safe request without a token.
      desk.log.warn({ err, slice: decision.slice.name }, 'identity unavailable')
      if (!decision.fallback) {
        onEnded()
        refuse(desk, exchange, ROUTER_ERRORS.IDENTITY_UNAVAILABLE)
        return
      }
      side = 'legacy'
    }
  }
  let outcome = await carry(desk, exchange, admitted, side, leg ?? legToLegacy(desk, of))
  count(desk, decision, side, outcome)
  const again = outcome.kind === 'failed' && outcome.untouched && !exchange.res.destroyed
  if (again && side === 'service' && decision.fallback) {
    side = 'legacy'
    outcome = await carry(desk, exchange, admitted, side, legToLegacy(desk, of))
    count(desk, decision, side, outcome)
  }
  if (outcome.kind === 'failed') fail(desk, exchange, decision, side, outcome.rule)
}

async function carry(
  desk: Desk,
  exchange: Exchange,
  { decision, table, mark, onEnded }: Admitted,
  side: Side,
  leg: Leg,
): Promise<Outcome> {
  const { req, facts, framing } = exchange
  const of = { req, table, facts, transferEncoding: framing.transferEncoding }
  let copy: ShadowCopy | undefined
  const outcome = await desk.lane.carry({
    ...exchange,
    target: facts.target,
    headers: leg.headers,
    pool: leg.pool,
    set: mark === null ? [] : markHeaders(mark, desk.limits.markMs),
    unsafe: decision.unsafe,
    onEnded,
    onAnswer(answer) {
      forgetSession(desk, of, answer)
      if (side === 'legacy' && decision.shadow)
        copy = shadowed(desk, exchange, of, decision, answer)
      return copy?.chunk
    },
  })
  copy?.end(outcome.kind === 'answered')
  return outcome
}

/** A login or logout sets the session's cookie: what was known of the old one is worth nothing. */
function forgetSession(desk: Desk, of: LegRequest, answer: IncomingMessage): void {
  const cookie = of.table.orders.identity?.cookie
  const session = sessionOf(of)
  if (cookie === undefined || session === undefined) return
  const sets = answer.headers['set-cookie']?.some(line => line.startsWith(`${cookie}=`))
  if (sets) desk.identity.forget(session)
}

function shadowed(
  desk: Desk,
  { req, framing }: Exchange,
  of: LegRequest,
  { slice, route }: Forward,
  answer: IncomingMessage,
): ShadowCopy | undefined {
  const { method } = of.facts
  const plain = (method === 'GET' || method === 'HEAD') && !framing.bodied
  if (!slice || !plain || req.headers.range !== undefined) return undefined
  const request = {
    slice: slice.name,
    route: route ?? '',
    method,
    target: of.facts.target,
    service: {
      pool: desk.upstreams.pool(slice.upstream, 'shadow'),
      headers: async () => (await legToService(desk, of, slice, 'shadow')).headers,
    },
    legacy: {
      pool: desk.upstreams.pool(of.table.orders.legacy, 'shadow'),
      headers: async () => legToLegacy(desk, of).headers,
    },
  }
  return desk.shadow.copy(request, answer)
}

function count(desk: Desk, { slice }: Forward, side: Side, outcome: Outcome): void {
  if (!slice) return
  desk.counters.served(slice.name, side)
  const failed =
    outcome.kind === 'failed' ||
    outcome.kind === 'cut' ||
    (outcome.kind === 'answered' && outcome.status >= 500)
  if (failed) desk.counters.failed(slice.name, side)
}

function fail(
  desk: Desk,
  { req, res }: Exchange,
  { slice, route, reason }: Forward,
  side: Side,
  rule: ErrorRule,
): void {
  // Where the client's own body is missing, what follows can't be told from it.
  const requestId = answerProblem(req, res, rule, { close: rule === ROUTER_ERRORS.REQUEST_TIMEOUT })
  const fields = { requestId, code: rule.code, side, reason, route, slice: slice?.name }
  desk.log.warn(fields, 'upstream failed')
}
