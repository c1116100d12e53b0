/** Which handler a request meets: paths are matched the way Express matches them (any case, one slash may follow). */
import { badRequest } from './errors.ts'
import type { JsonObject } from './input.ts'
import type { Session } from './sessions.ts'

export interface ClinicRequest {
  readonly params: JsonObject
  readonly query: URLSearchParams
  readonly cookies: string
  readonly headers: NodeJS.Dict<string | string[]>
  readonly session: Session | null
  /** Reads the body. Throws `bad_request` when it isn't a JSON object, `too_large` past 1 MB. */
  body(): Promise<JsonObject>
}

export interface Answer {
  readonly status: number
  /** Sent as JSON. */
  readonly json?: unknown
  readonly html?: string
  readonly headers?: Readonly<Record<string, string>>
}

export type Handler = (request: ClinicRequest) => Promise<Answer>
/** Method, pattern (`/api/patients/:id`), handler. */
export type Route = readonly [method: string, pattern: string, handler: Handler]

export interface Found {
  readonly handler: Handler
  readonly params: JsonObject
}

/** Compiles the table once; the result finds the route of a raw (still encoded) path. */
export function compileRoutes(
  routes: readonly Route[],
): (method: string, path: string) => Found | undefined {
  const compiled = routes.map(([method, pattern, handler]) => ({
    method,
    handler,
    names: [...pattern.matchAll(/:(\w+)/g)].map(match => match[1] ?? ''),
    shape: new RegExp(`^${pattern.replaceAll(/:\w+/g, '([^/]+)').replaceAll('.', '\\.')}/?$`, 'i'),
  }))
  return (method, path) => {
    const asked = method === 'HEAD' ? 'GET' : method
    for (const { method, handler, names, shape } of compiled) {
      if (method !== asked) continue
      const match = shape.exec(path)
      if (!match) continue
      const values = match.slice(1).map(decode)
      return { handler, params: Object.fromEntries(names.map((name, i) => [name, values[i]])) }
    }
    return undefined
  }
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    throw badRequest('the path is malformed')
  }
}

export const ok = (json: unknown): Answer => ({ status: 200, json })
export const created = (json: unknown): Answer => ({ status: 201, json })
export const noContent = (): Answer => ({ status: 204 })
