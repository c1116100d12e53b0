/**
 * The functions and the explorer of test/laws agree: in every combination of a word and the rows that a function reads,
 * the database moves exactly where the explorer has a move. What the explorer has proved, it has proved of this SQL.
 */
import t from 'tap'
import { decide, prepare, setGate, takeFence } from '../../postgres/gate.ts'
import * as m from '../laws/model.ts'
import { moves } from '../laws/moves.ts'
import { gateSides, outcome, preparation, put, read, type SideHandle } from './gate-sides.ts'

const sides = await gateSides(t)
const { legacy, service, system } = sides
const slice = await sides.slice()

const BOUNDS = { epochs: 3, writes: 1, crashes: 0, twins: 0, rogues: 0, abandons: 0 }
const EPOCHS = [1, 2, 3]
const WORDS = [0, 1, 2, 3, 4, 5, 6, 7]
const YES_NO = [false, true]
const DECISIONS = ['', 'PROMOTED', 'ABORTED'] as const
type Decision = (typeof DECISIONS)[number]

const numberOf = (at: SideHandle): m.Side => (at.side === 'legacy' ? m.LEGACY : m.SERVICE)
const word = (w: number): string => `${w % 2 === 1 ? 'open' : 'closed'} ${Math.floor(w / 2)}`
const line = (...parts: (string | false)[]): string =>
  parts.filter(part => part !== false && part !== '').join(', ')

/** Every choice of one from each list. */
function combine<T extends readonly unknown[]>(
  ...lists: { readonly [K in keyof T]: readonly T[K][] }
): T[] {
  let all: unknown[][] = [[]]
  for (const list of lists) all = all.flatMap(some => list.map(one => [...some, one]))
  return all as unknown as T[]
}

/** Has the explorer this move in the state that `arrange` makes? `names`: as it calls them. */
function hasMove(
  arrange: (state: m.State) => void,
  names: readonly string[],
  side: m.Side,
  epoch: number,
): boolean {
  const state = m.initialState(BOUNDS)
  arrange(state)
  let found = false
  const emit = (name: string, where: m.Side, number: number) => {
    if (names.includes(name) && where === side && number === epoch) found = true
  }
  moves({ bounds: BOUNDS, sabotage: undefined, next: new Uint8Array(state.length), emit }, state)
  return found
}

function decided(state: m.State, decision: Decision, epoch: number): void {
  if (decision === '') return
  m.add(state, decision === 'PROMOTED' ? m.PROMOTED : m.ABORTED, epoch)
  m.add(state, m.COPIED, epoch)
}

/** Whether the call changed what the side knows; a refusal must change nothing. */
async function moved(at: SideHandle, before: string, call: () => Promise<unknown>) {
  await put(at, slice, system, before)
  const was = await read(at, slice)
  const answer = await outcome(call())
  return { answer, moved: (await read(at, slice)) !== was }
}

/** Counts agreements; the first few disagreements are the message. */
class Tally {
  readonly differences: string[] = []
  moved = 0
  stayed = 0

  add(what: string, database: { answer: string; moved: boolean }, explorer: boolean): void {
    if (database.moved === explorer) this[explorer ? 'moved' : 'stayed'] += 1
    else this.differences.push(`${what}: ${database.answer}, explorer ${explorer}`)
  }

  report(t: {
    comment(text: string): void
    same(a: unknown, b: unknown, why: string): void
    ok(a: unknown, why: string): void
  }) {
    t.comment(`${this.moved} moved, ${this.stayed} stayed`)
    t.same(this.differences.slice(0, 5), [], 'no difference')
    t.ok(this.moved > 0 && this.stayed > 0, 'with both answers among them')
  }
}

