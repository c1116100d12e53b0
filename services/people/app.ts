/** This service over HTTP: identity first, then routes; errors in one shape. */
import Fastify from 'fastify'
import type {
  FastifyInstance,
  FastifyReply,
  FastifyRequest,
  FastifyServerOptions,
  RouteHandlerMethod,
  RouteOptions,
} from 'fastify'
import type { Database } from './database.ts'
import { answerTo, badRequest, notFound } from './errors.ts'
import { IDENTITY_HEADER } from './identity.ts'
import type { VerifyIdentity } from './identity.ts'
import { OPENAPI } from './openapi.ts'
import { patientRoutes } from './patients.ts'
import { practitionerRoutes } from './practitioners.ts'

export interface AppOptions {
  readonly database: Database
  readonly verifyIdentity: VerifyIdentity
  readonly logger?: FastifyServerOptions['logger']
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Answered without an identity: says nothing about anybody. */
    readonly isPublic?: boolean
  }
}

const BODY_MAX_BYTES = 1_048_576
const PUBLIC = { isPublic: true }

export function createApp(options: AppOptions): FastifyInstance {
  const { database, verifyIdentity, logger } = options
  const app = Fastify({
    logger: logger ?? false,
    bodyLimit: BODY_MAX_BYTES,
    forceCloseConnections: 'idle',
    // What has already been sent to us while we stop is answered, not refused.
    return503OnClosing: false,
    // The clients of this API spell its paths in any case, with or without a last slash.
    routerOptions: { caseSensitive: false, ignoreTrailingSlash: true },
    frameworkErrors: (_error, _request, reply) => {
      const { status, body } = badRequest('the path is malformed')
      void (reply as FastifyReply).status(status).send(body)
    },
  })
  acceptAnyContentType(app)
  app.addHook('onRequest', async request => {
    if (request.routeOptions.config.isPublic) return
    await verifyIdentity(request.headers[IDENTITY_HEADER])
  })
  app.setNotFoundHandler(() => {
    throw notFound()
  })
  app.setErrorHandler((error, request, reply) => {
    const { status, body } = answerTo(error)
    if (status === 500) {
      const { code, message } = error as { code?: unknown; message?: unknown }
      request.log.error({ code, reason: message }, 'request failed')
    }
    void reply.status(status).send(body)
  })
  for (const route of serviceRoutes(database)) app.route(route)
  return app
}

/** All that this service answers. */
export function serviceRoutes(database: Database): readonly RouteOptions[] {
  return [
    { method: 'GET', url: '/health', config: PUBLIC, handler: async () => ({ status: 'ok' }) },
    { method: 'GET', url: '/ready', config: PUBLIC, handler: ready(database) },
    { method: 'GET', url: '/openapi.json', config: PUBLIC, handler: async () => OPENAPI },
    ...patientRoutes(database),
    ...practitionerRoutes(database),
  ]
}

function ready(database: Database): RouteHandlerMethod {
  return async (_request, reply) => {
    try {
      await database.rows('select 1')
      return { status: 'ready' }
    } catch {
      return reply.status(503).send({ status: 'unavailable' })
    }
  }
}

/** Whatever a client calls its body, it is JSON or it is refused; an absent one is an empty object. */
function acceptAnyContentType(app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser(
    '*',
    { parseAs: 'string' },
    async (_request: FastifyRequest, text: string) => {
      if (text === '') return {}
      try {
        const value: unknown = JSON.parse(text)
        if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value
      } catch {
        // Said below.
      }
      throw badRequest('the body must be a JSON object')
    },
  )
}
