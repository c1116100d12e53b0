/** What may happen next in a state: anyone calls any function with any epoch, transactions end late, databases crash. */
import * as m from './model.ts'
import type { Side, State, Walk } from './model.ts'
import { abandonment, isReached } from './abandon.ts'
import { stream } from './stream.ts'

const { at, has, add, from, other, LEGACY, SERVICE, SIDES } = m

/** Emits every move that is possible in a state. */
export function moves(walk: Walk, state: State): void {
  abandonment(walk, state)
  const reached = isReached(walk, state)
  for (const side of SIDES) {
    if (side === SERVICE && !reached) continue
    writes(walk, state, side)
    endFence(walk, state, side)
    crash(walk, state, side)
    if (reached) stream(walk, state, side)
    for (let epoch = 1; epoch <= walk.bounds.epochs; epoch++) {
      beginFence(walk, state, side, epoch)
      setGate(walk, state, side, epoch)
      prepare(walk, state, side, epoch)
    }
    if (at(state, m.SETTING + side) !== 0) landBareSetval(walk, state, side)
  }
  // Whoever finds its address again finds it as open as it was left.
  if (!reached && at(state, m.SERVICE_IS) === m.BACK) writes(walk, state, SERVICE)
  for (let epoch = 1; epoch <= walk.bounds.epochs; epoch++) decide(walk, state, epoch)
}

/** The exclusive lock of the slice can be had: no writer holds the shared one, no fence is under way. */
const isFree = (state: State, side: Side): boolean =>
  at(state, m.TAKING + side) === 0 && at(state, m.WRITERS + side) === 0

function writes(walk: Walk, state: State, side: Side): void {
  const { bounds } = walk
  const begun = at(state, m.WRITTEN)
  const pending = at(state, m.WRITERS + side)
  if (m.isOpen(state, side) && at(state, m.TAKING + side) === 0 && begun < bounds.writes) {
    const next = from(walk, state)
    next[m.WRITERS + side] = pending + 1
    next[m.WRITTEN] = begun + 1
    walk.emit('write passes the gate', side, 0, false)
  }
  if (pending > 0) {
    const next = from(walk, state)
    const write = begun - at(state, m.WRITERS + LEGACY) - at(state, m.WRITERS + SERVICE)
    next[m.WRITERS + side] = pending - 1
    m.addRow(next, side, write)
    m.commit(next, side, write + 1)
    walk.emit('write commits', side, 0, true)
  }
  if (at(state, m.ROGUES) < bounds.rogues && !m.isOpen(state, side)) {
    const next = from(walk, state)
    const write = bounds.writes + at(state, m.ROGUES)
    next[m.ROGUES] = at(state, m.ROGUES) + 1
    m.addRow(next, side, write)
    m.commit(next, side, write + 1)
    walk.emit('rogue write commits', side, 0, false)
  }
}

function beginFence(walk: Walk, state: State, side: Side, epoch: number): void {
  const word = at(state, m.WORD + side)
  if (!isFree(state, side) || !m.isOpen(state, side)) return
  if (word > 2 * epoch && walk.sabotage !== 'word-not-monotone') return
  if (has(state, m.FENCED + side, epoch)) return
  if (side === LEGACY && m.abandonedIn(state) >= epoch) return
  const next = from(walk, state)
  next[m.TAKING + side] = epoch
  next[m.WORD + side] = 2 * epoch
  walk.emit('fence(%) has written its row and the word', side, epoch, false)
}

/** An open fence ends by itself, with or without its controller: the connection is checked, or the call times out. */
function endFence(walk: Walk, state: State, side: Side): void {
  const epoch = at(state, m.TAKING + side)
  if (epoch === 0) return
  let next = from(walk, state)
  next[m.TAKING + side] = 0
  add(next, m.FENCED + side, epoch)
  m.commit(next, side, m.FENCE | epoch)
  walk.emit('fence(%) commits', side, epoch, true)
  next = from(walk, state)
  next[m.TAKING + side] = 0
  walk.emit('fence(%) rolls back, the word stays', side, epoch, true)
}

