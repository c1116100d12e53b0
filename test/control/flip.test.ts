import { deepStrictEqual } from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import type { SliceFacts } from '../../control/facts.ts'
import { decideFlip } from '../../control/flip.ts'
import type { WayBack } from '../../control/way-back.ts'
import { movesOwner, type Stage, STAGE_NAMES, STAGES } from '../../model/stage.ts'

const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31)
t.comment(`SEED=${seed}`)

const stream = (name: string) =>
  ({ name, state: 'streaming', lagMs: 10, silentMs: 100, error: null }) as const

/** A slice that nothing stands in the way of. */
function green(stage: Stage): SliceFacts {
  return {
    slice: 'visits',
    stage,
    ownsTables: true,
    preflight: [],
    streams: [stream('legacy>rooms:visits'), stream('rooms>legacy:visits')],
    routers: [{ address: '127.0.0.1:8080', version: 7 }],
    ordersVersion: 7,
    serviceReady: { ok: true, why: '', mend: '' },
    verification: { ageMs: 60_000, rows: 100, differences: 0 },
    outdated: null,
    unanswered: [],
    foreignWriters: [],
    rogueWrites: 0,
    fingerprints: [
      { side: 'legacy', difference: null },
      { side: 'rooms', difference: null },
    ],
    approval: null,
    changedDatabases: [],
    limits: { lagMaxMs: 1_000, verifyMaxAgeMs: 86_400_000 },
    abandoned: null,
    wayBack: null,
    silentMaxMs: 3_000,
  }
}

const changed =
  (change: Partial<SliceFacts>) =>
  (facts: SliceFacts): SliceFacts => ({ ...facts, ...change })
const first =
  (change: Partial<SliceFacts['streams'][number]>) =>
  (facts: SliceFacts): SliceFacts => ({
    ...facts,
    streams: facts.streams.map((each, n) => (n === 0 ? { ...each, ...change } : each)),
  })

interface Red {
  readonly code: string
  /** What the message says of it. */
  readonly says: RegExp
  /** Of a kind, one at a time is red: they are about the same thing. */
  readonly about: string
  readonly make: (facts: SliceFacts) => SliceFacts
}

const red = (code: string, says: RegExp, about: string, make: Red['make']): Red => ({
  ...{ code, says, about, make },
})

const crossing = {
  ...{ code: 'FK_CROSSES', message: 'bills.visit_id crosses', hint: 'answer it' },
  ...{ file: 'slices/visits.yaml', line: 3, column: 5 },
} as unknown as SliceFacts['unanswered'][number]

function lossy(count: number | null): WayBack {
  const unknown = count === null ? 'the slot is gone' : null
  const loses = { count, more: false, writes: [], unknown }
  return { state: 'broken', why: 'it diverged', loses }
}

const approval = (by: string[], own: boolean): SliceFacts['approval'] => ({
  plan: { hash: '7f3a91bb', slice: 'visits', from: 'canary', to: 'moved', percent: 0, epoch: 0 },
  ...{ needed: 2, others: true, by, own },
})

