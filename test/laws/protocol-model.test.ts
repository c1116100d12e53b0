/** Searches the protocol of ownership within bounds: the laws hold, and each rule left out breaks the law it is there for. */
import t from 'tap'
import { readFile } from 'node:fs/promises'
import { SABOTAGES, SABOTAGE_NAMES, SHORT, print } from './sabotage.ts'
import type { Bounds } from './sabotage.ts'
import { search } from './search.ts'

const page = await readFile(new URL('../../../docs/protocol-model.md', import.meta.url), 'utf8')

for (const bounds of SHORT) {
  void t.test(`L2, L3 and L4 hold in every state of ${print(bounds)}`, async t => {
    const { states, depth, flips, broken, trace } = search(bounds)
    t.comment(`${states.toLocaleString('en')} states, depth ${depth}`)
    t.equal(broken, undefined, trace.join('\n'))
    t.equal(flips, bounds.epochs, 'ownership moved with every epoch, there and back')
    const row = `| ${print(bounds)} | ${states.toLocaleString('en')} | ${depth} |`
    t.ok(page.includes(row), `docs/protocol-model.md has the row ${row}`)
  })
}

for (const sabotage of SABOTAGE_NAMES) {
  const { breaks, bounds, meaning } = SABOTAGES[sabotage]
  void t.test(`${breaks} breaks when ${meaning}`, async t => {
    const { states, broken, trace } = search(bounds, sabotage)
    t.comment(`${sabotage}: ${states.toLocaleString('en')} states`)
    for (const line of trace) t.comment(line)
    t.match(broken, new RegExp(`^${breaks}:`), 'red, by the law that the rule is there for')
    t.ok(trace.length > 3 && trace.length < 20, 'with a counterexample that a person can follow')
    t.equal(search(bounds).broken, undefined, 'and with the rule the same bounds are clean')
    const row = `| \`${sabotage}\` | ${breaks} | ${print(bounds)} | ${meaning} |`
    t.ok(page.includes(row), `docs/protocol-model.md has the row ${row}`)
  })
}

void t.test('bounds only ever add behaviour', async t => {
  const smaller: Bounds = { epochs: 2, writes: 1, crashes: 0, twins: 0, rogues: 0, abandons: 0 }
  const count = search(smaller).states
  for (const what of ['epochs', 'writes', 'crashes', 'twins', 'rogues', 'abandons'] as const) {
    const larger = search({ ...smaller, [what]: smaller[what] + 1 }).states
    t.ok(larger > count, `one more of ${what}: ${larger} states, not ${count}`)
  }
})
