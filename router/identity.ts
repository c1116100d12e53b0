/**
 * Who a request speaks for, told to services in a signed token. The monolith is asked once per session; its answer is
 * remembered for a few seconds, and a service trusts nothing but the façade's signature.
 */
import { SignJWT, calculateJwkThumbprint, exportJWK, generateKeyPair, importJWK } from 'jose'
import type { JWK } from 'jose'
import type { Orders } from '../model/orders.ts'
import type { Clock } from './clock.ts'
import { createLru } from './lru.ts'
import type { RouterLimits } from './limits.ts'
import type { AskWhoami, Claims } from './whoami.ts'

/** The header that carries the token. A client's own is never passed on. */
export const IDENTITY_HEADER = 'x-banyan-identity'
/** Where services find the public key: on the data port. This path is the façade's own, whatever the routes say. */
export const JWKS_PATH = '/.well-known/banyan/jwks.json'
const ISSUER = 'banyan'
const ALGORITHM = 'ES256'

export interface Identity {
  /**
   * A token that says to `audience` (a service's name) whose session this is; null: nobody's. Rejects when the monolith
   * can't be asked.
   */
  token(orders: Orders, session: string | undefined, audience: string): Promise<string | null>
  /** The monolith has just set this session's cookie anew: ask again. */
  forget(session: string): void
  readonly jwks: { readonly keys: readonly JWK[] }
}

/** A new private key (ES256, as JWK). All routers behind one address must be given the same. */
export async function newIdentityKey(): Promise<JWK> {
  const { privateKey } = await generateKeyPair(ALGORITHM, { extractable: true })
  return exportJWK(privateKey)
}

interface Session {
  readonly asked: Promise<Claims | null>
  staleAt: number
  readonly tokens: Map<string, { readonly token: Promise<string>; readonly staleAt: number }>
}

/** `key`: a private ES256 key as JWK. Rejects on anything else. */
export async function createIdentity(deps: {
  readonly key: JWK
  readonly ask: AskWhoami
  readonly clock: Clock
  readonly limits: RouterLimits
}): Promise<Identity> {
  const { ask, clock, limits } = deps
  const { kty, crv, x, y } = deps.key
  const publicKey = { kty, crv, x, y } as JWK
  const kid = await calculateJwkThumbprint(publicKey)
  const privateKey = await importJWK(deps.key, ALGORITHM)
  const sessions = createLru<Session>(limits.sessions)

  const sign = (claims: Claims, audience: string): Promise<string> =>
    new SignJWT({ ...(claims.role === undefined ? {} : { role: claims.role }) })
      .setProtectedHeader({ alg: ALGORITHM, kid, typ: 'JWT' })
      .setIssuer(ISSUER)
      .setAudience(audience)
      .setSubject(claims.sub)
      .setIssuedAt()
      .setExpirationTime(`${Math.floor((2 * limits.identityTokenMs) / 1000)}s`)
      .sign(privateKey)

  const askOnce = (orders: Orders, session: string): Session => {
    const known = sessions.get(session)
    if (known && clock.now() < known.staleAt) return known
    const question = {
      legacy: orders.legacy,
      whoami: orders.identity?.whoami ?? '',
      cookie: orders.identity?.cookie ?? '',
      session,
    }
    const asked = ask(question)
    const fresh: Session = { asked, staleAt: Infinity, tokens: new Map() }
    sessions.set(session, fresh)
    asked.then(
      claims => {
        fresh.staleAt = clock.now() + (claims ? limits.sessionMs : limits.noSessionMs)
      },
      () => {
        fresh.staleAt = -Infinity
      },
    )
    return fresh
  }

  return {
    async token(orders, session, audience) {
      if (!orders.identity || !session) return null
      const entry = askOnce(orders, session)
      const claims = await entry.asked
      if (!claims) return null
      const known = entry.tokens.get(audience)
      if (known && clock.now() < known.staleAt) return known.token
      const token = sign(claims, audience)
      entry.tokens.set(audience, { token, staleAt: clock.now() + limits.identityTokenMs })
      return token
    },
    forget: session => sessions.delete(session),
    jwks: { keys: [{ ...publicKey, kid, alg: ALGORITHM, use: 'sig' }] },
  }
}