for (const at of [legacy, service]) {
  const side = numberOf(at)
  const where = at.side === 'legacy' ? 'legacy' : 'a service'

  void t.test(`fence in ${where}`, async t => {
    const tally = new Tally()
    const names = ['fence(%) has written its row and the word']
    for (const [epoch, w, fenced] of combine(EPOCHS, WORDS, YES_NO)) {
      const before = line(word(w), fenced && `FENCED ${epoch}`)
      const deadlineMs = Date.parse('2100-01-01T00:00:00Z')
      const fence = { slice: slice.name, epoch, deadlineMs, legacy: system, service: system }
      const database = await moved(at, before, () => takeFence(at.apply, fence))
      const arrange = (state: m.State) => {
        state[m.WORD + side] = w
        if (fenced) m.add(state, m.FENCED + side, epoch)
      }
      tally.add(`fence ${epoch} at ${before}`, database, hasMove(arrange, names, side, epoch))
    }
    tally.report(t)
  })

  void t.test(`set_gate in ${where}`, async t => {
    const tally = new Tally()
    const names = ['set_gate(%) raises', 'set_gate(%) opens']
    const all = combine(EPOCHS, WORDS, DECISIONS, YES_NO, YES_NO)
    for (const [epoch, w, decision, prepared, fenced] of all) {
      const before = line(
        word(w),
        decision && `${decision} ${epoch}`,
        prepared && `PREPARED ${epoch}@A`,
        fenced && `FENCED ${epoch}`,
      )
      const database = await moved(at, before, () => setGate(at.apply, slice.name, epoch))
      const arrange = (state: m.State) => {
        state[m.WORD + side] = w
        decided(state, decision, epoch)
        if (prepared) m.add(state, m.PREPARED + side, epoch)
        if (fenced) m.add(state, m.FENCED + side, epoch)
      }
      tally.add(`set_gate ${epoch} at ${before}`, database, hasMove(arrange, names, side, epoch))
    }
    tally.report(t)
  })

  void t.test(`prepare in ${where}`, async t => {
    const tally = new Tally()
    for (const [epoch, reached, prepared, place] of combine(EPOCHS, YES_NO, YES_NO, ['A', 'B'])) {
      const before = line(
        'closed 0',
        reached && `REACHED ${epoch}@A`,
        prepared && `PREPARED ${epoch}@A`,
        `progress 0@${place}`,
      )
      const what = preparation(at.side, slice, epoch)
      const database = await moved(at, before, () => prepare(at.apply, what))
      const old = m.other(side)
      const arrange = (state: m.State) => {
        if (reached) m.add(state, m.REACHED + side, epoch)
        if (prepared) m.add(state, m.PREPARED + side, epoch)
        m.add(state, m.FENCED + old, epoch)
        m.commit(state, old, m.FENCE | epoch)
        if (place === 'B') m.commit(state, old, 1)
        state[m.APPLIED + old] = m.at(state, m.LENGTH + old)
      }
      const explorer = hasMove(arrange, ['PREPARED(%) commits'], side, epoch)
      tally.add(`prepare ${epoch} at ${before}`, database, explorer)
    }
    tally.report(t)
  })
}

// The caller has read PREPARED in the service; on the way back REACHED and PREPARED are legacy's own.
const EVIDENCE = ['', 'FENCED %', 'REACHED %@A', 'REACHED %@A, PREPARED %@A']
for (const wanted of ['PROMOTED', 'ABORTED'] as const) {
  void t.test(`decide ${wanted}`, async t => {
    const tally = new Tally()
    const names = [wanted === 'PROMOTED' ? 'PROMOTED(%) written' : 'ABORTED(%) commits']
    for (const [epoch, decision, evidence] of combine(EPOCHS, DECISIONS, EVIDENCE)) {
      const rows = evidence.replaceAll('%', String(epoch))
      const before = line('closed 1', decision && `${decision} ${epoch}`, rows)
      const call = () => decide(legacy.apply, slice.name, epoch, wanted)
      const database = await moved(legacy, before, call)
      const arrange = (state: m.State) => {
        decided(state, decision, epoch)
        m.add(state, m.PREPARED + m.SERVICE, epoch)
        if (rows.includes('FENCED')) m.add(state, m.FENCED + m.LEGACY, epoch)
        if (rows.includes('PREPARED')) m.add(state, m.PREPARED + m.LEGACY, epoch)
      }
      const explorer = hasMove(arrange, names, m.LEGACY, epoch)
      tally.add(`decide ${wanted} ${epoch} at ${before}`, database, explorer)
    }
    tally.report(t)
  })
}
