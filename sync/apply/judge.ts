/** What is to be done with one change: pure, from the transaction's mark and who owns the tables. */
import type { Change } from '../../model/change.ts'
import type { Lsn } from '../../model/position.ts'
import { parseStream, type StreamName } from '../../model/stream.ts'

export type Judgement =
  /** Repeat it in the target. */
  | 'apply'
  /** It came from the target, by the twin stream: repeating it would go round for ever. */
  | 'echo'
  /** An application wrote where it doesn't own: list it, never apply it. */
  | 'rogue'

export interface Facts {
  readonly stream: StreamName
  /** The stream that wrote this transaction, if its first change was a progress row. */
  readonly mark: StreamName | undefined
  readonly commitLsn: Lsn
  /** From `ownsAfter`; null: the source isn't the owner. Streams of read copies own nothing and apply all: LSN_ZERO. */
  readonly ownsAfter: Lsn | null
}

export function judge(facts: Facts): Judgement {
  const { stream, mark } = facts
  if (mark && mark.from === stream.to && mark.to === stream.from && mark.what === stream.what) {
    return 'echo'
  }
  return facts.ownsAfter !== null && facts.commitLsn > facts.ownsAfter ? 'apply' : 'rogue'
}

/** The mark of a transaction that begins with this change. */
export function markOf(first: Change): StreamName | undefined {
  if (first.schema !== 'banyan' || first.table !== 'progress') return undefined
  const name = first.after?.get('stream')
  return typeof name === 'string' ? parseStream(name) : undefined
}

/** The epoch of a fence of `slice`, if the change is one. */
export function fenceOf(change: Change, slice: string): number | undefined {
  if (change.schema !== 'banyan' || change.table !== 'fence' || change.op !== 'c') return undefined
  if (change.after?.get('slice') !== slice) return undefined
  return Number(change.after.get('epoch'))
}
