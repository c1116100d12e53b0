import t from 'tap'
import type { HoldOrder, SliceOrder } from '../../model/orders.ts'
import { STAGE_NAMES } from '../../model/stage.ts'
import type { Side, Stage } from '../../model/stage.ts'
import { decide, isUnsafe } from '../../router/decide.ts'
import type { Forward, Reason } from '../../router/decide.ts'
import { bucketOf } from '../../router/keys.ts'
import type { RequestFacts } from '../../router/keys.ts'
import { compileTable } from '../../router/table.ts'
import { ordersOf, sliceOrder } from '../support/router-control.ts'

const HOLD: HoldOrder = { epoch: 7, holdMs: 2000, maxHeld: 10, maxHeldBodyBytes: 1000 }
const KEY = 'header:x-tenant-id=acme'
const IN = (bucketOf(KEY) + 1) / 100
const OUT = bucketOf(KEY) / 100

function facts(
  method: string,
  target = '/api/appointments/1',
  headers: Record<string, string> = {},
): RequestFacts {
  return { method, target, header: name => headers[name] }
}

function decideAt(
  stage: Stage,
  request: RequestFacts,
  options: { slice?: Partial<SliceOrder>; fresh?: boolean } = {},
): Forward {
  const slice = sliceOrder(stage, options.slice)
  const table = compileTable(ordersOf('http://l', 'http://s', [slice]))
  const decision = decide(table, request, () => options.fresh ?? true)
  if (decision.kind === 'refuse') throw new Error('refused')
  return decision
}

interface Cell {
  readonly side: Side
  readonly reason: Reason
  readonly shadow?: true
  readonly fallback?: true
}

// The stage table of the blueprint, as a request meets it. `canary` has a table of its own below.
const SAFE: Readonly<Record<Exclude<Stage, 'canary'>, Cell>> = {
  legacy: { side: 'legacy', reason: 'stage' },
  sync: { side: 'legacy', reason: 'stage' },
  shadow: { side: 'legacy', reason: 'stage', shadow: true },
  moved: { side: 'service', reason: 'stage' },
  retired: { side: 'service', reason: 'stage' },
}
const OWNER: Readonly<Record<Stage, Side>> = {
  legacy: 'legacy',
  sync: 'legacy',
  shadow: 'legacy',
  canary: 'legacy',
  moved: 'service',
  retired: 'service',
}

function cellOf({ side, reason, shadow, fallback }: Forward): Cell {
  return {
    side,
    reason,
    ...(shadow ? ({ shadow } as const) : {}),
    ...(fallback ? ({ fallback } as const) : {}),
  }
}

void t.test('safe requests go where the stage says', async t => {
  for (const [stage, cell] of Object.entries(SAFE)) {
    for (const method of ['GET', 'HEAD']) {
      const decision = decideAt(stage as Stage, facts(method))
      t.strictSame(cellOf(decision), cell, `${stage} ${method}`)
      t.notOk(decision.unsafe)
    }
  }
})

void t.test('unsafe requests go to the owner in every stage, whatever their key', async t => {
  for (const stage of STAGE_NAMES) {
    for (const method of ['PATCH', 'DELETE']) {
      for (const percent of [0, IN, 100]) {
        const request = facts(method, undefined, { 'x-tenant-id': 'acme', 'x-beta': '1' })
        const decision = decideAt(stage, request, { slice: { percent } })
        t.strictSame(cellOf(decision), { side: OWNER[stage], reason: 'owner' }, stage)
        t.ok(decision.unsafe)
      }
    }
  }
})

// prettier-ignore
const CANARY: readonly [Record<string, string>, number, boolean, Cell][] = [
  // headers                                  percent  fresh
  [{},                                        100,     true,  { side: 'legacy',  reason: 'no-key' }],
  [{ 'x-tenant-id': 'acme' },                 0,       true,  { side: 'legacy',  reason: 'outside' }],
  [{ 'x-tenant-id': 'acme' },                 OUT,     true,  { side: 'legacy',  reason: 'outside' }],
  [{ 'x-tenant-id': 'acme' },                 IN,      true,  { side: 'service', reason: 'chosen', fallback: true }],
  [{ 'x-tenant-id': 'acme' },                 IN,      false, { side: 'legacy',  reason: 'stale' }],
  [{ 'x-tenant-id': 'acme' },                 100,     true,  { side: 'service', reason: 'chosen', fallback: true }],
  [{ cookie: 'a=b; clinic_sid=s1; c=d' },     100,     true,  { side: 'service', reason: 'chosen', fallback: true }],
  [{ cookie: 'xclinic_sid=s1' },              100,     true,  { side: 'legacy',  reason: 'no-key' }],
  [{ 'x-beta': '1' },                         0,       true,  { side: 'service', reason: 'included', fallback: true }],
  [{ 'x-beta': '1' },                         0,       false, { side: 'legacy',  reason: 'stale' }],
  [{ 'x-beta': '2' },                         0,       true,  { side: 'legacy',  reason: 'no-key' }],
  [{ 'x-tenant-id': 'acme', 'x-beta': '1' },  0,       true,  { side: 'service', reason: 'included', fallback: true }],
  [{ 'x-tenant-id': 'acme', 'x-beta': '1' },  0,       false, { side: 'legacy',  reason: 'stale' }],
]

