/** What a worker needs to keep outside the slice's databases. Implemented on the control database (control/sync-store.ts). */
import type { Message } from '../model/change.ts'
import type { Side, Stage } from '../model/stage.ts'
import type { Closed } from '../postgres/abandon.ts'
import type { Census, RogueWrite, StreamProgress } from './ports.ts'
import type { TableResult } from './verify/full.ts'
import type { Cascade } from './apply/table.ts'

export interface StreamProblem {
  readonly code: string
  readonly message: string
  readonly hint: string
}

export interface SyncStore {
  stages(): Promise<ReadonlyMap<string, Stage>>
  /** True while this worker is the stream's only one. Standbys ask again. */
  claim(stream: string): Promise<boolean>
  /** True where a worker that stood still was ended a moment ago: what it had open is in the way of its successors. */
  predecessorSilent(): Promise<boolean>
  state(
    stream: string,
    slice: string | null,
    state: 'copying' | 'streaming' | 'failed',
    detail?: { copied?: number; total?: number; problem?: StreamProblem },
  ): Promise<void>
  progress(stream: string, slice: string | null, progress: StreamProgress): void
  /** True once the first copy of the slice is complete. */
  streaming(stream: string): Promise<boolean>
  /** Streams that are known here; those that aren't wanted any more are to be taken down. */
  known(): Promise<readonly string[]>
  forget(stream: string): Promise<void>
  rogue(slice: string, side: Side, writes: readonly RogueWrite[]): Promise<void>
  refused(side: Side, message: Message): Promise<void>
  census(slice: string, census: Census): void
  /** Verifications of the slice that were asked for and haven't ended. */
  verifications(slice: string): Promise<readonly number[]>
  verified(
    id: number,
    result: { tables: readonly TableResult[]; ms: number } | { error: StreamProblem },
  ): Promise<void>
  /** Past verifications of the slice no longer vouch: not every key that was changed since is known. */
  outdate(slice: string, why: string): Promise<void>
  /** The service's database was closed at a contact: legacy is the owner of record, and it had been left behind. */
  returned(slice: string, closed: Closed): Promise<void>
  /** The service was copied anew after legacy took the tables without it. */
  copied(slice: string): Promise<void>
  /** What a deleted parent of these tables takes along in the target. */
  cascades(database: string, tables: readonly string[]): Promise<ReadonlyMap<string, Cascade[]>>
}
