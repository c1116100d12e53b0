/** Notes of appointments: short ones, long ones, and the hash by which they are recognised. */
import { createHash } from 'node:crypto'
import type { Random } from './random.ts'

/** One in twenty is long and hard to compress, so that PostgreSQL stores it out of line (TOAST). */
export function notesOf(random: Random): string {
  if (random.next() >= 0.05) return `note ${random.below(1_000_000)}`
  return Array.from({ length: 900 }, () => random.next().toString(36).slice(2)).join(' ')
}

export function md5(text: string): string {
  return createHash('md5').update(text).digest('hex')
}
