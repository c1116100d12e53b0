/** Asks the monolith whose session a cookie is. */
import type { Upstream } from '../model/orders.ts'
import { BanyanError } from '../model/errors.ts'
import { ROUTER_ERRORS } from '../model/errors-router.ts'
import type { Clock } from './clock.ts'
import type { RouterLimits } from './limits.ts'
import type { Upstreams } from './upstreams.ts'

export interface Claims {
  readonly sub: string
  readonly role?: string
}

export interface Question {
  readonly legacy: Upstream
  /** `GET /internal/whoami` */
  readonly whoami: string
  readonly cookie: string
  readonly session: string
}

/** The session's claims, or null: the monolith knows no such session. Rejects where it gave no answer to rely on. */
export type AskWhoami = (question: Question) => Promise<Claims | null>

/** Parses `GET /internal/whoami`. Throws BanyanError WHOAMI_INVALID. */
export function parseWhoami(text: string): { readonly method: string; readonly target: string } {
  const match = /^(GET|POST) (\/\S*)$/.exec(text)
  if (!match?.[1] || !match[2]) throw new BanyanError(ROUTER_ERRORS.WHOAMI_INVALID, [text])
  return { method: match[1], target: match[2] }
}

export function createWhoami(deps: {
  readonly upstreams: Upstreams
  readonly limits: RouterLimits
  readonly clock: Clock
}): AskWhoami {
  const { upstreams, limits, clock } = deps
  return async question => {
    const pool = upstreams.pool(question.legacy)
    const headers = [
      ...['Host', pool.authority, 'Accept', 'application/json'],
      ...['Cookie', `${question.cookie}=${question.session}`],
    ]
    const request = pool.open({ ...parseWhoami(question.whoami), headers }, false)
    const stop = clock.timer(limits.whoamiMs, () => request.destroy(new Error('whoami timed out')))
    try {
      const { status, body } = await new Promise<{ status: number; body: string }>(
        (resolve, reject) => {
          request.once('error', reject)
          request.once('response', answer => {
            const chunks: Buffer[] = []
            let bytes = 0
            answer.on('data', (chunk: Buffer) => {
              chunks.push(chunk)
              bytes += chunk.length
              if (bytes > limits.whoamiBytes) request.destroy(new Error('whoami said too much'))
            })
            answer.once('error', reject)
            answer.once('end', () =>
              resolve({
                status: answer.statusCode ?? 0,
                body: Buffer.concat(chunks).toString('utf8'),
              }),
            )
          })
          request.end()
        },
      )
      return claimsOf(status, body)
    } finally {
      stop()
    }
  }
}

function claimsOf(status: number, body: string): Claims | null {
  if (status === 401 || status === 403 || status === 404) return null
  if (status !== 200) throw new BanyanError(ROUTER_ERRORS.IDENTITY_UNAVAILABLE)
  const said = parsed(body) as { sub?: unknown; role?: unknown } | null
  // A numeric id is an id all the same; anything else isn't an identity.
  const sub = typeof said?.sub === 'number' ? String(said.sub) : said?.sub
  if (typeof sub !== 'string' || sub === '') {
    throw new BanyanError(ROUTER_ERRORS.IDENTITY_UNAVAILABLE)
  }
  return typeof said?.role === 'string' ? { sub, role: said.role } : { sub }
}

/** Node's own error would quote the body. */
function parsed(body: string): unknown {
  try {
    return JSON.parse(body)
  } catch {
    throw new BanyanError(ROUTER_ERRORS.IDENTITY_UNAVAILABLE)
  }
}
