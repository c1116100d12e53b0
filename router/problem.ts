/** Answers that the façade gives itself: problem+json (RFC 9457) and `x-banyan: <reason>`, without a host, path or stack. */
import { randomUUID } from 'node:crypto'
import { STATUS_CODES } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { BanyanError } from '../model/errors.ts'
import type { ErrorRule } from '../model/errors.ts'

export interface Problem {
  readonly status: number
  readonly headers: readonly string[]
  readonly body: string
  /** Also in the body and in the log, so that a client's report can be found. */
  readonly requestId: string
}

/** The reason that a client sees in `x-banyan`: the code in lower case with dashes. */
export function reasonOf(rule: ErrorRule): string {
  return rule.code.toLowerCase().replaceAll('_', '-')
}

export function problemOf(rule: ErrorRule, retryAfterSeconds?: number): Problem {
  const requestId = randomUUID()
  const body = JSON.stringify({
    type: 'about:blank',
    title: new BanyanError(rule).message,
    status: rule.status,
    code: rule.code,
    requestId,
  })
  const retry = retryAfterSeconds === undefined ? [] : ['Retry-After', String(retryAfterSeconds)]
  const headers = [
    ...['Content-Type', 'application/problem+json'],
    ...['Content-Length', String(Buffer.byteLength(body))],
    ...['Cache-Control', 'no-store'],
    ...['X-Banyan', reasonOf(rule)],
    ...retry,
  ]
  return { status: rule.status, headers, body, requestId }
}

/**
 * Answers with a problem, unless a response is under way already. `close`: nothing after this request can be trusted
 * (its framing can't). Returns the request's id, or null where nothing was sent.
 */
export function answerProblem(
  req: IncomingMessage,
  res: ServerResponse,
  rule: ErrorRule,
  options: { readonly retryAfterSeconds?: number; readonly close?: boolean } = {},
): string | null {
  if (res.headersSent || res.destroyed) return null
  const problem = problemOf(rule, options.retryAfterSeconds)
  if (options.close) res.shouldKeepAlive = false
  res.writeHead(problem.status, [...problem.headers])
  res.end(req.method === 'HEAD' ? undefined : problem.body)
  return problem.requestId
}

/** The same for a socket that carries no parsed request (a broken head): one answer, then the end. */
export function problemBytes(rule: ErrorRule): string {
  const problem = problemOf(rule)
  const lines = [`HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}`, 'Connection: close']
  for (let i = 0; i < problem.headers.length; i += 2) {
    lines.push(`${problem.headers[i]}: ${problem.headers[i + 1]}`)
  }
  return `${lines.join('\r\n')}\r\n\r\n${problem.body}`
}
