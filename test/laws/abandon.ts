/** The service's database dies, legacy takes the tables without it on a person's word, and the old database comes back. */
import * as m from './model.ts'
import type { State, Walk } from './model.ts'

const { at, has, add, from, LEGACY, SERVICE } = m

/** Whether the service's database takes part: not while it is gone, and once it is back, not before it is closed. */
export const isReached = (walk: Walk, state: State): boolean =>
  at(state, m.SERVICE_IS) === m.HERE ||
  (at(state, m.SERVICE_IS) === m.BACK && walk.sabotage === 'old-database-not-closed')

export function abandonment(walk: Walk, state: State): void {
  if (walk.bounds.abandons === 0) return
  dies(walk, state)
  returns(walk, state)
  for (let epoch = 1; epoch <= walk.bounds.epochs; epoch++) abandon(walk, state, epoch)
  close(walk, state)
  copyAnew(walk, state)
}

/** Once: what wasn't committed is gone. */
function dies(walk: Walk, state: State): void {
  if (at(state, m.SERVICE_IS) !== m.HERE || at(state, m.ABANDONED) !== 0) return
  const next = from(walk, state)
  next[m.SERVICE_IS] = m.GONE
  next[m.WRITTEN] = at(state, m.WRITTEN) - at(state, m.WRITERS + SERVICE)
  next[m.WRITERS + SERVICE] = 0
  next[m.TAKING + SERVICE] = 0
  walk.emit('the database is gone', SERVICE, 0, false)
}

function returns(walk: Walk, state: State): void {
  if (at(state, m.SERVICE_IS) !== m.GONE) return
  const isGivenUp = at(state, m.ABANDONED) !== 0
  const next = from(walk, state)
  next[m.SERVICE_IS] = isGivenUp && walk.sabotage !== 'old-database-not-closed' ? m.BACK : m.HERE
  walk.emit('the database is back', SERVICE, 0, true)
}

/** In legacy, under its lock, and only while somebody knows that the service can't be written. */
function abandon(walk: Walk, state: State, epoch: number): void {
  const earlier = m.abandonedIn(state)
  const isGone = at(state, m.SERVICE_IS) !== m.HERE
  const isLegacys = m.ownerOfRecord(state) === LEGACY
  if (!isGone || (isLegacys && (earlier === 0 || !isPast(state, earlier)))) return
  const isFree = at(state, m.TAKING + LEGACY) === 0 && at(state, m.WRITERS + LEGACY) === 0
  const isOld =
    at(state, m.WORD + LEGACY) >= 2 * epoch ||
    m.EPOCHS.some(e => e >= epoch && has(state, m.PROMOTED, e))
  if (!isFree || isOld || m.isDecided(state, epoch) || at(state, m.DECIDING) !== 0) return
  if (m.EPOCHS.some(e => isBegun(state, e) && !m.isDecided(state, e))) return
  const next = from(walk, state)
  add(next, m.PROMOTED, epoch)
  add(next, m.ABANDONED, epoch)
  if (earlier === 0) next[m.LOST_FROM] = at(state, m.APPLIED + SERVICE)
  m.commit(next, LEGACY, m.PREPARE | epoch)
  walk.emit('ABANDONED(%) commits', LEGACY, epoch, false)
}

/** A word that was raised, and nobody remembers: it can't be closed in the epoch of record. */
const isPast = (state: State, epoch: number): boolean =>
  at(state, m.SERVICE_IS) === m.BACK && at(state, m.WORD + SERVICE) > 2 * epoch

const isBegun = (state: State, epoch: number): boolean =>
  has(state, m.FENCED + LEGACY, epoch) || has(state, m.REACHED + LEGACY, epoch)

/** The first contact: before anything else reads or writes it. */
function close(walk: Walk, state: State): void {
  const epoch = m.abandonedIn(state)
  if (at(state, m.SERVICE_IS) !== m.BACK || at(state, m.WRITERS + SERVICE) > 0) return
  if (at(state, m.WORD + SERVICE) > 2 * epoch) return
  const next = from(walk, state)
  next[m.SERVICE_IS] = m.HERE
  next[m.WORD + SERVICE] = 2 * epoch
  add(next, m.FENCED + SERVICE, epoch)
  add(next, m.COPIED, epoch)
  m.commit(next, SERVICE, m.FENCE | epoch)
  walk.emit('close_gate(%)', SERVICE, epoch, true)
}

/** A new copy, and both streams from where the two sides stand: what was given up is in neither. */
function copyAnew(walk: Walk, state: State): void {
  const isClosed = at(state, m.SERVICE_IS) === m.HERE && !m.isOpen(state, SERVICE)
  const epoch = m.abandonedIn(state)
  if (epoch === 0 || !isClosed || at(state, m.RECOPIED) === 1 || !m.isOpen(state, LEGACY)) return
  if (!has(state, m.FENCED + SERVICE, epoch)) return
  const next = from(walk, state)
  next[m.RECOPIED] = 1
  next[m.ROWS + SERVICE] = at(state, m.ROWS + LEGACY)
  for (const side of m.SIDES) next[m.APPLIED + side] = at(state, m.LENGTH + side)
  m.commit(next, SERVICE)
  walk.emit('the service is copied anew', SERVICE, 0, false)
}
