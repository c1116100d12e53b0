/** What the change path needs from outside: where changes come from, and whom it tells. */
import type { Change, Message, StreamEvent } from '../model/change.ts'
import type { Lsn } from '../model/position.ts'

/** Changes of one database, in commit order. Implemented on a replication slot (postgres/replication.ts). */
export interface ChangeSource extends AsyncDisposable {
  /** Whole transactions in commit order. Throws a coded error when the stream is lost; the caller opens another. */
  events(): AsyncIterable<StreamEvent>
  /** Everything that committed before this position is durable in the target: the source may forget it. Never blocks. */
  acknowledge(position: Lsn): void
}

/** A write on a side that isn't the owner, past the gate: it is listed and never applied. */
export interface RogueWrite {
  readonly table: string
  readonly op: Change['op']
  /** The key's columns and values, as `id=42`. */
  readonly key: string
  readonly position: Lsn
  readonly committedAtMs: number
}

export interface StreamProgress {
  /** Every transaction that committed up to here is durable in the target. */
  readonly position: Lsn
  /** Everything that committed up to here is visible in the target; at least `position`. */
  readonly watermark: Lsn
  /** How old the transaction is that waits longest, or the newest was when it was applied; 0: nothing waits. Milliseconds. */
  readonly lagMs: number
}

/** Which tables were written together, and by whom: the census of one stretch of the stream. */
export interface Census {
  readonly transactions: number
  /** `schema.table` → in how many of them it was written too. */
  readonly tables: ReadonlyMap<string, number>
  readonly writers: readonly CensusWriter[]
}

export interface CensusWriter {
  /** The role that logged in. */
  readonly role: string
  /** What its application_name has in common with its siblings (sync/writer-name.ts); may be empty. */
  readonly application: string
  /** That wrote the slice's tables. */
  readonly transactions: number
}

/** Whom a stream tells what it saw. Every method must be safe to repeat. */
export interface StreamListener {
  progress(progress: StreamProgress): void
  /** Resolves once the writes are listed durably: the stream moves on only then. */
  rogue(writes: readonly RogueWrite[]): Promise<void>
  /** The gate refused a statement. */
  refused(message: Message): Promise<void>
  census(census: Census): void
}