function setGate(walk: Walk, state: State, side: Side, epoch: number): void {
  const { sabotage } = walk
  if (sabotage === 'bare-setval') {
    if (at(state, m.SETTING + side) !== 0 || !mayOpen(walk, state, side, epoch)) return
    from(walk, state)[m.SETTING + side] = 2 * epoch + 1
    walk.emit('set_gate(%) has read the word, without the lock', side, epoch, true)
    return
  }
  if (!isFree(state, side) || !mayOpen(walk, state, side, epoch)) return
  const raises = m.isOpen(state, side)
  const next = from(walk, state)
  next[m.WORD + side] = 2 * epoch + 1
  if (sabotage === 'evidence-by-epoch-alone' && raises) add(next, m.RAISED + side, epoch)
  walk.emit(raises ? 'set_gate(%) raises' : 'set_gate(%) opens', side, epoch, !raises)
  m.commit(next, side)
  walk.emit(raises ? 'set_gate(%) raises' : 'set_gate(%) opens', side, epoch, !raises)
}

function landBareSetval(walk: Walk, state: State, side: Side): void {
  const next = from(walk, state)
  next[m.WORD + side] = at(state, m.SETTING + side)
  next[m.SETTING + side] = 0
  m.commit(next, side)
  walk.emit('setval of set_gate(%) lands', side, at(state, m.SETTING + side) >> 1, true)
}

/** What set_gate(slice, epoch, open) asks under the lock. False also where there is nothing to do. */
function mayOpen(walk: Walk, state: State, side: Side, epoch: number): boolean {
  const { sabotage } = walk
  const word = at(state, m.WORD + side)
  const isMonotone = sabotage !== 'word-not-monotone'
  if (word === 2 * epoch + 1) return false
  if (word > 2 * epoch + 1 && isMonotone) return false
  if (m.isOpen(state, side)) return word < 2 * epoch + 1
  if (word === 2 * epoch || (!isMonotone && has(state, m.FENCED + side, epoch))) {
    if (sabotage === 'reopen-before-aborted' && !m.isDecided(state, epoch)) return true
    return knows(state, side, m.ABORTED, epoch)
  }
  if (sabotage === 'open-without-evidence') return true
  const isGivenUp = side === LEGACY && has(state, m.ABANDONED, epoch)
  if (!isGivenUp && !isEvident(walk, state, side, m.PREPARED, epoch)) return false
  return sabotage === 'decision-skipped' || knows(state, side, m.PROMOTED, epoch)
}

/** Decisions are committed in legacy; the service goes by its copies. */
const knows = (state: State, side: Side, decision: number, epoch: number): boolean =>
  has(state, decision, epoch) && (side === LEGACY || has(state, m.COPIED, epoch))

function isEvident(walk: Walk, state: State, side: Side, kind: number, epoch: number): boolean {
  if (walk.sabotage !== 'evidence-by-epoch-alone') return has(state, kind + side, epoch)
  const kinds = [m.FENCED, m.REACHED, m.PREPARED, m.RAISED]
  return SIDES.some(any => kinds.some(row => has(state, row + any, epoch)))
}

/** On the new owner, under its lock: the progress row of the stream into it stands at the marker of fence `epoch`. */
function prepare(walk: Walk, state: State, side: Side, epoch: number): void {
  if (has(state, m.PREPARED + side, epoch) || !isFree(state, side)) return
  if (side === LEGACY && m.abandonedIn(state) >= epoch) return
  const old = other(side)
  const isReached =
    has(state, m.REACHED + side, epoch) &&
    m.fenceBefore(state, old, at(state, m.APPLIED + old)) === epoch
  const isFenced = has(state, m.FENCED + old, epoch)
  if (!isReached && !(isFenced && walk.sabotage === 'prepare-without-comparison')) return
  const next = from(walk, state)
  add(next, m.PREPARED + side, epoch)
  m.commit(next, side, m.PREPARE | epoch)
  walk.emit('PREPARED(%) commits', side, epoch, has(state, m.PROMOTED, epoch))
}

