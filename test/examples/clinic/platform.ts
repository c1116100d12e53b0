/** The example platform in one process: real sockets, real databases, and a session to ask with. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { SignJWT, exportJWK, generateKeyPair } from 'jose'
import { openDatabase } from '../../../examples/clinic/database.ts'
import type { Database } from '../../../examples/clinic/database.ts'
import { migrate } from '../../../examples/clinic/migrate.ts'
import { createClinic } from '../../../examples/clinic/server.ts'
import { testCluster } from '../../support/cluster.ts'
import type { TestCluster } from '../../support/cluster.ts'

interface Teardown {
  teardown(action: () => Promise<void>): void
}

/** Whatever JSON says: a test looks into it without asking. */
export type Json = ReturnType<typeof JSON.parse>

export interface Answer {
  readonly status: number
  readonly type: string | null
  readonly text: string
  readonly body: Json
}

export type Method = 'GET' | 'HEAD' | 'POST' | 'PATCH' | 'DELETE'
export type Ask = (method: Method, path: string, body?: object) => Promise<Answer>

export interface Monolith {
  readonly url: string
  readonly databaseUrl: string
  readonly database: Database
  /** As somebody who is signed in. */
  readonly ask: Ask
  readonly cookie: string
}

export const OP = '11111111-2222-4333-8444-555555555555'
export const AT = '2026-03-02T09:00:00.000Z'

/** The monolith on a database of its own, owned by the role `clinic`; migrated, empty. */
export async function startMonolith(
  t: Teardown,
  options: { cluster?: TestCluster; internalKey?: string } = {},
): Promise<Monolith> {
  const cluster = options.cluster ?? (await testCluster(t))
  await cluster.createRole('clinic')
  await cluster.createDatabase('clinic', { owner: 'clinic' })
  const databaseUrl = cluster.url('clinic', 'clinic')
  await migrate(databaseUrl)
  const database = openDatabase(databaseUrl)
  const clinic = createClinic({ database, internalKey: options.internalKey })
  t.teardown(async () => {
    clinic.server.closeAllConnections()
    await clinic.close()
    await database.close()
  })
  const url = await listen(clinic.server)
  const cookie = await signIn(url, 'dr house')
  return { url, databaseUrl, database, cookie, ask: asker(url, async () => ({ cookie })) }
}

export async function signIn(url: string, username: string): Promise<string> {
  const body = JSON.stringify({ username })
  const response = await fetch(`${url}/api/login`, { method: 'POST', body })
  await response.arrayBuffer()
  return response.headers.getSetCookie()[0]?.split(';')[0] ?? ''
}

export function asker(url: string, headers: () => Promise<Record<string, string>>): Ask {
  return async (method, path, body) => {
    const response = await fetch(url + path, {
      method,
      headers: await headers(),
      redirect: 'manual',
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    const type = response.headers.get('content-type')
    const isJson = text !== '' && (type ?? '').startsWith('application/json')
    return { status: response.status, type, text, body: isJson ? JSON.parse(text) : undefined }
  }
}

export interface Edge {
  readonly jwksUrl: string
  token(audience: string): Promise<string>
}

/** Signs identities as the façade does. */
export async function startEdge(t: Teardown): Promise<Edge> {
  const { privateKey, publicKey } = await generateKeyPair('ES256')
  const jwks = JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid: '1' }] })
  const server = createServer((_request, response) => {
    response.setHeader('content-type', 'application/json').end(jwks)
  })
  t.teardown(async () => {
    server.close()
  })
  return {
    jwksUrl: await listen(server),
    token: audience =>
      new SignJWT({ role: 'clinician' })
        .setProtectedHeader({ alg: 'ES256', kid: '1' })
        .setIssuer('banyan')
        .setAudience(audience)
        .setSubject('dr house')
        .setExpirationTime('60s')
        .sign(privateKey),
  }
}

async function listen(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}
