/** A state of the protocol as bytes: both databases, the logs that connect them, and who reads the logs. */
import assert from 'node:assert/strict'
import type { Bounds, Sabotage } from './sabotage.ts'

export type State = Uint8Array
export type Side = 0 | 1
export const LEGACY = 0
export const SERVICE = 1
export const SIDES: readonly Side[] = [LEGACY, SERVICE]
/** A set of epochs is a byte. */
export const EPOCHS: readonly number[] = [1, 2, 3, 4, 5, 6, 7]
export const other = (side: Side): Side => (side === LEGACY ? SERVICE : LEGACY)

/** What the moves of a state are told, and where they leave the states that follow. */
export interface Walk {
  readonly bounds: Bounds
  readonly sabotage: Sabotage | undefined
  /** The state after the move, when `emit` is called; the next move overwrites it. */
  readonly next: State
  /** `name` with % for the number of the epoch or entry. `settles`: needs no flip, no controller, no applier (L4). */
  readonly emit: (name: string, side: Side, number: number, settles: boolean) => void
}

/** A move begins as a copy of the state that it starts from. */
export function from(walk: Walk, state: State): State {
  walk.next.set(state)
  return walk.next
}

// Two bytes each, one per side: state[WORD + side].
/** The gate word, 2·epoch + (1 if open). */
export const WORD = 0
/** The value of the word that a crash can't take away. */
export const FLUSHED = 2
/** Epoch of the fence whose transaction is open; it holds the exclusive lock. */
export const TAKING = 4
/** Application transactions that have passed the gate and hold the shared lock. */
export const WRITERS = 6
// Sets of epochs: committed evidence rows.
export const FENCED = 8
export const REACHED = 10
export const PREPARED = 12
/** A record only; filled where a sabotage takes it for evidence. */
export const RAISED = 14
/** Progress of the stream *out of* this side: entries of its log applied in the other database. */
export const APPLIED = 16
/** Entries in this side's log. */
export const LENGTH = 18
/** How often each write is in this database: two bits a write. */
export const ROWS = 20
/** A bare setval that has read the word and not yet written (sabotage). */
export const SETTING = 22

// One byte each.
/** Sets of epochs: the decisions in legacy, and those of which the service has a copy. */
export const PROMOTED = 24
export const ABORTED = 25
export const COPIED = 26
/** Epoch of a PROMOTED whose transaction is open. */
export const DECIDING = 27
// What is used of the bounds.
export const WRITTEN = 28
export const CRASHED = 29
export const TAKEN_OVER = 30
export const ROGUES = 31
/** Epochs in which legacy took the tables without the service: committed in legacy, with their PROMOTED. */
export const ABANDONED = 32
/** The service's database: HERE, GONE, or BACK and not closed yet, after legacy took the tables without it. */
export const SERVICE_IS = 33
export const HERE = 0
export const GONE = 1
export const BACK = 2
/** Where in the service's log the writes begin that legacy never had. */
export const LOST_FROM = 34
/** The service was copied anew since. */
export const RECOPIED = 35
/** Workers of the stream out of a side: the holder of the token and the zombie, each [position in memory, hand]. */
const WORKERS = 36
export const POSITION = 0
export const HAND = 1
export const worker = (from: Side, zombie: 0 | 1): number => WORKERS + from * 4 + zombie * 2
export const NOBODY = 255
/** What a worker is about to do with the entry at its position. */
export const EMPTY = 0
export const APPLY = 1
export const SKIP = 2
const LOG = 44

// Entries of a log: an application's or a rogue's write, a fence row, the progress row that PREPARE has touched.
export const FENCE = 0x40
export const PREPARE = 0x80
const KIND = 0xc0
const EPOCH = 0x3f

/** The longest log has every write, and each epoch once as a fence and once as prepared. */
const depth = ({ epochs, writes, rogues }: Bounds): number => writes + rogues + 2 * epochs

export function initialState(bounds: Bounds): State {
  assert(bounds.epochs <= EPOCHS.length, 'a set of epochs is a byte')
  assert(bounds.writes + bounds.rogues <= 4, 'a write is two bits of a byte')
  const bytes = LOG + 2 * depth(bounds)
  const state = new Uint8Array(Math.ceil(bytes / 4) * 4)
  state[WORD + LEGACY] = 1
  state[FLUSHED + LEGACY] = 1
  for (const side of SIDES) state[worker(side, 1) + POSITION] = NOBODY
  return state
}