function decide(walk: Walk, state: State, epoch: number): void {
  const isDecided = m.isDecided(state, epoch)
  const deciding = at(state, m.DECIDING)
  if (!isDecided && deciding === 0 && mayPromote(walk, state, epoch)) {
    from(walk, state)[m.DECIDING] = epoch
    walk.emit('PROMOTED(%) written', LEGACY, epoch, false)
  }
  if (deciding === epoch) {
    let next = from(walk, state)
    next[m.DECIDING] = 0
    walk.emit('PROMOTED(%) rolls back', LEGACY, epoch, true)
    next = from(walk, state)
    next[m.DECIDING] = 0
    add(next, m.PROMOTED, epoch)
    m.commit(next, LEGACY)
    walk.emit('PROMOTED(%) commits', LEGACY, epoch, true)
  }
  const isUnique = walk.sabotage !== 'decision-not-unique'
  if (isUnique ? !isDecided && deciding !== epoch : !has(state, m.ABORTED, epoch)) {
    const next = from(walk, state)
    add(next, m.ABORTED, epoch)
    m.commit(next, LEGACY)
    const isForeign =
      walk.sabotage === 'decision-at-new-owner' && !has(state, m.FENCED + SERVICE, epoch)
    const home = isForeign ? SERVICE : LEGACY
    walk.emit('ABORTED(%) commits', home, epoch, mayAnyoneAbort(walk, state, epoch))
  }
  if (isDecided && !has(state, m.COPIED, epoch) && isReached(walk, state)) {
    const next = from(walk, state)
    add(next, m.COPIED, epoch)
    m.commit(next, SERVICE)
    walk.emit('decision(%) copied', SERVICE, epoch, true)
  }
}

/** Forward by FENCED in legacy, sent after PREPARED was read; back by PREPARED in legacy. */
function mayPromote(walk: Walk, state: State, epoch: number): boolean {
  if (m.abandonedIn(state) > epoch) return false
  const isRead =
    walk.sabotage === 'promoted-before-prepared' ||
    isEvident(walk, state, SERVICE, m.PREPARED, epoch)
  const isForward = isRead && isEvident(walk, state, LEGACY, m.FENCED, epoch)
  return isForward || isEvident(walk, state, LEGACY, m.PREPARED, epoch)
}

/** Without a controller: past the deadline of a fence row (time may pass at any moment), or a fence that died. */
function mayAnyoneAbort(walk: Walk, state: State, epoch: number): boolean {
  return SIDES.some(side => {
    if (has(state, m.FENCED + side, epoch)) return walk.sabotage !== 'no-deadline'
    const isDead = at(state, m.WORD + side) === 2 * epoch && at(state, m.TAKING + side) === 0
    return isDead && walk.sabotage !== 'dead-fence-left-alone'
  })
}

/** What wasn't committed is gone; the word keeps its last value or falls back to the one that is on disk. */
function crash(walk: Walk, state: State, side: Side): void {
  if (at(state, m.CRASHED) === walk.bounds.crashes) return
  const values = [at(state, m.WORD + side), at(state, m.FLUSHED + side)]
  for (const word of new Set(values)) {
    const next = from(walk, state)
    next[m.CRASHED] = at(state, m.CRASHED) + 1
    next[m.WRITTEN] = at(state, m.WRITTEN) - at(state, m.WRITERS + side)
    next[m.WRITERS + side] = 0
    next[m.TAKING + side] = 0
    if (side === LEGACY) next[m.DECIDING] = 0
    next[m.WORD + side] = word
    next[m.FLUSHED + side] = word
    walk.emit('crash, the word is %', side, word, false)
  }
}
