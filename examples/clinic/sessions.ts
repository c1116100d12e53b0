/** Who is asking: a cookie that names a row of `sessions`. The clinic's network is trusted, so a name is enough. */
import { randomBytes } from 'node:crypto'
import type { Database } from './database.ts'
import { unauthenticated } from './errors.ts'
import { required, text } from './input.ts'
import { ok } from './routes.ts'
import type { Route } from './routes.ts'

export interface Session {
  readonly username: string
  readonly role: string
}

const COOKIE = 'clinic_sid'

export function sessionRoutes(database: Database): readonly Route[] {
  return [
    [
      'POST',
      '/api/login',
      async request => {
        const username = required(await request.body(), 'username', text(100))
        const role = roleOf(username)
        const sid = randomBytes(24).toString('hex')
        await database.rows('insert into sessions (sid, username, role) values ($1, $2, $3)', [
          sid,
          username,
          role,
        ])
        return {
          ...ok({ username, role }),
          headers: { 'set-cookie': `${COOKIE}=${sid}; Path=/; HttpOnly` },
        }
      },
    ],
    [
      'GET',
      '/internal/whoami',
      async ({ session }) => {
        if (!session) throw unauthenticated()
        return ok({ sub: session.username, role: session.role })
      },
    ],
  ]
}

/** The session that a Cookie header names, or null. */
export async function findSession(database: Database, cookies: string): Promise<Session | null> {
  const sid = /(?:^|;)\s*clinic_sid=([0-9a-f]{1,64})\s*(?:;|$)/.exec(cookies)?.[1]
  if (sid === undefined) return null
  const row = await database.row('select username, role from sessions where sid = $1', [sid])
  return row ? { username: String(row.username), role: String(row.role) } : null
}

function roleOf(username: string): string {
  if (/^admin/i.test(username)) return 'admin'
  return /^dr\b/i.test(username) ? 'clinician' : 'staff'
}
