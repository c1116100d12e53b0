/** Each function of the protocol: what is known before, the call, its answer, and what is known after. */
import t from 'tap'
import { decide, prepare, setGate, takeFence, type Verdict } from '../../postgres/gate.ts'
import { gateSides, known, outcome, preparation, put, read } from './gate-sides.ts'

const sides = await gateSides(t)
const { legacy, service, system } = sides
const slice = await sides.slice()
const LATER_MS = Date.parse('2100-01-01T00:00:00Z')

interface Case {
  readonly because: string
  readonly before: string
  readonly epoch: number
  readonly answer: string
  /** Undefined: as before. */
  readonly after?: string
}

/** `done`: the word or a row may have moved; anything else is the code of the refusal. */
type Rows = readonly (readonly [
  because: string,
  before: string,
  epoch: number,
  answer: string,
  after?: string,
])[]

const casesOf = (rows: Rows): Case[] =>
  rows.map(([because, before, epoch, answer, after]) => ({
    because,
    before,
    epoch,
    answer,
    ...(after !== undefined && { after }),
  }))

// prettier-ignore
const FENCE = casesOf([
  ['an open word of an older epoch closes, its row with it', 'open 0', 1, 'done', 'closed 1, FENCED 1'],
  ['epochs may be left out', 'open 1, PROMOTED 1, PREPARED 1@A', 5, 'done', 'closed 5, FENCED 5, PROMOTED 1, PREPARED 1@A'],
  ['an epoch that was aborted before its fence came: settled, never promoted', 'open 0, ABORTED 1', 1, 'done', 'closed 1, FENCED 1, ABORTED 1'],
  ['the epoch that opened it is used up', 'open 2', 2, 'WORD_REFUSED'],
  ['an older epoch is refused', 'open 2', 1, 'WORD_REFUSED'],
  ['never "already done": whoever isn’t sure settles', 'closed 1, FENCED 1', 1, 'WORD_REFUSED'],
  ['a closed word isn’t fenced by a newer epoch', 'closed 1, FENCED 1', 2, 'WORD_REFUSED'],
  ['nor by an older one', 'closed 2, FENCED 2', 1, 'WORD_REFUSED'],
  ['nor one that never opened', 'closed 0', 1, 'WORD_REFUSED'],
  ['a fence that died is not taken again', 'closed 1', 1, 'WORD_REFUSED'],
])

// prettier-ignore
const SET_GATE = casesOf([
  ['open in this epoch: nothing to do', 'open 2', 2, 'done'],
  ['an open word is raised, without evidence', 'open 0', 2, 'done', 'open 2'],
  ['an open word is never lowered', 'open 2', 1, 'WORD_REFUSED'],
  ['nor a closed one', 'closed 2, FENCED 2, ABORTED 1', 1, 'WORD_REFUSED'],
  ['fenced here: closed until somebody has decided', 'closed 2, FENCED 2', 2, 'EVIDENCE_MISSING'],
  ['fenced here and aborted: it opens again', 'closed 2, FENCED 2, ABORTED 2', 2, 'done', 'open 2, FENCED 2, ABORTED 2'],
  ['a fence that died and was aborted: it opens again', 'closed 2, ABORTED 2', 2, 'done', 'open 2, ABORTED 2'],
  ['fenced here and promoted: the other side is the owner', 'closed 2, FENCED 2, PROMOTED 2', 2, 'EVIDENCE_MISSING'],
  ['not even with a preparation', 'closed 2, FENCED 2, PROMOTED 2, PREPARED 2@A', 2, 'EVIDENCE_MISSING'],
  ['another epoch’s ABORTED says nothing of this one', 'closed 2, FENCED 2, ABORTED 1', 2, 'EVIDENCE_MISSING'],
  ['a side that never opened has no evidence', 'closed 0', 1, 'EVIDENCE_MISSING'],
  ['prepared, but not promoted', 'closed 0, REACHED 1@A, PREPARED 1@A', 1, 'EVIDENCE_MISSING'],
  ['promoted, but not prepared', 'closed 0, REACHED 1@A, COMPARED 1, PROMOTED 1', 1, 'EVIDENCE_MISSING'],
  ['promoted and prepared: the new owner opens', 'closed 0, PREPARED 1@A, PROMOTED 1', 1, 'done', 'open 1, PREPARED 1@A, PROMOTED 1'],
  ['prepared and aborted: it stays closed', 'closed 0, PREPARED 1@A, ABORTED 1', 1, 'EVIDENCE_MISSING'],
  ['prepared in another epoch', 'closed 0, PREPARED 2@A, PROMOTED 1', 1, 'EVIDENCE_MISSING'],
  ['promoted in another epoch', 'closed 0, PREPARED 1@A, PROMOTED 2', 1, 'EVIDENCE_MISSING'],
  ['the way back opens who was fenced before', 'closed 1, FENCED 1, PROMOTED 1, PREPARED 2@A, PROMOTED 2', 2, 'done', 'open 2, FENCED 1, PROMOTED 1, PREPARED 2@A, PROMOTED 2'],
  ['and not before it is promoted', 'closed 1, FENCED 1, PROMOTED 1, PREPARED 2@A', 2, 'EVIDENCE_MISSING'],
])

