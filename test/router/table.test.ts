import t from 'tap'
import type { SliceOrder } from '../../model/orders.ts'
import { compareSpecificity, matchPattern, parseRoute, pathSegments } from '../../model/route.ts'
import { compileTable } from '../../router/table.ts'
import { ordersOf, sliceOrder } from '../support/router-control.ts'

function slice(name: string, routes: readonly string[], changes: Partial<SliceOrder> = {}) {
  return sliceOrder('moved', { name, routes: routes.map(parseRoute), ...changes })
}

function table(slices: readonly SliceOrder[], aliases: 'express' | 'strict' = 'express') {
  return compileTable(ordersOf('http://l', 'http://s', slices, { aliases }))
}

function nameOf(found: ReturnType<ReturnType<typeof table>['find']>): string {
  return found.kind === 'one' ? found.slice.name : found.kind
}

void t.test('the most specific route wins, whatever the order of the files', async t => {
  const slices = [
    slice('rest', ['/api/**']),
    slice('param', ['GET /api/x/:id']),
    slice('fixed', ['GET /api/x/new']),
    slice('deep', ['GET /api/:kind/:id/notes']),
  ]
  for (const order of [slices, [...slices].reverse()]) {
    const compiled = table(order)
    const at = (method: string, path: string) => nameOf(compiled.find([method], path))
    t.equal(at('GET', '/api/x/new'), 'fixed')
    t.equal(at('GET', '/api/x/7'), 'param')
    t.equal(at('HEAD', '/api/x/7'), 'param')
    t.equal(at('POST', '/api/x/7'), 'rest', 'a route that lacks the method is no match')
    t.equal(at('POST', '/api/x/new'), 'rest')
    t.equal(at('GET', '/api/x/new/notes'), 'deep', 'a dead end is left again')
    t.equal(at('GET', '/api'), 'rest')
    t.equal(at('GET', '/ap'), 'none')
  }
})

void t.test('a tie between slices is an error, also by the framework’s own reading', async t => {
  const clash = (a: string, b: string, aliases?: 'strict') =>
    table([slice('a', [a]), slice('b', [b])], aliases)
  t.throws(() => clash('GET /x/:id', '/x/:name'), { code: 'ROUTE_CONFLICT' })
  t.throws(() => clash('GET /x', 'GET /X/'), { code: 'ROUTE_CONFLICT' })
  t.throws(() => clash('GET /caf%C3%A9', 'GET /café', 'strict'), { code: 'ROUTE_CONFLICT' })
  t.doesNotThrow(() => clash('GET /x', 'GET /X/', 'strict'))
  t.doesNotThrow(() => clash('GET /x/:id', 'POST /x/:id'))
  t.doesNotThrow(() => table([slice('a', ['GET /x', '* /x'])]), 'one slice may overlap itself')
})

void t.test('orders that name an unknown service are refused', async t => {
  t.throws(() => table([slice('a', ['/x'], { service: 'nobody' })]), { code: 'SERVICE_UNKNOWN' })
})

void t.test('the tree finds what a search through all routes finds', async t => {
  const seed = Date.now()
  t.comment(`seed ${seed}`)
  let state = seed % 2147483647
  const random = (below: number) => (state = (state * 48271) % 2147483647) % below
  const words = ['a', 'b', 'c', ':p', ':q', '**']
  const routes = new Map<string, string>()
  while (routes.size < 300) {
    const parts: string[] = []
    const names = new Set<string>()
    for (let i = 0; i <= random(5); i++) {
      const word = words[random(words.length)] ?? 'a'
      if (names.has(word)) continue
      if (word.startsWith(':')) names.add(word)
      parts.push(word)
      if (word === '**') break
    }
    const shape = parts.map(part => (part.startsWith(':') ? ':' : part)).join('/')
    if (!routes.has(shape)) routes.set(shape, `/${parts.join('/')}`)
    if (routes.size > 120 && random(50) === 0) break
  }
  const parsed = [...routes.values()].map(parseRoute)
  const compiled = table(
    parsed.map((route, i) => slice(`s${i}`, [route.pattern])),
    'strict',
  )
  const order = parsed.map((route, i) => ({ route, name: `s${i}` }))
  order.sort((a, b) => compareSpecificity(a.route, b.route))
  const wrong: string[] = []
  for (let i = 0; i < 2000; i++) {
    const parts = Array.from({ length: random(6) }, () => ['a', 'b', 'c', 'd'][random(4)])
    const path = `/${parts.join('/')}`
    const best = order.find(({ route }) => matchPattern(route, pathSegments(path)))
    if (nameOf(compiled.find(['GET'], path)) !== (best?.name ?? 'none')) wrong.push(path)
  }
  t.strictSame(wrong, [])
})

void t.test('a request among ten thousand routes doesn’t look at them all', async t => {
  const paths = Array.from({ length: 10_000 }, (_, i) => `/api/v${i % 10}/thing${i}`)
  const many = table([
    slice(
      'many',
      paths.map(path => `GET ${path}/:id`),
    ),
  ])
  const few = table([
    slice(
      'few',
      paths.slice(0, 10).map(path => `GET ${path}/:id`),
    ),
  ])
  const time = (compiled: typeof many) => {
    const start = process.hrtime.bigint()
    for (let i = 0; i < 20_000; i++) compiled.find(['GET'], `/api/v3/thing3/${i}`)
    return Number(process.hrtime.bigint() - start)
  }
  const best = (compiled: typeof many) => Math.min(...[1, 2, 3, 4, 5].map(() => time(compiled)))
  const [slow, fast] = [best(many), best(few)]
  t.ok(
    slow < 20 * fast,
    `${(slow / 20_000).toFixed(0)} ns against ${(fast / 20_000).toFixed(0)} ns`,
  )
})