/** A byte of a state. Every offset is a constant of this file, so it is always there. */
export const at = (state: State, offset: number): number => state[offset]!

export const has = (state: State, set: number, epoch: number): boolean =>
  (at(state, set) & (1 << epoch)) !== 0

export function add(state: State, set: number, epoch: number): void {
  state[set] = at(state, set) | (1 << epoch)
}

export const isOpen = (state: State, side: Side): boolean => (at(state, WORD + side) & 1) === 1

/** What is open and can be reached by those who know who owns; a database that was given up and comes back is a ghost. */
export const accepts = (state: State, side: Side): boolean =>
  isOpen(state, side) && (side === LEGACY || at(state, SERVICE_IS) === HERE)

/** The latest epoch in which the service was given up, or 0. */
export function abandonedIn(state: State): number {
  for (let epoch = EPOCHS.length; epoch > 0; epoch--) {
    if (has(state, ABANDONED, epoch)) return epoch
  }
  return 0
}

/** An entry of the service's log that legacy never had: after what was applied, before the fence that closed it. */
export function isLost(state: State, side: Side, index: number): boolean {
  const epoch = abandonedIn(state)
  if (side === LEGACY || epoch === 0 || index < at(state, LOST_FROM)) return false
  for (let i = 0; i < index; i++) if (fenceOf(entry(state, side, i)) === epoch) return false
  return true
}

export const isDecided = (state: State, epoch: number): boolean =>
  has(state, PROMOTED, epoch) || has(state, ABORTED, epoch)

/** A log starts where the other one ends; both have the same room. */
const logStart = (state: State, side: Side): number =>
  side === LEGACY ? LOG : LOG + ((state.length - LOG) >> 1)

export const entry = (state: State, side: Side, index: number): number =>
  at(state, logStart(state, side) + index)

/** Epoch of a fence entry, or 0. */
export const fenceOf = (logged: number): number => ((logged & KIND) === FENCE ? logged & EPOCH : 0)
export const preparedOf = (logged: number): number =>
  (logged & KIND) === PREPARE ? logged & EPOCH : 0
/** Number of the write, or -1 for a fence or PREPARE entry. */
export const writeOf = (logged: number): number => ((logged & KIND) === 0 ? logged - 1 : -1)

/** Epoch of the fence that is the entry before a position, or 0. */
export const fenceBefore = (state: State, side: Side, position: number): number =>
  position === 0 ? 0 : fenceOf(entry(state, side, position - 1))

/** A commit: what it wrote joins the log, and every setval before it is on disk. */
export function commit(state: State, side: Side, logged = 0): void {
  if (logged !== 0) {
    state[logStart(state, side) + at(state, LENGTH + side)] = logged
    state[LENGTH + side] = at(state, LENGTH + side) + 1
  }
  state[FLUSHED + side] = at(state, WORD + side)
}

export const rows = (state: State, side: Side, write: number): number =>
  (at(state, ROWS + side) >> (2 * write)) & 3

/** Adds the write's row once more. Three would need a violation before it. */
export function addRow(state: State, side: Side, write: number): void {
  state[ROWS + side] = at(state, ROWS + side) + (1 << (2 * write))
}

/** The side that the latest PROMOTED made the owner: the one that was not fenced in that epoch. */
export function ownerOfRecord(state: State): Side {
  for (let epoch = EPOCHS.length; epoch > 0; epoch--) {
    if (has(state, PROMOTED, epoch)) return has(state, FENCED + LEGACY, epoch) ? SERVICE : LEGACY
  }
  return LEGACY
}

/**
 * Whether a side owned the slice at a place in its own log: the nearest fence (ownership left) or PREPARE (it came)
 * before the place that wasn't aborted. Undefined while its decision is missing.
 */
export function ownedAt(state: State, side: Side, index: number): boolean | undefined {
  if (isLost(state, side, index)) return false
  for (let i = index - 1; i >= 0; i--) {
    const logged = entry(state, side, i)
    const epoch = fenceOf(logged) || preparedOf(logged)
    if (epoch === 0 || has(state, ABORTED, epoch)) continue
    return has(state, PROMOTED, epoch) ? preparedOf(logged) !== 0 : undefined
  }
  return side === LEGACY
}
