/** `npm run score`, for the façade alone: the published figure is the whole table. */
import t from 'tap'
import { FACADE, OTHERS, score } from '../../bench/contestants.ts'
import { WIRE_CASES } from '../support/wire-cases.ts'

void t.test('the façade’s score is complete', async t => {
  const { exact, failed } = await score(FACADE, WIRE_CASES)
  t.strictSame(
    failed.map(({ name }) => name),
    [],
  )
  t.equal(exact, WIRE_CASES.length)
})

void t.test('a proxy that changes a path does not score it', async t => {
  const collapsing = OTHERS.find(({ name }) => name === 'http-proxy')
  const cases = WIRE_CASES.filter(({ name }) => name.startsWith('target /'))
  if (!collapsing) return t.fail('http-proxy is there')
  const { lenient, failed } = await score(collapsing, cases)
  t.ok(failed.some(({ name }) => name === 'target //x//y'))
  t.equal(lenient, cases.length - failed.length)
  t.ok(lenient > 0)
})
