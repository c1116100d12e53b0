import fc from 'fast-check'
import t from 'tap'
import { compareJson } from '../../router/json-compare.ts'

// prettier-ignore
const EQUAL: readonly [string, string][] = [
  ['{"a":1,"b":[true,null,"x"]}', ' { "b" : [ true , null , "\\u0078" ] , "a" : 1 } '],
  ['1.10', '1.1'],
  ['100', '1e2'],
  ['-0', '0.00'],
  ['0.000123', '1.23E-4'],
  ['9007199254740993', '9007199254740993.0'],
  ['[]', '[ ]'],
  ['{}', '{ }'],
  ['"a\\"b\\\\"', '"a\\u0022b\\\\"'],
]

void t.test('equal by value is no difference', async t => {
  for (const [a, b] of EQUAL) t.equal(compareJson(a, b), null, `${a} ${b}`)
})

// prettier-ignore
const DIFFERENT: readonly [string, string, string, string][] = [
  ['9007199254740993', '9007199254740992', '$', 'value'],
  ['0.1', '0.10000000000000001', '$', 'value'],
  ['{"fee":"12.50"}', '{"fee":12.50}', '$.fee', 'type'],
  ['{"a":{"b":[1,2,3]}}', '{"a":{"b":[1,9,3]}}', '$.a.b[1]', 'value'],
  ['{"a":1,"b":2}', '{"a":1}', '$.b', 'missing'],
  ['{"a":1}', '{"a":1,"b":2}', '$.b', 'extra'],
  ['[1,2]', '[1]', '$[1]', 'missing'],
  ['[1]', '[1,2]', '$[1]', 'extra'],
  ['{"a":null}', '{"a":0}', '$.a', 'type'],
  ['{"a":null}', '{}', '$.a', 'missing'],
  ['[]', '{}', '$', 'type'],
  ['"1"', '"1.0"', '$', 'value'],
]

void t.test('the first difference is named by place and kind', async t => {
  for (const [a, b, path, kind] of DIFFERENT) {
    t.strictSame(compareJson(a, b), { path, kind }, `${a} ${b}`)
  }
})

void t.test('a path never shows what could be data', async t => {
  const found = compareJson('{"by":{"jane.doe@example.org":1}}', '{"by":{}}')
  t.strictSame(found, { path: '$.by.*', kind: 'missing' })
})

void t.test('what is not JSON, or nested beyond reason, is not compared', async t => {
  for (const text of ['', '{', '[1,]', '{"a":01}', 'NaN', '"\n"', `${'['.repeat(5000)}`]) {
    t.equal(compareJson(text, '1'), undefined, text.slice(0, 10))
  }
  const deep = `${'['.repeat(300)}${']'.repeat(300)}`
  t.equal(compareJson(deep, deep), undefined)
})

void t.test('any value equals itself in any spelling, and differs from a changed one', async () => {
  const seed = Date.now()
  t.comment(`seed ${seed}`)
  fc.assert(
    fc.property(fc.json({ maxDepth: 4 }), fc.integer({ min: 0, max: 4 }), (text, indent) => {
      const spelled = JSON.stringify(JSON.parse(text), null, indent)
      return compareJson(text, spelled) === null && compareJson(`[${text}]`, spelled) !== null
    }),
    { seed, numRuns: 200 },
  )
})
