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

/** One whole source transaction. */
export interface Transaction {
  /** End of the commit record: the position that counts. */
  readonly position: Lsn
  readonly xid: number
  /** Commit time by the source's clock, milliseconds since the epoch. For display and lag only, never for order. */
  readonly committedAtMs: number
  readonly changes: readonly Change[]
  /** Transactional logical messages (prefix `banyan.`), in order. */
  readonly messages: readonly Message[]
}

export interface Message {
  readonly prefix: string
  readonly content: string
  readonly position: Lsn
}

/** What a change stream delivers, in commit order. */
export type StreamEvent =
  | { readonly kind: 'transaction'; readonly transaction: Transaction }
  /** A non-transactional logical message: it survives the abort of its transaction (refused writes). */
  | { readonly kind: 'message'; readonly message: Message }
  /** Nothing was committed on published tables up to here. Safe as a watermark, durable nowhere. */
  | { readonly kind: 'idle'; readonly position: Lsn }

/** The Debezium envelope of a change, as consumers outside Banyan know it. */
export interface Envelope {
  readonly before: Record<string, string | null> | null
  readonly after: Record<string, string | null> | null
  readonly op: Op
  readonly source: {
    readonly lsn: string
    readonly txId: number
    readonly schema: string
    readonly table: string
  }
  readonly ts_ms: number
}
