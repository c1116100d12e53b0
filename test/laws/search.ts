/** Breadth-first search over every state within bounds, so that the first violation found is one of the shortest. */
import * as m from './model.ts'
import type { Side, State, Walk } from './model.ts'
import { moves } from './moves.ts'
import { NAMES, describe, violation } from './laws.ts'
import type { Bounds, Sabotage } from './sabotage.ts'
import { stateSet } from './state-set.ts'
import type { StateSet } from './state-set.ts'

export interface Result {
  readonly states: number
  /** Moves from the first state to the farthest. */
  readonly depth: number
  /** The most changes of owner that were completed in one state: what the laws were asked about. */
  readonly flips: number
  /** The law that broke and how, or undefined. */
  readonly broken: string | undefined
  /** What happened, move by move, and the state that it led to. */
  readonly trace: readonly string[]
}

/** Visits every state within bounds, or stops after the first that breaks a law. */
export function search(bounds: Bounds, sabotage?: Sabotage): Result {
  const state = m.initialState(bounds)
  const next = state.slice()
  const seen = stateSet(state.length)
  seen.add(state)
  const graph: Graph = { bounds, sabotage, seen, parents: [-1], settling: [[], []] }
  let [here, depth, level, flips] = [0, 0, 1, 0]
  let found: Found | undefined

  function emit(_name: string, side: Side, _number: number, settles: boolean): void {
    toDisk(bounds, next)
    const index = seen.add(next)
    if (index === graph.parents.length) {
      graph.parents.push(here)
      flips = Math.max(flips, completed(next))
      const broken = found === undefined ? violation(bounds, next) : undefined
      if (broken !== undefined) found = { index, broken }
    }
    if (settles && !someOpen(state)) graph.settling[side].push(here, index)
  }

  for (; here < seen.size() && found === undefined; here++) {
    if (here === level) [depth, level] = [depth + 1, seen.size()]
    seen.read(here, state)
    moves({ bounds, sabotage, next, emit }, state)
  }
  found ??= stuck(graph)
  const trace = found === undefined ? [] : traceTo(found.index, graph)
  return { states: seen.size(), depth, flips, broken: found?.broken, trace }
}

interface Found {
  readonly index: number
  readonly broken: string
}

interface Graph {
  readonly bounds: Bounds
  readonly sabotage: Sabotage | undefined
  readonly seen: StateSet
  /** From which state each was first reached. */
  readonly parents: number[]
  /** Settling moves out of closed states, by the side whose database they need: from, to, from, to, … */
  readonly settling: readonly [number[], number[]]
}

/** Without a crash to come it makes no difference what is on disk: fewer states, the same behaviour. */
function toDisk(bounds: Bounds, state: State): void {
  if (m.at(state, m.CRASHED) < bounds.crashes) return
  for (const side of m.SIDES) state[m.FLUSHED + side] = m.at(state, m.WORD + side)
}

/** Both open is a violation of L2 and never gets here. */
const someOpen = (state: State): boolean => m.SIDES.some(side => m.accepts(state, side))

function completed(state: State): number {
  if (!someOpen(state)) return 0
  return m.EPOCHS.filter(epoch => m.has(state, m.PROMOTED, epoch)).length
}

/** L4: a closed slice can settle; and a dead service doesn't keep legacy closed while legacy is the owner. */
function stuck({ seen, settling }: Graph): Found | undefined {
  const [inLegacy, inService] = settling
  const anywhere = firstStuck(seen, [inLegacy, inService], someOpen, () => true)
  if (anywhere >= 0)
    return { index: anywhere, broken: 'L4: closed, and no settle opens either side' }
  const isLegacyOpen = (state: State): boolean => m.isOpen(state, m.LEGACY)
  const isLegacys = (state: State): boolean =>
    m.ownerOfRecord(state) === m.LEGACY && !someOpen(state)
  const alone = firstStuck(seen, [inLegacy], isLegacyOpen, isLegacys)
  if (alone >= 0)
    return { index: alone, broken: 'L4: closed, and with the service dead legacy can’t open' }
  return undefined
}

type Question = (state: State) => boolean

/** Backward reachability: the first state that must settle and from which no settled one can be reached, or -1. */
function firstStuck(
  seen: StateSet,
  edges: number[][],
  isSettled: Question,
  mustSettle: Question,
): number {
  const size = seen.size()
  // Edges sorted by where they lead: those into state i are sources[starts[i]] … sources[starts[i + 1] - 1].
  const starts = new Int32Array(size + 1)
  for (const list of edges) for (let i = 1; i < list.length; i += 2) starts[list[i]!]!++
  for (let i = 1; i <= size; i++) starts[i]! += starts[i - 1]!
  const sources = new Int32Array(starts[size]!)
  for (const list of edges) {
    for (let i = 1; i < list.length; i += 2) sources[--starts[list[i]!]!] = list[i - 1]!
  }

  const canSettle = new Uint8Array(size)
  const queue: number[] = []
  const mark = (index: number): void => {
    if (canSettle[index] === 1) return
    canSettle[index] = 1
    queue.push(index)
  }
  const every = (visit: (index: number, state: State) => boolean): number => {
    const state = seen.blank()
    for (let index = 0; index < size; index++) {
      seen.read(index, state)
      if (visit(index, state)) return index
    }
    return -1
  }
  every((index, state) => {
    if (isSettled(state)) mark(index)
    return false
  })
  for (let index = queue.pop(); index !== undefined; index = queue.pop()) {
    for (let edge = starts[index]!; edge < starts[index + 1]!; edge++) mark(sources[edge]!)
  }
  return every((index, state) => canSettle[index] === 0 && mustSettle(state))
}

/** Takes the path from the first state again, this time with names. */
function traceTo(found: number, { bounds, sabotage, seen, parents }: Graph): string[] {
  const lines: string[] = []
  const state = m.initialState(bounds)
  const next = state.slice()
  for (let index = found; index > 0; index = parents[index]!) {
    let line: string | undefined
    const emit: Walk['emit'] = (name, side, number) => {
      toDisk(bounds, next)
      if (seen.add(next) === index) line ??= `${NAMES[side]}: ${name.replace('%', String(number))}`
    }
    seen.read(parents[index]!, state)
    moves({ bounds, sabotage, next, emit }, state)
    lines.unshift(line ?? 'unknown')
  }
  seen.read(found, state)
  return [...lines.map((line, i) => `${i + 1}. ${line}`), ...describe(state)]
}
