/** Explores the protocol from the command line: `node dist/test/laws/explore.js [--long] [--sabotage <name>]`. */
import { parseArgs } from 'node:util'
import type { Result } from './search.ts'
import { search } from './search.ts'
import { LONG, SABOTAGES, SABOTAGE_NAMES, SHORT, print } from './sabotage.ts'
import type { Bounds, Sabotage } from './sabotage.ts'

const { values } = parseArgs({
  options: { long: { type: 'boolean', default: false }, sabotage: { type: 'string' } },
})
process.exitCode =
  values.sabotage === undefined ? runAll(values.long) : runSabotage(values.sabotage)

function runAll(isLong: boolean): number {
  const results = [...SHORT, ...(isLong ? LONG : [])].map(bounds => run(bounds))
  return results.some(result => result.broken !== undefined) ? 1 : 0
}

function runSabotage(name: string): number {
  const sabotage = SABOTAGE_NAMES.find(known => known === name)
  if (sabotage === undefined) {
    console.error(`no sabotage "${name}"; there are:\n  ${SABOTAGE_NAMES.join('\n  ')}`)
    return 2
  }
  const { bounds, meaning, breaks } = SABOTAGES[sabotage]
  console.log(`${sabotage}: ${meaning} (breaks ${breaks})`)
  return run(bounds, sabotage).broken === undefined ? 0 : 1
}

function run(bounds: Bounds, sabotage?: Sabotage): Result {
  const start = performance.now()
  const result = search(bounds, sabotage)
  const { states, depth, broken, trace } = result
  const seconds = ((performance.now() - start) / 1000).toFixed(1)
  const verdict = broken ?? 'clean'
  console.log(
    `${print(bounds).padEnd(38)} ${states.toLocaleString('en').padStart(11)} states, depth ${depth}, ${seconds} s: ${verdict}`,
  )
  for (const line of trace) console.log(`  ${line}`)
  return result
}
