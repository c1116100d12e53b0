/** The clinic over HTTP: finds the route, knows who is asking, sends the answer. */
import { createServer } from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { appointmentRoutes } from './appointments.ts'
import type { Database } from './database.ts'
import { HttpError, answerTo, badRequest, notFound, tooLarge, unauthenticated } from './errors.ts'
import type { JsonObject } from './input.ts'
import { openLiveBoard } from './live.ts'
import { pageRoutes } from './pages.ts'
import { patientRoutes } from './patients.ts'
import { practitionerRoutes } from './practitioners.ts'
import { recordRoutes } from './records.ts'
import type { RecordOptions } from './records.ts'
import { compileRoutes, ok } from './routes.ts'
import type { Answer, Found, Route } from './routes.ts'
import { findSession, sessionRoutes } from './sessions.ts'
import { slotRoutes } from './slots.ts'
import { refuseUpgrade } from './websocket.ts'

export interface Clinic {
  readonly server: Server
  /** Stops accepting, lets what is under way end, closes the live board. The database stays open. */
  close(): Promise<void>
}

const BODY_MAX_BYTES = 1_048_576

export function createClinic(options: RecordOptions): Clinic {
  const { database } = options
  const find = compileRoutes([
    ...healthRoutes(database),
    ...sessionRoutes(database),
    ...practitionerRoutes(database),
    ...patientRoutes(database),
    ...appointmentRoutes(database),
    ...slotRoutes(database),
    ...recordRoutes(options),
    ...pageRoutes(database),
  ])
  const board = openLiveBoard(database)
  const server = createServer((request, response) => {
    answerRequest(database, find, request)
      .catch(failed)
      .then(answer => send(request, response, answer))
      .catch((error: Error) => response.destroy(error))
  })
  server.on('upgrade', (request, socket, early) => {
    if (/^\/live\/?$/i.test(splitUrl(request).path)) board.join(request, socket, early)
    else refuseUpgrade(socket, '404 Not Found')
  })
  return {
    server,
    close: () =>
      new Promise(resolve => {
        board.close()
        server.close(() => resolve())
      }),
  }
}

function healthRoutes(database: Database): readonly Route[] {
  return [
    ['GET', '/health', async () => ok({ status: 'ok' })],
    [
      'GET',
      '/ready',
      async () => {
        try {
          await database.rows('select 1')
          return ok({ status: 'ready' })
        } catch {
          return { status: 503, json: { status: 'unavailable' } }
        }
      },
    ],
  ]
}

type Find = (method: string, path: string) => Found | undefined

async function answerRequest(
  database: Database,
  find: Find,
  request: IncomingMessage,
): Promise<Answer> {
  const { path, query } = splitUrl(request)
  const cookies = request.headers.cookie ?? ''
  // Whoever asks how the process is must be answered without the database.
  const isProbe = /^\/(health|ready)\/?$/i.test(path)
  const session = isProbe ? null : await findSession(database, cookies)
  if (!session && /^\/api(\/|$)/i.test(path) && !/^\/api\/login\/?$/i.test(path)) {
    throw unauthenticated()
  }
  const found = find(request.method ?? '', path)
  if (!found) throw notFound()
  return found.handler({
    params: found.params,
    query,
    cookies,
    headers: request.headers,
    session,
    body: () => readBody(request),
  })
}

function splitUrl(request: IncomingMessage): { path: string; query: URLSearchParams } {
  const [path = '', ...query] = (request.url ?? '').split('?')
  return { path, query: new URLSearchParams(query.join('?')) }
}

async function readBody(request: IncomingMessage): Promise<JsonObject> {
  const chunks: Buffer[] = []
  let bytes = 0
  // Leaving the loop early must not destroy the socket: the refusal still has to be sent.
  const body = request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>
  for await (const chunk of body) {
    bytes += chunk.length
    if (bytes > BODY_MAX_BYTES) throw tooLarge()
    chunks.push(chunk)
  }
  return bytes === 0 ? {} : parseObject(Buffer.concat(chunks).toString())
}

function parseObject(text: string): JsonObject {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      return value as JsonObject
  } catch {
    // Said below.
  }
  throw badRequest('the body must be a JSON object')
}

function failed(error: unknown): Answer {
  const { status, body } = answerTo(error)
  if (status === 500 && !(error instanceof HttpError)) {
    const { code, message } = error as { code?: unknown; message?: unknown }
    console.error(JSON.stringify({ error: 'internal', code, message }))
  }
  return { status, json: body }
}

function send(request: IncomingMessage, response: ServerResponse, answer: Answer): void {
  const { status, json, html, headers = {} } = answer
  const body = html ?? (json === undefined ? undefined : JSON.stringify(json))
  const type = html === undefined ? 'application/json' : 'text/html'
  // A body that was refused unread would be taken for the next request.
  if (!request.complete && status === 413) response.setHeader('connection', 'close')
  if (body === undefined) {
    response.writeHead(status, headers).end()
    return
  }
  response
    .writeHead(status, {
      'content-type': `${type}; charset=utf-8`,
      'content-length': Buffer.byteLength(body),
      ...headers,
    })
    .end(body)
}
