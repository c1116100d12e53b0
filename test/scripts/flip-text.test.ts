import t from 'tap'
import type { FlipRow } from '../../control/store/flips.ts'
import { leftText, progressText } from '../../scripts/flip-text.ts'
import { liveLine } from '../../scripts/live.ts'

const STEPS = ['hold', 'drain', 'fence', 'reach', 'compare', 'prepare', 'decide', 'open', 'publish']

/** Under way at the n-th step; 0: not begun. */
function flip(n: number, change: Partial<FlipRow> = {}): FlipRow {
  const steps = STEPS.slice(0, n).map((step, at) => ({
    ...{ step, ms: at === n - 1 ? null : 3.4, detail: null },
  }))
  return {
    ...{ id: 1, slice: 'visits', from: 'canary', to: 'moved', percent: 0, actor: 'ann' },
    ...{
      reason: null,
      proof: null,
      kind: 'flip',
      epoch: 1,
      startedAtMs: n === 0 ? null : 1,
      endedAtMs: null,
    },
    ...{ outcome: null, error: null, steps, ...change },
  }
}

const left = (row: FlipRow, ours: boolean) => leftText(row, { ours, holdMs: 2_000 })

void t.test('whoever stops waiting is told what becomes of the flip', t => {
  t.match(left(flip(0), false), /^it has not begun; it stays asked for, and begins without you/)
  t.equal(left(flip(0), true), 'it has not begun, and is taken back')
  for (let n = 1; n <= STEPS.length; n += 1) {
    const at = STEPS[n - 1]
    for (const ours of [true, false]) {
      const text = left(flip(n), ours)
      const claim = `${at}, ${ours ? 'by ourselves' : 'by another'}: ${text}`
      if (n < 7) t.match(text, `it is at ${at}, before its decision: `, claim)
      else if (n === 7) t.match(text, /^it is being decided at this moment/, claim)
      else
        t.match(text, /^it is past its decision: it completes .*, and visits goes to moved$/, claim)
    }
    if (n < 7) t.match(left(flip(n), true), /it is undone and visits stays at canary, unless/)
    if (n < 7) t.match(left(flip(n), false), /within 2 s of its hold it completes or undoes itself/)
  }
  // The answer to the decision was lost: it was made or it was not.
  const lost = flip(7).steps.map(each => ({ ...each, ms: 1, detail: { failed: 'UNREACHABLE' } }))
  t.match(left(flip(7, { steps: lost }), false), /^it is being decided/)
  const reads = flip(1, { steps: [], from: 'sync', to: 'shadow' })
  t.equal(left(reads, false), 'it has begun, and goes on to shadow without you')
  t.match(left(flip(2, { kind: 'rehearsal' }), false), /nothing moves$/)
  t.end()
})

void t.test('its steps in one line, as far as they are', t => {
  t.equal(progressText(flip(0)), 'canary → moved: the checks …')
  t.equal(progressText(flip(3)), 'canary → moved: hold 3 · drain 3 · fence …')
  t.equal(progressText(flip(1, { steps: [] })), 'canary → moved …')
  t.equal(progressText(flip(1, { kind: 'rehearsal' })), 'rehearses: hold …')
  t.end()
})

void t.test('a line that is written again and again stays one line', t => {
  let text = ''
  const context = { json: false, columns: 20, write: (part: string) => void (text += part) }
  const line = liveLine(context, true)
  line.show('a')
  line.show('a')
  line.show('0123456789 0123456789')
  line.clear()
  line.clear()
  t.equal(text, '\r\u001b[Ka\r\u001b[K0123456789 0123456…\r\u001b[K', 'one column is left free')
  text = ''
  for (const hidden of [liveLine(context, false), liveLine({ ...context, json: true }, true)]) {
    hidden.show('a')
    hidden.clear()
    t.equal(hidden.hidden, true)
  }
  t.equal(text, '', 'nothing in a pipe, nothing between the lines of a document')
  t.end()
})
