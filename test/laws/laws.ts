/** The laws, asked of every state. */
import * as m from './model.ts'
import type { Side, State } from './model.ts'
import type { Bounds } from './sabotage.ts'

const { at, has, other, LEGACY, SERVICE, SIDES } = m

/** Says which law a state breaks and how, or undefined. L4's second half needs the whole graph: see search.ts. */
export function violation(bounds: Bounds, state: State): string | undefined {
  return (
    twoOwners(state) ?? lateWrite(bounds, state) ?? twoDecisions(state) ?? wrongRows(bounds, state)
  )
}

const accepts = (state: State, side: Side): boolean =>
  m.accepts(state, side) ||
  (at(state, m.WRITERS + side) > 0 && (side === LEGACY || at(state, m.SERVICE_IS) === m.HERE))

function twoOwners(state: State): string | undefined {
  if (!accepts(state, LEGACY) || !accepts(state, SERVICE)) return undefined
  return 'L2: both databases accept application writes'
}

/** The last write in a log stands where its side was the owner, by the decisions that were there when it came. */
function lateWrite(bounds: Bounds, state: State): string | undefined {
  for (const side of SIDES) {
    const last = at(state, m.LENGTH + side) - 1
    if (last < 0) continue
    const write = m.writeOf(m.entry(state, side, last))
    if (write < 0 || write >= bounds.writes) continue
    if (!m.isLost(state, side, last) && m.ownedAt(state, side, last) !== true)
      return `L2: ${NAMES[side]} committed a write behind its fence`
  }
  return undefined
}

function twoDecisions(state: State): string | undefined {
  const both = at(state, m.PROMOTED) & at(state, m.ABORTED)
  return both === 0 ? undefined : 'L4: an epoch is both PROMOTED and ABORTED'
}

function wrongRows(bounds: Bounds, state: State): string | undefined {
  const owner = SIDES.find(side => m.accepts(state, side))
  const isInStep =
    owner !== undefined && at(state, m.APPLIED + owner) === at(state, m.LENGTH + owner)
  for (const side of SIDES) {
    for (let i = 0; i < at(state, m.LENGTH + side); i++) {
      const write = m.writeOf(m.entry(state, side, i))
      if (write < 0) continue
      const there = m.rows(state, other(side), write)
      if (m.rows(state, side, write) > 1 || there > 1) return `L3: write ${write} is there twice`
      if (m.isLost(state, side, i)) {
        if (there > 0) return 'L3: a write that was given up was applied'
        continue
      }
      if (write >= bounds.writes) {
        if (there > 0 && m.ownedAt(state, side, i) === false) return 'L3: a rogue write was applied'
      } else if (there === 0 && owner !== undefined && (owner !== side || isInStep)) {
        return `L3: write ${write} is missing in ${NAMES[other(side)]}`
      }
    }
  }
  return undefined
}

export const NAMES = ['legacy', 'service'] as const

/** A state in the words of the protocol: a line for each side, and one for the decisions. */
export function describe(state: State): string[] {
  const sides = SIDES.map(side => {
    const log = Array.from({ length: at(state, m.LENGTH + side) }, (_, i) =>
      entryName(m.entry(state, side, i)),
    )
    const word = `word ${at(state, m.WORD + side)}, ${m.isOpen(state, side) ? 'open' : 'closed'}`
    return `=> ${NAMES[side]}: ${word}; log [${log.join(' ')}], ${at(state, m.APPLIED + side)} applied in ${NAMES[other(side)]}`
  })
  const epochs = (set: number): string =>
    m.EPOCHS.filter(epoch => has(state, set, epoch)).join() || 'none'
  const given = at(state, m.ABANDONED) === 0 ? '' : `; ABANDONED: ${epochs(m.ABANDONED)}`
  return [...sides, `=> PROMOTED: ${epochs(m.PROMOTED)}; ABORTED: ${epochs(m.ABORTED)}${given}`]
}

function entryName(logged: number): string {
  const write = m.writeOf(logged)
  if (write >= 0) return `write${write}`
  return m.fenceOf(logged) > 0 ? `FENCE${m.fenceOf(logged)}` : `PREPARED${m.preparedOf(logged)}`
}
