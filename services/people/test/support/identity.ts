/** An edge of the test's own: publishes its keys, and signs what a test asks for. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { SignJWT, exportJWK, generateKeyPair } from 'jose'
import type { JWTPayload } from 'jose'
import type { Test } from 'tap'

export interface Edge {
  readonly jwksUrl: string
  /** A valid token, but for the claims that are given. `exp` and `iat` are seconds since the epoch. */
  token(claims?: JWTPayload): Promise<string>
  /** Signed by a key that was never published. */
  forgedToken(): Promise<string>
}

export async function startEdge(t: Test, audience: string): Promise<Edge> {
  const keys = await generateKeyPair('EdDSA')
  const strangers = await generateKeyPair('EdDSA')
  const jwks = { keys: [{ ...(await exportJWK(keys.publicKey)), kid: 'one', alg: 'EdDSA' }] }
  const server = createServer((_request, response) => {
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify(jwks))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())

  const sign = (key: typeof keys.privateKey, claims: JWTPayload) => {
    const now = Math.floor(Date.now() / 1000)
    const payload = { iss: 'banyan', aud: audience, sub: 'ana', role: 'staff', exp: now + 60 }
    return new SignJWT({ ...payload, ...claims })
      .setProtectedHeader({ alg: 'EdDSA', kid: 'one' })
      .sign(key)
  }
  return {
    jwksUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks.json`,
    token: (claims = {}) => sign(keys.privateKey, claims),
    forgedToken: () => sign(strangers.privateKey, {}),
  }
}
