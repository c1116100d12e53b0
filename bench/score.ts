/**
 * "No client can tell", counted: the cases of test/support/wire-cases.ts through the façade and through what else there is
 * for Node. `npm run score [-- --names]`
 */
import { parseArgs } from 'node:util'
import { WIRE_CASES } from '../test/support/wire-cases.ts'
import type { WireCase } from '../test/support/wire-cases.ts'
import { FACADE, OTHERS, score } from './contestants.ts'

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { names: { type: 'boolean', default: false } } })
  // Some throw where nobody can catch it. A host that did is one that didn't answer.
  let thrown = 0
  process.on('uncaughtException', () => thrown++)
  const all = WIRE_CASES.length
  console.log(`${all} requests and answers in raw bytes, direct and through. The same:`)
  console.log(`${''.padEnd(22)}${'byte for byte'.padEnd(16)}case and order of names forgiven`)
  let complete = false
  for (const contestant of [FACADE, ...OTHERS]) {
    thrown = 0
    const { exact, lenient, failed } = await score(contestant, WIRE_CASES)
    if (contestant === FACADE) complete = exact === all
    const figures = `${String(exact).padEnd(16)}${lenient}`
    console.log(contestant.name.padEnd(22) + figures + (thrown ? `, ${thrown} uncaught` : ''))
    for (const line of values.names ? named(failed) : numbered(failed)) console.log(line)
  }
  return complete ? 0 : 1
}

function named(failed: readonly WireCase[]): string[] {
  return failed.map(({ no, name }) => `    ${String(no).padStart(3)}  ${name}`)
}

/** The numbers of docs/transparency.md, each once. */
function numbered(failed: readonly WireCase[]): string[] {
  const numbers = [...new Set(failed.map(({ no }) => no))].sort((a, b) => a - b)
  const list = numbers.join(' ').match(/.{1,70}(?: |$)/g) ?? []
  return list.map((part, i) => `${i === 0 ? '  not: ' : '       '}${part.trimEnd()}`)
}

process.exitCode = await main()
process.exit()
