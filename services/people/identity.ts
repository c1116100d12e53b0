/** Who is asking: a short-lived signed token from the edge, checked against the keys that it publishes. */
import { createRemoteJWKSet, errors, jwtVerify } from 'jose'
import { unauthenticated, unavailable } from './errors.ts'

/** Throws `unauthenticated`, or `unavailable` when the keys can't be had. */
export type VerifyIdentity = (token: unknown) => Promise<void>

export const IDENTITY_HEADER = 'x-banyan-identity'
const ISSUER = 'banyan'
const MAX_LIFETIME_SECONDS = 60
const CLOCK_TOLERANCE_SECONDS = 5
/** After an unknown key id the keys are asked for again, but at most so often. */
const REFETCH_COOLDOWN_MS = 1_000
const FETCH_TIMEOUT_MS = 2_000

export function createVerifyIdentity(options: {
  jwksUrl: string
  audience: string
}): VerifyIdentity {
  const keys = createRemoteJWKSet(new URL(options.jwksUrl), {
    cooldownDuration: REFETCH_COOLDOWN_MS,
    timeoutDuration: FETCH_TIMEOUT_MS,
  })
  return async token => {
    if (typeof token !== 'string') throw unauthenticated()
    try {
      const { payload } = await jwtVerify(token, keys, {
        issuer: ISSUER,
        audience: options.audience,
        algorithms: ['EdDSA', 'ES256'],
        requiredClaims: ['sub', 'role', 'exp'],
        clockTolerance: CLOCK_TOLERANCE_SECONDS,
      })
      // A token that lives longer than it should is one that was made for something else.
      const secondsLeft = Number(payload.exp) - Date.now() / 1000
      if (secondsLeft > MAX_LIFETIME_SECONDS + CLOCK_TOLERANCE_SECONDS) throw unauthenticated()
    } catch (error) {
      throw isFailureToFetch(error) ? unavailable() : unauthenticated()
    }
  }
}

/** The token may be good; nobody can say while its keys are out of reach. */
function isFailureToFetch(error: unknown): boolean {
  if (error instanceof errors.JWKSTimeout) return true
  if (error instanceof errors.JOSEError) return error.code === 'ERR_JOSE_GENERIC'
  return error instanceof TypeError && error.message === 'fetch failed'
}