void t.test('a slice without tables has nothing that could be stale', async t => {
  const request = facts('GET', undefined, { 'x-tenant-id': 'acme' })
  const slice = { percent: 100, ownsTables: false }
  t.match(decideAt('canary', request, { slice, fresh: false }), { side: 'service' })
})

void t.test('canary reads are split by key, include rule and freshness', async t => {
  for (const [headers, percent, fresh, cell] of CANARY) {
    const request = facts('GET', undefined, headers)
    const decision = decideAt('canary', request, { slice: { percent }, fresh })
    t.strictSame(cellOf(decision), cell, JSON.stringify({ headers, percent, fresh }))
  }
})

void t.test('a hold parks unsafe requests of its slice and nothing else', async t => {
  for (const stage of ['canary', 'moved'] as const) {
    t.strictSame(decideAt(stage, facts('PATCH'), { slice: { hold: HOLD } }).hold, HOLD)
    t.equal(decideAt(stage, facts('GET'), { slice: { hold: HOLD } }).hold, null)
    t.equal(decideAt(stage, facts('POST', '/other'), { slice: { hold: HOLD } }).hold, null)
  }
})

void t.test('what no route matches goes to legacy', async t => {
  for (const stage of STAGE_NAMES) {
    for (const [method, target] of [
      ['GET', '/'],
      ['PUT', '/api/appointments/1'],
      ['GET', '/api/appointments/1/notes'],
      ['OPTIONS', '*'],
    ] as const) {
      const decision = decideAt(stage, facts(method, target))
      t.match(decision, { side: 'legacy', reason: 'unmatched', slice: null, route: null })
    }
  }
})

void t.test(
  'a method override makes any request unsafe, and is routed as either method',
  async t => {
    for (const name of ['x-http-method-override', 'x-http-method', 'x-method-override']) {
      const get = facts('GET', undefined, { [name]: 'GET' })
      t.ok(isUnsafe(get))
      t.match(decideAt('moved', get), { side: 'service', reason: 'owner', unsafe: true })
      // POST isn't routed to the slice at this path, DELETE is: legacy must not get it by its other name.
      const post = facts('POST', undefined, { [name]: 'delete' })
      t.throws(() => decideAt('moved', post), /refused/)
      t.match(decideAt('shadow', post), { side: 'legacy', reason: 'unclear', unsafe: true })
    }
  },
)

void t.test('an unclear path is refused only where legacy may be the wrong answer', async t => {
  const unclear = '/api//appointments/1'
  for (const stage of STAGE_NAMES) {
    const owned = OWNER[stage] === 'legacy'
    for (const method of ['GET', 'PATCH']) {
      if (owned) t.match(decideAt(stage, facts(method, unclear)), { side: 'legacy', slice: null })
      else t.throws(() => decideAt(stage, facts(method, unclear)), /refused/, `${stage} ${method}`)
    }
  }
  const held = { slice: { hold: HOLD } }
  t.throws(() => decideAt('canary', facts('PATCH', unclear), held), /refused/)
  t.match(decideAt('canary', facts('GET', unclear), held), { side: 'legacy', reason: 'unclear' })
})

void t.test('growing the percentage only ever adds keys', async t => {
  const keys = Array.from({ length: 500 }, (_, i) => `t${i}`)
  const chosenAt = (percent: number) =>
    keys.filter(key => {
      const request = facts('GET', undefined, { 'x-tenant-id': key })
      return decideAt('canary', request, { slice: { percent } }).side === 'service'
    })
  let before: string[] = []
  for (const percent of [0, 1, 5, 25, 50, 100]) {
    const now = chosenAt(percent)
    t.strictSame(
      before.filter(key => !now.includes(key)),
      [],
      `${percent} %`,
    )
    before = now
  }
  t.equal(before.length, keys.length)
})
