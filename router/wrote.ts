/**
 * The mark that a client carries from the router that took its write to all the others: a cookie between client and façade
 * alone. It names the write and says nothing else: whoever meets one that it doesn't know takes a position of its own,
 * which is later than the write. One that is made up costs its own client nothing but reads from the owner.
 */
import { randomBytes } from 'node:crypto'
import type { RawHeaders } from './headers.ts'
import type { RequestFacts } from './keys.ts'
import { cookieOf } from './keys.ts'

const NAME = 'banyan-wrote'
const MARK = /^[0-9a-f]{16}$/
const PAIR = new RegExp(`(^|;)[ \\t]*${NAME}[ \\t]*=[^;]*`, 'g')

export function newMark(): string {
  return randomBytes(8).toString('hex')
}

/** The mark of this client's last write; null: none that it knows of, or none of ours. */
export function markOf(facts: RequestFacts): string | null {
  const value = cookieOf(facts.header('cookie'), NAME)
  return value !== undefined && MARK.test(value) ? value : null
}

/** For the answer to the write. `keepMs`: how long the client carries it. */
export function markHeaders(mark: string, keepMs: number): RawHeaders {
  const seconds = Math.ceil(keepMs / 1000)
  return ['Set-Cookie', `${NAME}=${mark}; Path=/; Max-Age=${seconds}; HttpOnly; SameSite=Lax`]
}

/** A Cookie header as an upstream gets it; undefined: nothing is left of it. Without a mark not a byte is changed. */
export function withoutMark(cookies: string): string | undefined {
  if (!cookies.includes(NAME)) return cookies
  const kept = cookies.replace(PAIR, '').replace(/^;[ \t]*/, '')
  return kept === '' ? undefined : kept
}
