import fc from 'fast-check'
import t from 'tap'
import type { Aliases } from '../../model/orders.ts'
import { ALIASES, canonicalSegment, pathOf, readingsOf } from '../../router/canonical.ts'
import { compileTable } from '../../router/table.ts'
import { ordersOf, sliceOrder } from '../support/router-control.ts'

const PRESETS = Object.keys(ALIASES) as Aliases[]

function read(target: string, preset: Aliases): string[] | undefined {
  return readingsOf(target, ALIASES[preset])?.map(reading => `/${reading.join('/')}`)
}

void t.test('a path has one reading unless something in it is unusual', async t => {
  for (const preset of PRESETS) {
    t.strictSame(read('/api/appointments/17?x=/../y', preset), ['/api/appointments/17'], preset)
    t.strictSame(read('/', preset), ['/'], preset)
    t.strictSame(read('/%61pi/caf%c3%a9/a%20b', preset), ['/api/café/a b'], preset)
    t.strictSame(read('*', preset), [], preset)
  }
})

// prettier-ignore
const SAME: readonly [Aliases, string, string][] = [
  ['express', '/API/Appointments/1', '/api/appointments/1'],
  ['express', '/api/appointments/', '/api/appointments'],
  ['rails',   '/api/appointments/1.json', '/api/appointments/1'],
  ['rails',   '/api//appointments', '/api/appointments'],
  ['spring',  '/api/appointments;jsessionid=7/1;v=2', '/api/appointments/1'],
  ['aspnet',  '/API/appointments./1', '/api/appointments/1'],
  ['aspnet',  '/api\\appointments', '/api/appointments'],
  ['php',     '/api/x/../appointments', '/api/appointments'],
  ['strict',  '/api/%61ppointments', '/api/appointments'],
]

void t.test('each preset reads its framework’s spellings as one', async t => {
  for (const [preset, spelling, path] of SAME) {
    const readings = read(spelling, preset) ?? []
    t.ok(readings.includes(path), `${preset}: ${spelling}`)
  }
})

// prettier-ignore
const DIFFERENT: readonly [Aliases, string, string][] = [
  ['rails',   '/API/appointments', '/api/appointments'],
  ['spring',  '/api/Appointments', '/api/appointments'],
  ['express', '/api/appointments.json', '/api/appointments'],
  ['express', '/api/appointments;x', '/api/appointments'],
  ['strict',  '/api/appointments/', '/api/appointments'],
  ['strict',  '/api//appointments', '/api/appointments'],
  ['strict',  '/api/x/../appointments', '/api/appointments'],
  ['strict',  '/api%2Fappointments', '/api/appointments'],
]

void t.test('and no others', async t => {
  for (const [preset, spelling, path] of DIFFERENT) {
    t.notOk(read(spelling, preset)?.includes(path), `${preset}: ${spelling}`)
  }
})

void t.test('where two readings are possible, both are there', async t => {
  const both = (target: string, path: string) => {
    const readings = read(target, 'express') ?? []
    t.ok(readings.length > 1 && readings.includes(path), target)
  }
  both('/api//appointments/1', '/api/appointments/1')
  both('/api/./appointments/1', '/api/appointments/1')
  both('/api/x/%2e%2e/appointments/1', '/api/appointments/1')
  both('/api%2Fappointments/1', '/api/appointments/1')
  both('/api\\appointments/1', '/api/appointments/1')
  both('/api%5cappointments/1', '/api/appointments/1')
  both('/api/%2561ppointments/1', '/api/appointments/1')
  both('/api/appointments%00.png', '/api/appointments')
  both('/api/x%2f..%2fappointments', '/api/appointments')
})

void t.test('malformed escapes read as what they say', async t => {
  t.strictSame(read('/100%/x', 'express'), ['/100%25/x'])
  t.strictSame(read('/caf%E9', 'express'), ['/caf%E9'])
  t.strictSame(read('/%zz', 'express'), ['/%25zz'])
})

void t.test('the path of a target is what stands before its query, in every form', async t => {
  t.equal(pathOf('/a/b?c#d'), '/a/b')
  t.equal(pathOf('http://host:80/a?b'), '/a')
  t.equal(pathOf('http://host'), '/')
  t.equal(pathOf('*'), '*')
})

void t.test('an unusual path beyond the limit is not read at all', async t => {
  t.equal(readingsOf(`/${'a'.repeat(3000)}//x`, ALIASES.express), undefined)
  t.equal(readingsOf(`/${'a'.repeat(3000)}/x`, ALIASES.express)?.length, 1)
})

const seed = Date.now()
t.comment(`seed ${seed}`)

void t.test('a canonical segment is its own canonical form', async () => {
  const text = fc.oneof(fc.string(), fc.stringMatching(/^(%[0-9a-f]{2}|[a-z;.%\\]){0,8}$/))
  const preset = fc.constantFrom(...PRESETS)
  fc.assert(
    fc.property(text, preset, (segment, name) => {
      const once = canonicalSegment(segment.replaceAll('/', ''), ALIASES[name])
      return canonicalSegment(once, ALIASES[name]) === once
    }),
    {
      seed,
      numRuns: 300,
      examples: [
        ['%a0%20%c2%aa', 'express'],
        ['%c2', 'rails'],
      ],
    },
  )
})

/** Ways to spell a path that Express, or what stands in front of it, may take for the same. */
const MUTATIONS: readonly ((path: string, at: number) => string)[] = [
  (path, at) => replaceAt(path, at, char => `%${char.charCodeAt(0).toString(16)}`),
  (path, at) => replaceAt(path, at, char => char.toUpperCase()),
  (path, at) => replaceAt(path, at, char => `%25${char.charCodeAt(0).toString(16)}`),
  (path, at) => atSlash(path, at, '//'),
  (path, at) => atSlash(path, at, '/./'),
  (path, at) => atSlash(path, at, '/x/../'),
  (path, at) => atSlash(path, at, '/%2e/'),
  (path, at) => atSlash(path, at, '%2F'),
  (path, at) => atSlash(path, at, '\\'),
  (path, at) => atSlash(path, at, '%5c'),
  path => `${path}/`,
  path => `${path}%00.png`,
]

function replaceAt(path: string, at: number, change: (char: string) => string): string {
  const index = 1 + (at % (path.length - 1))
  const char = path[index] ?? ''
  // Not inside an escape: that would spell something else.
  const escaped = path.slice(Math.max(0, index - 4), index).includes('%')
  return /[a-z]/.test(char) && !escaped
    ? path.slice(0, index) + change(char) + path.slice(index + 1)
    : path
}

function atSlash(path: string, at: number, by: string): string {
  const slashes = [...path.matchAll(/\//g)].map(match => match.index).filter(index => index > 0)
  const index = slashes[at % slashes.length]
  return index === undefined ? path : path.slice(0, index) + by + path.slice(index + 1)
}

void t.test('no spelling of a moved path is simply given to legacy', async () => {
  const table = compileTable(ordersOf('http://l', 'http://s', [sliceOrder('moved')]))
  const mutation = fc.constantFrom(...MUTATIONS)
  const steps = fc.array(fc.record({ mutation, at: fc.nat(40) }), { minLength: 1, maxLength: 4 })
  const path = fc.constantFrom('/api/appointments/17', '/api/appointments', '/api/slots/3/take')
  fc.assert(
    fc.property(path, steps, (start, mutations) => {
      const spelled = mutations.reduce<string>(
        (text, { mutation, at }) => mutation(text, at),
        start,
      )
      return table.find(['POST', 'PATCH', 'GET'], spelled).kind !== 'none'
    }),
    { seed, numRuns: 500 },
  )
})