// prettier-ignore
const REDS: Record<string, Red> = {
  preflight: red('TABLE_MISSING', /no table/, 'preflight', changed({ preflight: [{ code: 'TABLE_MISSING', message: 'no table', hint: 'make it' }] })),
  copying: red('NOT_IN_STEP', /legacy>rooms:visits is still copying/, 'state', first({ state: 'copying' })),
  broken: red('DIVERGED', /legacy>rooms:visits: a row is missing/, 'state', first({ error: { code: 'DIVERGED', message: 'a row is missing' } })),
  unheard: red('STREAM_SILENT', /nothing was ever heard/, 'heard', first({ silentMs: null })),
  silent: red('STREAM_SILENT', /for 3\.0 s/, 'heard', first({ silentMs: 3_001 })),
  behind: red('LAG', /1\.0 s behind; the limit is 1\.0 s/, 'lag', first({ lagMs: 1_001 })),
  down: red('SERVICE_DOWN', /refused/, 'ready', changed({ serviceReady: { ok: false, why: 'refused', mend: 'start it' } })),
  unverified: red('VERIFY_MISSING', /never compared/, 'verified', changed({ verification: null })),
  different: red('VERIFY_DIFFERS', /found 3 rows/, 'verified', changed({ verification: { ageMs: 1, rows: 9, differences: 3 } })),
  outdated: red('VERIFY_STALE', /began anew/, 'verified', changed({ verification: null, outdated: 'its worker began anew since' })),
  stale: red('VERIFY_STALE', /24 h old/, 'verified', changed({ verification: { ageMs: 86_400_001, rows: 9, differences: 0 } })),
  unanswered: red('FK_CROSSES', /slices\/visits.yaml:3:5/, 'answered', changed({ unanswered: [crossing] })),
  foreign: red('FOREIGN_WRITER', /^nightly writes .* about 12 times a day/, 'writers', changed({ foreignWriters: [{ name: 'nightly', perDay: 12 }] })),
  routerless: red('ROUTER_MISSING', /no router/, 'routers', changed({ routers: [] })),
  oldTable: red('ROUTER_BEHIND', /is on table 6, not 7/, 'routers', changed({ routers: [{ address: 'a:1', version: 6 }] })),
  unapproved: red('APPROVAL', /^2 other persons must approve plan 7f3a91 .*: so far only bob@desk; one's own/, 'approval', changed({ approval: approval(['bob@desk'], true) })),
  alone: red('APPROVAL', /^2 other persons .*: nobody has$/, 'approval', changed({ approval: approval([], false) })),
  rogue: red('ROGUE_WRITES', /^2 writes went round the gate/, 'rogue', changed({ rogueWrites: 2 })),
  givenUp: red('ABANDONED', /"rooms" was given up and has not come back/, 'abandoned', changed({ abandoned: { service: 'rooms', why: 'has not come back' } })),
  lossy: red('WOULD_LOSE', /would lose 212 writes of "visits": it diverged/, 'loses', changed({ wayBack: { service: 'rooms', fact: lossy(212) } })),
  unknown: red('WOULD_LOSE', /how many is not known, of "visits": the slot is gone/, 'loses', changed({ wayBack: { service: 'rooms', fact: lossy(null) } })),
  away: red('SERVICE_AWAY', /"rooms", which owns/, 'loses', changed({ wayBack: { service: 'rooms', fact: { state: 'away', why: 'refused', loses: null } } })),
  another: red('DATABASE_CHANGED', /^legacy is another .* was system 7 timeline 1, it is system 7 timeline 2/, 'database', changed({ changedDatabases: [{ side: 'legacy', was: '7 timeline 1', is: '7 timeline 2' }] })),
  fingerprint: red('FINGERPRINT', /in rooms: a column is new/, 'fingerprint', changed({ fingerprints: [{ side: 'rooms', difference: 'a column is new' }] })),
}

const IN_STEP = ['copying', 'broken', 'unheard', 'silent']
const BACK_FROM_MOVED = [
  ...IN_STEP,
  ...['behind', 'routerless', 'oldTable', 'rogue', 'fingerprint', 'another', 'unapproved', 'alone'],
  ...['lossy', 'unknown', 'away'],
]
const HOME = ['preflight', 'givenUp', 'lossy', 'unknown', 'away']
const TO_OWN = Object.keys(REDS).filter(name => !HOME.includes(name))

/** Which reds stand in the way of each step that the stages know; all other steps are skips. */
const ASKED: Record<string, readonly string[]> = {
  'legacy sync': ['preflight'],
  'sync shadow': [...IN_STEP, 'down', 'another'],
  'sync legacy': ['givenUp'],
  'shadow canary': [...IN_STEP, 'down', 'another'],
  'shadow sync': [],
  'shadow legacy': ['givenUp'],
  'canary moved': TO_OWN,
  'canary shadow': [],
  'canary sync': [],
  'canary legacy': ['givenUp'],
  'moved canary': BACK_FROM_MOVED,
}
/** About tables and their streams: a slice that owns none has nothing to wait for. */
const ABOUT_TABLES = new Set(Object.keys(REDS))
for (const name of ['down', 'routerless', 'oldTable', 'unapproved', 'alone'])
  ABOUT_TABLES.delete(name)

const steps = Object.entries(ASKED).map(([step, asked]) => {
  const [from, to] = step.split(' ') as [Stage, Stage]
  return { from, to, asked, claim: `${from} → ${to}` }
})

function codes(facts: SliceFacts, to: Stage): string[] {
  const verdict = decideFlip(facts, to)
  return verdict.go ? [] : verdict.blockers.map(each => each.code).sort()
}

void t.test('every step that the stages know is in the table here', async t => {
  const known = STAGE_NAMES.flatMap(from =>
    STAGES[from].next.filter(to => to !== 'retired').map(to => `${from} ${to}`),
  )
  t.strictSame(Object.keys(ASKED).sort(), known.sort())
})

void t.test('with everything green a step goes, fenced where the owner moves', async t => {
  for (const { from, to, claim } of steps) {
    t.strictSame(decideFlip(green(from), to), { go: true, fenced: movesOwner(from, to) }, claim)
    const verdict = decideFlip({ ...green(from), ownsTables: false }, to)
    t.strictSame(verdict, { go: true, fenced: false }, `${claim} without tables`)
  }
})

void t.test(
  'each check turns red by itself, for the steps that ask it, and says how it clears',
  async t => {
    for (const { from, to, asked, claim } of steps) {
      for (const [name, { code, says, make }] of Object.entries(REDS)) {
        const verdict = decideFlip(make(green(from)), to)
        if (!asked.includes(name)) {
          t.match(verdict, { go: true }, `${claim}: ${name} does not matter`)
          continue
        }
        t.match(verdict, { go: false, blockers: [{ code, message: says, hint: /\S/ }] }, claim)
        t.equal(verdict.go ? 0 : verdict.blockers.length, 1, `${claim}: ${name}, and nothing else`)
      }
    }
  },
)

void t.test(
  'without tables only the service, the routers and who approves are asked about',
  async t => {
    for (const { from, to, asked, claim } of steps) {
      for (const [name, { code, make }] of Object.entries(REDS)) {
        const expected = asked.includes(name) && !ABOUT_TABLES.has(name) ? [code] : []
        t.strictSame(codes(make({ ...green(from), ownsTables: false }), to), expected, claim)
      }
    }
  },
)

void t.test('all that is red is said at once', async t => {
  const kinds = [...new Set(Object.values(REDS).map(each => each.about))]
  const anyReds = fc
    .tuple(
      ...kinds.map(kind => {
        const names = Object.keys(REDS).filter(name => REDS[name]?.about === kind)
        return fc.option(fc.constantFrom(...names))
      }),
    )
    .map(names => names.filter(name => name !== null))
  const property = fc.property(fc.constantFrom(...steps), anyReds, (step, names) => {
    const facts = names.reduce((all, name) => REDS[name]!.make(all), green(step.from))
    const expected = names.filter(name => step.asked.includes(name)).map(name => REDS[name]!.code)
    deepStrictEqual(codes(facts, step.to), expected.sort())
  })
  fc.assert(property, { seed, numRuns: 300 })
  t.pass(`seed ${seed}`)
})

void t.test('each stream, router, writer and side is judged by itself', async t => {
  const facts: SliceFacts = {
    ...green('canary'),
    streams: [stream('a'), stream('b')].map(each => ({ ...each, lagMs: 5_000 })),
    routers: [...Array(3).keys()].map(version => ({ address: `a:${version}`, version })),
    foreignWriters: ['nightly', 'an odd: name'].map(name => ({ name, perDay: 1 })),
    fingerprints: ['legacy', 'rooms'].map(side => ({ side, difference: 'changed' })),
  }
  t.strictSame(codes(facts, 'moved'), [
    ...['FINGERPRINT', 'FINGERPRINT', 'FOREIGN_WRITER', 'FOREIGN_WRITER', 'LAG', 'LAG'],
    ...['ROUTER_BEHIND', 'ROUTER_BEHIND', 'ROUTER_BEHIND'],
  ])
  const verdict = decideFlip(facts, 'moved')
  const hints = verdict.go ? [] : verdict.blockers.map(each => each.hint)
  t.ok(hints.some(hint => hint.includes('writers: { nightly: waived } in slices/visits.yaml')))
  t.ok(hints.some(hint => hint.includes('writers: { "an odd: name": waived }')))
})

void t.test('a limit is what may just be', async t => {
  const edge: SliceFacts = {
    ...green('canary'),
    streams: [{ ...stream('a'), lagMs: 1_000, silentMs: 3_000 }],
    verification: { ageMs: 86_400_000, rows: 1, differences: 0 },
    approval: approval(['bob@desk', 'cleo@home'], true),
  }
  t.strictSame(codes(edge, 'moved'), [])
})

void t.test('a step that leaves stages out is refused with the one that can be taken', async t => {
  for (const from of STAGE_NAMES) {
    for (const to of STAGE_NAMES) {
      if (from === to || to === 'retired' || `${from} ${to}` in ASKED) continue
      t.match(
        decideFlip(green(from), to),
        { go: false, blockers: [{ code: 'STAGE_SKIPPED', hint: /banyan flip visits \w+/ }] },
        `${from} → ${to}`,
      )
    }
  }
})

void t.test('the same stage is a change of percentage, and never moves the owner', async t => {
  for (const stage of STAGE_NAMES) {
    t.strictSame(decideFlip(green(stage), stage), { go: true, fenced: false }, stage)
  }
})

void t.test('no slice is retired by this version', async t => {
  for (const from of STAGE_NAMES.filter(name => name !== 'retired')) {
    t.match(
      decideFlip(green(from), 'retired'),
      { go: false, blockers: [{ code: 'RETIRE_LATER' }] },
      from,
    )
  }
})
