/** How the entries of one database's log are applied in the other, by a worker and by the zombie before it. */
import * as m from './model.ts'
import type { Side, State, Walk } from './model.ts'

const { at, add, from, other } = m

/** Workers act in two steps where something may come between: a twin, or a rogue's write. */
export function stream(walk: Walk, state: State, side: Side): void {
  const { twins, rogues } = walk.bounds
  if (twins + rogues === 0) {
    const position = at(state, m.APPLIED + side)
    const hand = judge(walk, state, side, position)
    if (hand === m.EMPTY) return
    apply(from(walk, state), side, position, hand)
    walk.emit('entry % of the other log applied', other(side), position + 1, false)
    return
  }
  for (const zombie of [0, 1] as const) {
    take(walk, state, side, m.worker(side, zombie))
    finish(walk, state, side, zombie)
  }
  if (at(state, m.TAKEN_OVER) < twins) takeOver(walk, state, side)
}

/** A worker reads the entry at its position and makes up its mind. */
function take(walk: Walk, state: State, side: Side, worker: number): void {
  const position = at(state, worker + m.POSITION)
  if (position === m.NOBODY || at(state, worker + m.HAND) !== m.EMPTY) return
  const hand = judge(walk, state, side, position)
  if (hand === m.EMPTY) return
  from(walk, state)[worker + m.HAND] = hand
  const name = hand === m.APPLY ? 'entry % will be applied' : 'entry % will be passed over'
  walk.emit(name, other(side), position + 1, false)
}

/** What becomes of an entry: EMPTY while it isn't there, or while the fence before it has no decision. */
function judge(walk: Walk, state: State, side: Side, position: number): number {
  const { sabotage } = walk
  const isEarly = sabotage === 'owner-read-before-change'
  const length = at(state, m.LENGTH + side)
  if (position > length || (position === length && !isEarly)) return m.EMPTY
  const fence = m.fenceBefore(state, side, position)
  const waits = fence !== 0 && !m.isDecided(state, fence)
  if (waits && sabotage !== 'applier-not-waiting') return m.EMPTY
  if (sabotage === 'rogue-applied') return m.APPLY
  if (m.isLost(state, side, position)) return sabotage === 'lost-applied' ? m.APPLY : m.SKIP
  // Legacy's changes don't fit what the old database still has: they wait for a new copy.
  if (side === m.LEGACY && m.abandonedIn(state) !== 0 && at(state, m.RECOPIED) === 0) return m.EMPTY
  const readsLatest = waits || isEarly || sabotage === 'owner-judged-when-read'
  const owned = readsLatest ? m.ownerOfRecord(state) === side : m.ownedAt(state, side, position)
  if (owned === undefined) return m.EMPTY
  return owned ? m.APPLY : m.SKIP
}

/** The worker's transaction: progress row first. No row: it is a zombie and stops. */
function finish(walk: Walk, state: State, side: Side, zombie: 0 | 1): void {
  const worker = m.worker(side, zombie)
  const position = at(state, worker + m.POSITION)
  const hand = at(state, worker + m.HAND)
  if (hand === m.EMPTY || position >= at(state, m.LENGTH + side)) return
  const target = other(side)
  const isMine = zombie === 0 && position === at(state, m.APPLIED + side)
  // Before the first PREPARE every worker has the same epoch.
  const isOfEpoch = at(state, m.PREPARED + target) === 0
  const next = from(walk, state)
  if (!(walk.sabotage === 'epoch-only-progress' ? isOfEpoch : isMine)) {
    next[worker + m.POSITION] = m.NOBODY
    next[worker + m.HAND] = m.EMPTY
    walk.emit('entry %: no progress row, the worker stops', target, position + 1, false)
    return
  }
  apply(next, side, position, hand)
  next[worker + m.POSITION] = position + 1
  next[worker + m.HAND] = m.EMPTY
  walk.emit('entry % of the other log applied', target, position + 1, false)
  if (walk.bounds.twins === 0) return
  next[worker + m.POSITION] = position
  next[worker + m.HAND] = hand
  walk.emit('entry % of the other log applied, the worker never hears', target, position + 1, false)
}

/** One transaction in the other database: the entry and the progress row. */
function apply(next: State, side: Side, position: number, hand: number): void {
  const target = other(side)
  const logged = m.entry(next, side, position)
  const fence = m.fenceOf(logged)
  const write = m.writeOf(logged)
  if (fence !== 0) add(next, m.REACHED + target, fence)
  if (write >= 0 && hand === m.APPLY) m.addRow(next, target, write)
  next[m.APPLIED + side] = position + 1
  m.commit(next, target)
}

/** A successor writes its token into the progress row and reads the position; its predecessor doesn't know. */
function takeOver(walk: Walk, state: State, side: Side): void {
  const next = from(walk, state)
  const [holder, zombie] = [m.worker(side, 0), m.worker(side, 1)]
  next[zombie + m.POSITION] = at(state, holder + m.POSITION)
  next[zombie + m.HAND] = at(state, holder + m.HAND)
  next[holder + m.POSITION] = at(state, m.APPLIED + side)
  next[holder + m.HAND] = m.EMPTY
  next[m.TAKEN_OVER] = at(state, m.TAKEN_OVER) + 1
  m.commit(next, other(side))
  walk.emit('another worker takes the stream over', other(side), 0, false)
}
