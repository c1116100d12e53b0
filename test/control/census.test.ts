import pg from 'pg'
import t from 'tap'
import { foreignWriters } from '../../control/gather.ts'
import { addCensus, type CensusFact, readCensus } from '../../control/store/findings.ts'
import type { CensusWriter } from '../../sync/ports.ts'
import { testCluster } from '../support/cluster.ts'
import { controlDatabase } from '../support/three-roles.ts'

type Writer = CensusFact['writers'][number]

/** As the store gives them: who writes most comes first. */
function writers(...all: readonly (readonly [role: string, application: string])[]): Writer[] {
  return all.map(([role, application], index) => {
    const transactions = 100 - index
    return { role, application, transactions, perDay: transactions }
  })
}

/** Who writes → the waivers in the file → who is foreign. */
const CASES: Record<string, readonly [Writer[], readonly string[], readonly string[]]> = {
  'nobody has written': [[], [], []],
  'the one who writes most is the monolith': [writers(['app', 'clinic']), [], []],
  'another application of its role is foreign': [
    writers(['app', 'clinic'], ['app', 'nightly']),
    [],
    ['nightly'],
  ],
  'a waiver names the application': [
    writers(['app', 'clinic'], ['app', 'nightly']),
    ['nightly'],
    [],
  ],
  'or one of its processes': [writers(['app', 'clinic'], ['app', 'nightly-*']), ['nightly-7'], []],
  'or all of them': [writers(['app', 'clinic'], ['app', 'nightly-*']), ['nightly-*'], []],
  'or the role': [writers(['app', 'clinic'], ['batch', 'nightly']), ['batch'], []],
  'another role is named where the application says nothing': [
    writers(['app', ''], ['batch', '']),
    [],
    ['batch'],
  ],
  'or says the same as the monolith': [
    writers(['app', 'clinic'], ['batch', 'clinic']),
    [],
    ['batch'],
  ],
  'no name at all is named by the role': [writers(['app', 'clinic'], ['app', '']), [], ['app']],
  "the monolith's own role waives only what has no name": [
    writers(['app', 'clinic'], ['app', ''], ['app', 'nightly']),
    ['app'],
    ['nightly'],
  ],
  'a waiver of somebody else changes nothing': [
    writers(['app', 'clinic'], ['app', 'nightly']),
    ['daily', 'constructor'],
    ['nightly'],
  ],
}

void t.test('who writes around the routes', async t => {
  for (const [claim, [all, waived, foreign]] of Object.entries(CASES)) {
    const slice = { writers: Object.fromEntries(waived.map(name => [name, 'waived' as const])) }
    t.strictSame(
      foreignWriters(slice, all).map(each => each.name),
      foreign,
      claim,
    )
  }
})

void t.test('the census in the control database', async t => {
  const cluster = await testCluster(t)
  const url = await controlDatabase(cluster)
  const store = { url, pool: new pg.Pool({ connectionString: url }) }
  t.teardown(() => store.pool.end())
  const add = (...all: CensusWriter[]) =>
    addCensus(store, 'visits', {
      transactions: 2,
      tables: new Map([['public.bills', 1]]),
      writers: all,
    })
  const wrote = (role: string, application: string, transactions: number) => ({
    role,
    application,
    transactions,
  })

  await t.test('adds up, and knows who writes most', async t => {
    await add(wrote('a role', 'clinic', 1), wrote('app', 'clinic-*', 5))
    await add(wrote('a role', 'clinic', 7), wrote('app', '', 1))
    const census = await readCensus(store, 'visits')
    t.match(census.writers, [
      { role: 'a role', application: 'clinic', transactions: 8, perDay: 8 },
      { role: 'app', application: 'clinic-*', transactions: 5 },
      { role: 'app', application: '', transactions: 1 },
    ])
    t.strictSame(census.sideWrites, new Map([['public.bills', 0.5]]))
    t.match(await readCensus(store, 'another'), { transactions: 0, writers: [] })
  })

  await t.test('does not grow with the names that come', async t => {
    const letters = (n: number) =>
      String(n).replaceAll(/\d/g, digit => 'abcdefghij'[Number(digit)]!)
    const tell = (from: number) =>
      add(...Array.from({ length: 50 }, (_, n) => wrote('app', letters(from + n), 1)))
    for (let from = 0; from < 1000; from += 50) await tell(from)
    const { writers } = await readCensus(store, 'visits')
    t.ok(writers.length <= 250, `${writers.length} writers`)
    t.equal(
      writers.reduce((sum, each) => sum + each.transactions, 0),
      1014,
      'and leaves none out',
    )
    t.equal(writers[0]?.application, '(others)')
  })
})