// prettier-ignore
const PREPARE = casesOf([
  ['reached, and the stream stands at the fence', 'closed 0, REACHED 1@A, progress 0@A', 1, 'done', 'closed 0, REACHED 1@A, PREPARED 1@A, progress 1@A'],
  ['also after PROMOTED', 'closed 0, REACHED 1@A, PROMOTED 1, progress 0@A', 1, 'done', 'closed 0, REACHED 1@A, PREPARED 1@A, PROMOTED 1, progress 1@A'],
  ['repeated: nothing happens', 'closed 0, REACHED 1@A, PREPARED 1@A, progress 1@A', 1, 'done'],
  ['repeated when the new owner is long at work', 'open 1, REACHED 1@A, PREPARED 1@A, PROMOTED 1, progress 1@B', 1, 'done'],
  ['not reached', 'closed 0, progress 0@A', 1, 'EVIDENCE_MISSING'],
  ['compared is not reached', 'closed 0, COMPARED 1, progress 0@A', 1, 'EVIDENCE_MISSING'],
  ['another epoch’s REACHED', 'closed 0, REACHED 2@A, progress 0@A', 1, 'EVIDENCE_MISSING'],
  ['the stream has gone on', 'closed 0, REACHED 1@A, progress 0@B', 1, 'PROGRESS_MOVED'],
  ['the stream is behind', 'closed 0, REACHED 1@B, progress 0@A', 1, 'PROGRESS_MOVED'],
  ['no stream has ever come here', 'closed 0, REACHED 1@A', 1, 'PROGRESS_MOVED'],
  ['a newer epoch has prepared', 'closed 0, REACHED 1@A, progress 2@A', 1, 'PROGRESS_MOVED'],
  ['an epoch prepares once', 'closed 0, REACHED 1@A, progress 1@A', 1, 'PROGRESS_MOVED'],
])

// prettier-ignore
const PROMOTE = casesOf([
  ['fenced here: the service is the new owner', 'closed 1, FENCED 1', 1, 'PROMOTED', 'closed 1, FENCED 1, PROMOTED 1'],
  ['the way back: reached and prepared here', 'closed 1, REACHED 2@A, PREPARED 2@A', 2, 'PROMOTED', 'closed 1, REACHED 2@A, PREPARED 2@A, PROMOTED 2'],
  ['nothing is known of the epoch', 'open 0', 1, 'EVIDENCE_MISSING'],
  ['a fence that died', 'closed 1', 1, 'EVIDENCE_MISSING'],
  ['another epoch’s fence', 'closed 1, FENCED 1', 2, 'EVIDENCE_MISSING'],
  ['the way back, not prepared', 'closed 1, REACHED 2@A, COMPARED 2', 2, 'EVIDENCE_MISSING'],
  ['the way back, prepared in another epoch', 'closed 1, REACHED 2@A, PREPARED 1@A', 2, 'EVIDENCE_MISSING'],
  ['too late', 'closed 1, FENCED 1 late', 1, 'DEADLINE_PASSED'],
  ['too late on the way back', 'closed 1, REACHED 2@A late, PREPARED 2@A', 2, 'DEADLINE_PASSED'],
  ['another system took the fence', 'closed 1, FENCED 1 foreign', 1, 'SYSTEM_CHANGED'],
  ['another timeline', 'closed 1, FENCED 1 forked', 1, 'SYSTEM_CHANGED'],
  ['another system on the way back', 'closed 1, REACHED 2@A foreign, PREPARED 2@A', 2, 'SYSTEM_CHANGED'],
  ['another timeline on the way back', 'closed 1, REACHED 2@A forked, PREPARED 2@A', 2, 'SYSTEM_CHANGED'],
  ['decided already, and it stays so', 'closed 1, FENCED 1, PROMOTED 1', 1, 'PROMOTED'],
  ['also past the deadline', 'closed 1, FENCED 1 late, PROMOTED 1', 1, 'PROMOTED'],
  ['aborted: that is the answer', 'closed 1, FENCED 1, ABORTED 1', 1, 'ABORTED'],
])

