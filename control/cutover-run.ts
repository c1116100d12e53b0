/** What one attempt to move the ownership of a slice knows and may use; steps read it, the runner makes it. */
import type pg from 'pg'
import type { System } from '../model/position.ts'
import type { Side, Stage } from '../model/stage.ts'
import type { Settlement } from '../postgres/settle.ts'
import type { Ear, Store } from './store/store.ts'

export interface CutoverBudget {
  readonly holdMs: number
  readonly drainMs: number
  readonly quietMs: number
}

/** Gives routers their orders; implemented by control/publisher.ts. */
export interface OrdersPort {
  /** Publishes a table in which the slice is on hold; returns its version. */
  hold(slice: string, epoch: number, holdMs: number): Promise<number>
  /** Publishes the table of the facts as they are now, without any hold; returns its version. */
  release(slice: string): Promise<number>
  /** Stores the new stage and publishes its table in one transaction; returns its version. */
  move(slice: string, to: Stage, percent: number, epoch: number): Promise<number>
}

export interface CutoverRun {
  readonly slice: string
  readonly epoch: number
  readonly from: Side
  readonly to: Stage
  readonly percent: number
  readonly budget: CutoverBudget
  /** The apply role's sessions. */
  readonly legacy: pg.Client
  readonly service: pg.Client
  readonly applyRoles: { readonly legacy: string; readonly service: string }
  /** The stream that must reach the fence. */
  readonly stream: string
  readonly systems: { readonly legacy: System; readonly service: System }
  readonly settlement: Settlement
  readonly store: Store
  readonly ear: Ear
  readonly orders: OrdersPort
  /** Monotonic milliseconds. */
  readonly now: () => number
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>
  readonly signal: AbortSignal
  /** Set where legacy takes the tables without what the stream hasn't brought: who says so, and why. */
  readonly said: Readonly<Record<string, unknown>> | undefined
  /** Written by `hold`: when the pause began, and the table that every router must acknowledge. */
  startedAt: number
  version: number
}

/** Where a slice stands whose owner is about to change: one step leads across. */
export function standsAt({ from }: Pick<CutoverRun, 'from'>): Stage {
  return from === 'legacy' ? 'canary' : 'moved'
}

/** What became of the epoch isn't known here: whoever settles reads it in the databases. */
export class Unsettled extends Error {}

/** The session in which the old owner closes, and the one in which the new owner opens. */
export function oldOwner(run: CutoverRun): pg.Client {
  return run.from === 'legacy' ? run.legacy : run.service
}

export function newOwner(run: CutoverRun): pg.Client {
  return run.from === 'legacy' ? run.service : run.legacy
}

/** What is left of the pause. Milliseconds. */
export function leftMs(run: CutoverRun): number {
  return run.startedAt + run.budget.holdMs - run.now()
}
