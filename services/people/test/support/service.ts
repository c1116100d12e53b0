/** The whole service in one process: its database migrated, its edge up, its app ready for requests. */
import type { FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import { createApp } from '../../app.ts'
import { openDatabase } from '../../database.ts'
import type { Database } from '../../database.ts'
import { createVerifyIdentity } from '../../identity.ts'
import { migrate } from '../../migrate.ts'
import { startEdge } from './identity.ts'
import type { Edge } from './identity.ts'
import { startPostgres } from './postgres.ts'

/** Whatever JSON says: a test looks into it without asking. */
export type Json = ReturnType<typeof JSON.parse>

export interface Answer {
  readonly status: number
  readonly body: Json
  readonly text: string
}

export interface Service {
  readonly app: FastifyInstance
  readonly database: Database
  readonly edge: Edge
  readonly ask: (
    method: 'GET' | 'POST' | 'PATCH' | 'DELETE',
    url: string,
    body?: object,
  ) => Promise<Answer>
}

export const OP = '11111111-2222-4333-8444-555555555555'

/** With two practitioners, as the personnel office would bring them. */
export async function startService(t: Test): Promise<Service> {
  const [url, edge] = await Promise.all([startPostgres(t), startEdge(t, 'people')])
  await migrate(url)
  const database = openDatabase(url, 'people')
  t.teardown(() => database.close())
  await database.rows(
    `insert into practitioner values (1, 'P1', 'Dr. Eva Lima', 'Cardiology'), (2, 'P2', null, null)`,
  )
  const app = createApp({
    database,
    verifyIdentity: createVerifyIdentity({ jwksUrl: edge.jwksUrl, audience: 'people' }),
  })
  t.teardown(() => app.close())
  return {
    app,
    database,
    edge,
    async ask(method, url, body) {
      const headers = { 'x-banyan-identity': await edge.token() }
      const response = await app.inject({
        method,
        url,
        headers,
        ...(body ? { payload: body } : {}),
      })
      const text = response.body
      return { status: response.statusCode, text, body: text === '' ? undefined : JSON.parse(text) }
    },
  }
}
