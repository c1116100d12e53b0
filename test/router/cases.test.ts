/** docs/transparency.md is whole, and what it says is shown by a test of that name. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { WIRE_CASES } from '../support/wire-cases.ts'

const ROOT = join(import.meta.dirname, '../../..')
const NUMBERS = [...range(1, 96), ...range(107, 120), ...range(123, 125)]

interface Row {
  readonly no: number
  readonly verdict: string
  readonly tests: readonly (readonly [file: string, name: string])[]
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i)
}

function rowsOf(page: string): Row[] {
  return page.split('\n').flatMap(line => {
    const [, no = '', , verdict = '', tests = ''] = line.split(/^\| | \| | \|$/)
    if (!/^\d+$/.test(no)) return []
    const named = [...tests.matchAll(/(?:^| · )(\S+\.ts): "(.*?)"(?=$| · )/g)]
    return [{ no: Number(no), verdict, tests: named.map(m => [m[1] ?? '', m[2] ?? ''] as const) }]
  })
}

/** The titles of a file's tests. What is computed in one may be anything. */
function titlesOf(file: string): RegExp[] {
  const path = [`test/router/${file}`, `test/${file}`].find(each => existsSync(join(ROOT, each)))
  if (path === undefined) return []
  const source = readFileSync(join(ROOT, path), 'utf8')
  return [...source.matchAll(/\bt\.test\(\s*(['`])(.*?)\1,/g)].map(([, , title = '']) => {
    const parts = title
      .split(/\$\{[^}]*\}/)
      .map(part => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
    return new RegExp(`^${parts.join('.+')}$`)
  })
}

function isThere(file: string, name: string): boolean {
  const bytes = file === 'transparency.test.ts' && WIRE_CASES.some(each => each.name === name)
  return bytes || titlesOf(file).some(title => title.test(name))
}

/** What is wrong with the page, in words. `limits`: what the façade doesn't do. */
function faultsOf(page: string, limits: string): string[] {
  const rows = rowsOf(page)
  const count = (no: number): number => rows.filter(row => row.no === no).length
  const wrong = NUMBERS.filter(no => count(no) !== 1).map(no => `${no}: ${count(no)} rows`)
  const unknown = rows.filter(({ no }) => !NUMBERS.includes(no)).map(({ no }) => `${no}: unknown`)
  return [...wrong, ...unknown, ...rows.flatMap(row => faultsOfRow(row, limits))]
}

function faultsOfRow({ no, verdict, tests }: Row, limits: string): string[] {
  const gone = tests
    .filter(([file, name]) => !isThere(file, name))
    .map(([file, name]) => `${no}: no test ${file}: "${name}"`)
  return [...gone, ...faultsOfVerdict(verdict, tests.length, limits).map(what => `${no}: ${what}`)]
}

function faultsOfVerdict(verdict: string, tests: number, limits: string): string[] {
  if (/^\*same\*$|^\*documented edit\*(?::|$)/.test(verdict)) return tests > 0 ? [] : ['no test']
  if (verdict.startsWith('*not applicable*')) {
    return /^\*not applicable\* because \S/.test(verdict) ? [] : ['no reason']
  }
  const what = /^\*differs\*: \*\*(.+?)\*\*/.exec(verdict)?.[1]
  if (what === undefined) return [`unknown verdict ${verdict}`]
  return new RegExp(`^- \\*\\*${what}\\b`, 'm').test(limits) ? [] : [`${what} isn’t documented`]
}

const page = readFileSync(join(ROOT, 'docs/transparency.md'), 'utf8')
const routing = readFileSync(join(ROOT, 'docs/routing.md'), 'utf8')
const limits = routing.slice(routing.indexOf("\n## What it doesn't do\n"))

void t.test('every number has one row, one verdict and tests that exist', async t => {
  t.strictSame(faultsOf(page, limits), [])
  const rows = rowsOf(page)
  const of = (verdict: string) => rows.filter(row => row.verdict.startsWith(`*${verdict}*`)).length
  const counts = ['same', 'documented edit', 'not applicable', 'differs']
    .map(verdict => `${of(verdict)} *${verdict}*`)
    .join(', ')
  t.match(page, `Of ${rows.length}: ${counts}.`)
})

void t.test('every case of bytes belongs to a row that says it is the same', async t => {
  const names = WIRE_CASES.map(({ name }) => name)
  t.equal(new Set(names).size, names.length, 'no two cases have one name')
  const rows = rowsOf(page)
  for (const { no, name } of WIRE_CASES) {
    const verdict = rows.find(row => row.no === no)?.verdict ?? 'no row'
    t.notMatch(verdict, /no row|not applicable/, `${no}: ${name}`)
  }
})

void t.test('what is wrong with a page is seen', async t => {
  const swap = (from: string | RegExp, to: string): string[] => {
    const changed = page.replace(from, to)
    t.not(changed, page)
    return faultsOf(changed, limits)
  }
  t.strictSame(swap(/^\| 5 \|.*\n/m, ''), ['5: 0 rows'])
  t.strictSame(swap(/^(\| 5 \|.*\n)/m, '$1$1'), ['5: 2 rows'])
  t.strictSame(swap('| 5 |', '| 97 |'), ['5: 0 rows', '97: unknown'])
  t.strictSame(swap(/^(\| 5 \|.*)\*same\*/m, '$1*fine*'), ['5: unknown verdict *fine*'])
  t.match(swap('"target /a\\b"', '"target /a/b"'), ['5: no test transparency.test.ts'])
  t.strictSame(swap(/^(\| 5 \|.*\*same\*).*$/m, '$1 | – |'), ['5: no test'])
  t.strictSame(swap(/^(\| 95 \|.*\*not applicable\*)[^|]*/m, '$1 '), ['95: no reason'])
  t.strictSame(swap('**Loops**', '**Hoops**'), ['55: Hoops isn’t documented'])
})