// prettier-ignore
const ABORT = casesOf([
  ['an epoch that nobody has seen', 'open 0', 1, 'ABORTED', 'open 0, ABORTED 1'],
  ['a fence that died', 'closed 1', 1, 'ABORTED', 'closed 1, ABORTED 1'],
  ['before its deadline: whoever may', 'closed 1, FENCED 1', 1, 'ABORTED', 'closed 1, FENCED 1, ABORTED 1'],
  ['past its deadline', 'closed 1, FENCED 1 late', 1, 'ABORTED', 'closed 1, FENCED 1, ABORTED 1'],
  ['the way back, prepared', 'closed 1, REACHED 2@A, PREPARED 2@A', 2, 'ABORTED', 'closed 1, REACHED 2@A, PREPARED 2@A, ABORTED 2'],
  ['another system took the fence: a person must look', 'closed 1, FENCED 1 foreign', 1, 'SYSTEM_CHANGED'],
  ['another timeline', 'closed 1, FENCED 1 forked', 1, 'SYSTEM_CHANGED'],
  ['another system on the way back', 'closed 1, REACHED 2@A foreign', 2, 'SYSTEM_CHANGED'],
  ['promoted: that is the answer', 'closed 1, FENCED 1, PROMOTED 1', 1, 'PROMOTED'],
  ['decided before the system changed: that is the answer', 'closed 1, FENCED 1 foreign, PROMOTED 1', 1, 'PROMOTED'],
])

const fence = (epoch: number) => ({
  slice: slice.name,
  epoch,
  deadlineMs: LATER_MS,
  legacy: system,
  service: system,
})
const promote = (wanted: Verdict) => (epoch: number) =>
  decide(legacy.apply, slice.name, epoch, wanted)
const both = [legacy, service] as const
const TABLES = [
  ...both.map(at => ({
    name: 'fence',
    at,
    cases: FENCE,
    call: (epoch: number) => takeFence(at.apply, fence(epoch)),
  })),
  ...both.map(at => ({
    name: 'set_gate',
    at,
    cases: SET_GATE,
    call: (epoch: number) => setGate(at.apply, slice.name, epoch),
  })),
  ...both.map(at => ({
    name: 'prepare',
    at,
    cases: PREPARE,
    call: (epoch: number) => prepare(at.apply, preparation(at.side, slice, epoch)),
  })),
  { name: 'decide PROMOTED', at: legacy, cases: PROMOTE, call: promote('PROMOTED') },
  { name: 'decide ABORTED', at: legacy, cases: ABORT, call: promote('ABORTED') },
]

for (const { name, at, cases, call } of TABLES) {
  void t.test(`${name} in ${at.side === 'legacy' ? 'legacy' : 'a service'}`, async t => {
    for (const { because, before, epoch, answer, after = before } of cases) {
      await put(at, slice, system, before)
      t.equal(await outcome(call(epoch)), answer, `${because}: ${before} · epoch ${epoch}`)
      t.equal(await read(at, slice), known(after), `and then: ${after}`)
    }
  })
}

void t.test('a service has no decide: it has copies of what legacy decided', async t => {
  await put(service, slice, system, 'closed 0')
  t.equal(await outcome(decide(service.apply, slice.name, 1, 'ABORTED')), '42883')
})

void t.test('a slice without a gate is refused by name', async t => {
  t.equal(await outcome(setGate(legacy.apply, 'nobody', 1)), 'WORD_REFUSED')
  t.equal(await outcome(takeFence(legacy.apply, { ...fence(1), slice: 'nobody' })), 'WORD_REFUSED')
})
