/**
 * How a request's end is counted: is it a failure, in which of the five rows, and what may the
 * client believe of a write?
 */
import type { FailureRow, Told } from '../ledger/record.ts'
import type { End } from './http-client.ts'
import type { Slice } from './pause-window.ts'

/** Which part of the platform a route belongs to; `other` routes never leave the monolith. */
export type Area = Slice | 'practitioners' | 'other'

/**
 * The row, or undefined where it was no failure. A failing answer on a slice's route that Banyan
 * didn't sign counts as met at the gate: the client can't see the database, and "0 failed" must not
 * profit from that.
 */
export function failureRow(area: Area, end: End): FailureRow | undefined {
  if (end.kind === 'refused') return 'banyan'
  if (end.kind !== 'answer') return 'unknown'
  if (end.status < 500 && end.status !== 429) return undefined
  if (end.reason !== undefined) return 'banyan'
  return area === 'other' ? 'gateOther' : 'gateSlice'
}

/** A few words that say more than the row: `503 hold-expired`, `reset ECONNRESET`. */
export function failureDetail(end: End): string {
  if (end.kind !== 'answer') return `${end.kind} ${end.code}`
  return end.reason === undefined ? String(end.status) : `${end.status} ${end.reason}`
}

/**
 * What an unsafe request's end says about its effect. An intermediary's 502 or 504 says that
 * somebody lost sight of it, so nothing; a connection that was never made says that nothing was
 * asked.
 */
export function toldBy(end: End): Told {
  if (end.kind === 'refused') return 'no'
  if (end.kind !== 'answer' || end.status === 502 || end.status === 504) return 'unknown'
  return end.status >= 200 && end.status < 300 ? 'ok' : 'no'
}
