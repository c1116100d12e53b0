import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import {
  compareSpecificity,
  conflict,
  coversMethod,
  formatRoute,
  matchPattern,
  parseRoute,
  pathSegments,
} from '../../model/route.ts'

void t.test('a route is a method set and a pattern, in four spellings', async t => {
  t.strictSame(parseRoute('GET /api/x/:id'), {
    methods: ['GET'],
    pattern: '/api/x/:id',
    segments: [
      { kind: 'static', text: 'api' },
      { kind: 'static', text: 'x' },
      { kind: 'param', name: 'id' },
    ],
  })
  t.strictSame(parseRoute('patch,DELETE,PATCH /x').methods, ['DELETE', 'PATCH'])
  t.strictSame(parseRoute('* /api/slots/**').methods, [])
  t.strictSame(parseRoute('/api/slots/**').segments.at(-1), { kind: 'rest' })
  t.strictSame(parseRoute('/').segments, [])
  t.strictSame(parseRoute('/x/').segments.at(-1), { kind: 'static', text: '' })
  t.equal(formatRoute(parseRoute(' GET,POST   /api/x ')), 'GET,POST /api/x')
  t.equal(formatRoute(parseRoute('/api/x')), '* /api/x')
})

const REFUSED = [
  '',
  'GET',
  'GET api/x',
  'GET, POST /x',
  'GET /x y',
  'G€T /x',
  '/x?y=1',
  '/x#y',
  '/x\\y',
  '/x//y',
  '/x/../y',
  '/x/./y',
  '/x/**/y',
  '/x/*',
  '/x/a*',
  '/x/:',
  '/x/:1a',
  '/x/:id.json',
  '/:id/:id',
]

void t.test('what could be misread is refused by name', async t => {
  for (const text of REFUSED) {
    t.throws(() => parseRoute(text), { code: 'ROUTE_INVALID' }, JSON.stringify(text))
  }
})

void t.test(
  '`**` matches zero or more segments, a parameter exactly one that is not empty',
  async t => {
    const rest = parseRoute('/api/slots/**')
    const param = parseRoute('/api/x/:id')
    const matches = (route: typeof rest, path: string) => matchPattern(route, pathSegments(path))
    for (const path of ['/api/slots', '/api/slots/', '/api/slots/1', '/api/slots/1/2/take']) {
      t.ok(matches(rest, path), path)
    }
    t.notOk(matches(rest, '/api/slot'))
    t.ok(matches(param, '/api/x/1'))
    for (const path of ['/api/x', '/api/x/', '/api/x/1/', '/api/x/1/2'])
      t.notOk(matches(param, path))
  },
)

void t.test('a GET route answers HEAD, and nothing else that it does not name', async t => {
  const get = parseRoute('GET /x')
  t.ok(coversMethod(get, 'HEAD'))
  t.notOk(coversMethod(get, 'POST'))
  t.notOk(coversMethod(parseRoute('POST /x'), 'HEAD'))
  t.ok(coversMethod(parseRoute('/x'), 'PROPFIND'))
})

void t.test('static is more specific than a parameter, that than `**`, from the left', async t => {
  const order = ['/a/b', '/a', '/a/:x', '/a/**', '/:x/b', '/:x', '/**']
  const sorted = [...order].reverse().map(parseRoute).sort(compareSpecificity)
  t.strictSame(
    sorted.map(route => route.pattern),
    order,
  )
})

void t.test('equal specificity, a shared path and a shared method are a conflict', async t => {
  const clash = (a: string, b: string) => conflict(parseRoute(a), parseRoute(b))
  t.ok(clash('GET /x/:id', 'GET,PUT /x/:name'))
  t.ok(clash('GET /x/:id', '* /x/:name'))
  t.ok(clash('GET /x', 'HEAD /x'), 'GET answers HEAD')
  t.ok(clash('/x/**', '/x/**'))
  t.notOk(clash('GET /x/:id', 'POST /x/:id'))
  t.notOk(clash('GET /x/:id', 'GET /x/new'))
  t.notOk(clash('GET /x/:id', 'GET /y/:id'))
  t.notOk(clash('GET /X', 'GET /x'))
  const folded = (text: string) => text.toLowerCase()
  t.ok(conflict(parseRoute('GET /X'), parseRoute('GET /x'), folded), 'where case does not count')
})

void t.test('parse(format(route)) is the route', async t => {
  const segment = fc.oneof(
    fc.stringMatching(/^[a-z0-9~_-]{1,6}$/),
    fc.stringMatching(/^:[a-z]{4,8}$/),
  )
  const route = fc.record({
    methods: fc.subarray(['GET', 'POST', 'PUT', 'M-SEARCH']),
    segments: fc.uniqueArray(segment, { maxLength: 5 }),
    rest: fc.boolean(),
  })
  const seed = Date.now()
  t.comment(`seed ${seed}`)
  fc.assert(
    fc.property(route, ({ methods, segments, rest }) => {
      const pattern = `/${[...segments, ...(rest ? ['**'] : [])].join('/')}`
      const parsed = parseRoute(`${methods.join(',') || '*'} ${pattern}`)
      return isDeepStrictEqual(parseRoute(formatRoute(parsed)), parsed)
    }),
    { seed, numRuns: 50 },
  )
})
