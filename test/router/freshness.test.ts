import t from 'tap'
import { createBatcher, createTokens } from '../../router/freshness.ts'
import { memoryFreshness } from '../support/router-control.ts'

const turn = () => new Promise<void>(resolve => setImmediate(resolve))

function openGate() {
  let open = (): void => {}
  const gate = new Promise<void>(resolve => (open = resolve))
  return { gate, open }
}

void t.test(
  'a key that wrote reads from the owner until the copy has passed its token',
  async t => {
    const freshness = memoryFreshness()
    freshness.watermarks.set('s', 10n)
    const tokens = createTokens(freshness, 100)
    await turn()
    t.ok(tokens.fresh('s', 'k'))
    const end = tokens.wrote(['k'])
    t.notOk(tokens.fresh('s', 'k'), 'while the request is under way')
    t.ok(tokens.fresh('s', 'other'))
    freshness.position = 20n
    end()
    t.notOk(tokens.fresh('s', 'k'), 'while the token is fetched')
    await turn()
    t.notOk(tokens.fresh('s', 'k'), 'while the copy is behind')
    freshness.watermarks.set('s', 19n)
    t.notOk(tokens.fresh('s', 'k'))
    freshness.watermarks.set('s', 20n)
    t.ok(tokens.fresh('s', 'k'))
  },
)

void t.test('what a predecessor forwarded counts as written by everybody', async t => {
  const freshness = memoryFreshness()
  freshness.watermarks.set('s', 10n)
  freshness.position = 20n
  const tokens = createTokens(freshness, 100)
  t.notOk(tokens.fresh('s', 'k'), 'before the position of its beginning is known')
  await turn()
  t.notOk(tokens.fresh('s', 'k'), 'before the copy has it')
  freshness.watermarks.set('s', 20n)
  t.ok(tokens.fresh('s', 'k'))
})

void t.test('an unknown watermark is never fresh', async t => {
  const tokens = createTokens(memoryFreshness(), 100)
  t.notOk(tokens.fresh('s', 'k'))
  t.notOk(tokens.fresh('s', null))
})

void t.test('a token that failed is fetched again, and until then the owner answers', async t => {
  const freshness = memoryFreshness()
  freshness.watermarks.set('s', 10n)
  const tokens = createTokens(freshness, 100)
  await turn()
  freshness.position = undefined
  tokens.wrote(['k'])()
  await turn()
  t.notOk(tokens.fresh('s', 'k'))
  await turn()
  freshness.position = 10n
  t.notOk(tokens.fresh('s', 'k'), 'this read asks for another token')
  await turn()
  t.ok(tokens.fresh('s', 'k'))
})

void t.test('two requests of one key: the later token counts', async t => {
  const freshness = memoryFreshness()
  freshness.watermarks.set('s', 15n)
  freshness.position = 10n
  const tokens = createTokens(freshness, 100)
  const first = tokens.wrote(['k'])
  const second = tokens.wrote(['k'])
  first()
  await turn()
  t.notOk(tokens.fresh('s', 'k'), 'the second is under way')
  freshness.position = 20n
  second()
  await turn()
  t.notOk(tokens.fresh('s', 'k'))
  freshness.watermarks.set('s', 20n)
  t.ok(tokens.fresh('s', 'k'))
})

void t.test('forgetting a key never makes its reads stale', async t => {
  const freshness = memoryFreshness()
  freshness.watermarks.set('s', 10n)
  const tokens = createTokens(freshness, 2)
  for (const [key, position] of [
    ['a', 20n],
    ['b', 5n],
    ['c', 5n],
    ['d', 5n],
  ] as const) {
    freshness.position = position
    tokens.wrote([key])()
    await turn()
  }
  t.notOk(tokens.fresh('s', 'a'), 'a was forgotten, its token stands under all keys')
  freshness.watermarks.set('s', 20n)
  t.ok(tokens.fresh('s', 'a'))
})

void t.test('a forgotten key whose token failed blocks until one is there', async t => {
  const freshness = memoryFreshness()
  freshness.watermarks.set('s', 10n)
  freshness.position = undefined
  const tokens = createTokens(freshness, 1)
  tokens.wrote(['a'])()
  await turn()
  freshness.position = 5n
  tokens.wrote(['b'])()
  await turn()
  t.notOk(tokens.fresh('s', 'a'))
  await turn()
  t.ok(tokens.fresh('s', 'a'))
})

void t.test('one query at a time; who comes meanwhile shares the next', async t => {
  const freshness = memoryFreshness()
  const { gate, open } = openGate()
  freshness.gate = gate
  freshness.position = 1n
  const ask = createBatcher(() => freshness.token())
  const first = ask()
  const later = [ask(), ask(), ask()]
  t.equal(freshness.asked, 1)
  freshness.position = 2n
  open()
  t.equal(await first, 1n)
  t.strictSame(await Promise.all(later), [2n, 2n, 2n], 'a position from after they asked')
  t.equal(freshness.asked, 2)
})

void t.test('a failed query fails its own askers only', async t => {
  const answers = [Promise.reject(new Error('down')), Promise.resolve(7)]
  const ask = createBatcher(() => answers.shift() as Promise<number>)
  const first = ask()
  const second = ask()
  await t.rejects(first, /down/)
  t.equal(await second, 7)
})
