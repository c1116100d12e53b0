import t from 'tap'
import {
  BUCKETS,
  bucketOf,
  cookieOf,
  includes,
  keyOf,
  parseIncludeRule,
  parseKeyRule,
} from '../../router/keys.ts'
import type { RequestFacts } from '../../router/keys.ts'

function facts(headers: Record<string, string>): RequestFacts {
  return { method: 'GET', target: '/', header: name => headers[name] }
}

void t.test('a key is the first rule that finds something', async t => {
  const rules = ['header:X-Tenant-Id', 'cookie:sid'].map(text => parseKeyRule(text, 's'))
  t.equal(keyOf(rules, facts({ 'x-tenant-id': 'a', cookie: 'sid=b' })), 'header:x-tenant-id=a')
  t.equal(keyOf(rules, facts({ cookie: 'x=1; sid=b' })), 'cookie:sid=b')
  t.equal(keyOf(rules, facts({ 'x-tenant-id': '', cookie: 'sid=b' })), 'cookie:sid=b')
  t.equal(keyOf(rules, facts({})), null)
})

void t.test('include rules ask for a value, or for presence', async t => {
  const rules = ['header:x-beta=1', 'cookie:beta'].map(text => parseIncludeRule(text, 's'))
  t.ok(includes(rules, facts({ 'x-beta': '1' })))
  t.notOk(includes(rules, facts({ 'x-beta': '2' })))
  t.ok(includes(rules, facts({ cookie: 'beta=' })))
})

void t.test('rules that name neither a header nor a cookie are refused', async t => {
  for (const text of ['x-tenant-id', 'query:a', 'header:', 'header:a b', 'header:a=1']) {
    t.throws(() => parseKeyRule(text, 's'), { code: 'KEY_RULE' }, text)
  }
})

void t.test('a cookie is found by its whole name', async t => {
  t.equal(cookieOf('a=1; b=2=3 ;c', 'b'), '2=3')
  t.equal(cookieOf('ab=1', 'b'), undefined)
  t.equal(cookieOf(undefined, 'b'), undefined)
})

void t.test('buckets are even: similar keys don’t gather', async t => {
  const groups = 100
  const keys = 200_000
  const counts = new Array<number>(groups).fill(0)
  for (let i = 0; i < keys; i++) {
    const group = Math.floor((bucketOf(`cookie:clinic_sid=${i}`) * groups) / BUCKETS)
    counts[group] = (counts[group] ?? 0) + 1
  }
  const expected = keys / groups
  const chi2 = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0)
  // 99 degrees of freedom: 1 in 10,000 fair hashes is above 161.
  t.ok(chi2 < 161, `chi² ${chi2.toFixed(1)}`)
})
