/** One row change in the Debezium envelope, and the source transaction that it came in. */
import type { Lsn } from './position.ts'

/**
 * A column's value as PostgreSQL prints it (text), or null. Values never pass through Number or Date: what was read is
 * what is written.
 */
export type Value = string | null

/** The stream didn't send this value (unchanged TOAST). A type of its own, so that it can never be written as data. */
export const UNCHANGED: unique symbol = Symbol('unchanged')
export type Unchanged = typeof UNCHANGED

/** Column name → value. Column order is the table's. */
export type Row = ReadonlyMap<string, Value | Unchanged>

export type Op = 'c' | 'u' | 'd' | 't'

export interface Change {
  readonly op: Op
  /** Schema-qualified name in the source database. */
  readonly schema: string
  readonly table: string
  /**
   * The old key (or the whole old row with REPLICA IDENTITY FULL) when the stream sent one: always for `d`, for `u` only
   * if the key changed or the identity is FULL. Otherwise null: the key is in `after`.
   */
  readonly before: Row | null
  /** The new row; null for `d` and `t`. */
  readonly after: Row | null
  /** Names of the columns of the replica identity, in the source. */
  readonly key: readonly string[]
}

/** Where a transaction begins; `position` is the end of its commit record: the position that counts. */
export interface Begin {
  readonly kind: 'begin'
  readonly xid: number
  /** Start of the commit record (pgoutput's final_lsn). Unique per transaction, in order. */
  readonly commitLsn: Lsn
  /** Commit time by the source's clock, milliseconds since the epoch. For display and lag only, never for order. */
  readonly committedAtMs: number
}

export interface Message {
  readonly kind: 'message'
  readonly transactional: boolean
  readonly prefix: string
  readonly content: string
  readonly position: Lsn
}

/**
 * What a change stream delivers: whole transactions in commit order, each as begin, changes, commit, so that a huge one
 * needs no memory. A non-transactional message stands between transactions and survives the abort of its own.
 */
export type StreamEvent =
  | Begin
  | ({ readonly kind: 'change' } & Change)
  | Message
  | { readonly kind: 'commit'; readonly position: Lsn }
  /** All that was committed up to here has been delivered. A watermark; durable nowhere. */
  | { readonly kind: 'idle'; readonly position: Lsn }
