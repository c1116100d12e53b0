/** The short profile of `npm run chaos`: some of its faults, one sabotage, and that every sabotage still fits the program. */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import t from 'tap'
import { chaos } from './chaos.ts'
import { Matrix } from './matrix.ts'
import { CELLS, MOMENTS, planOf, VICTIMS } from './plan.ts'
import { SABOTAGES, unfit } from './sabotage.ts'

/** One of each kind: killed, stopped and cut off; controller, worker, router and clusters; before and after the decision. */
const SEEDS = [7, 14, 28, 31, 36, 57]

void t.test('any so many seeds in a row meet every victim at every step', t => {
  for (const first of [1, 1_000]) {
    const cells = Array.from({ length: CELLS }, (_, n) => planOf(first + n)).map(
      ({ victim, step }) => `${victim} ${step}`,
    )
    t.equal(new Set(cells).size, VICTIMS.length * MOMENTS.length)
  }
  t.strictSame(planOf(17), planOf(17), 'and a seed is always the same run')
  t.end()
})

void t.test('every sabotage finds its one place in the program', async t => {
  for (const [name, sabotage] of Object.entries(SABOTAGES)) {
    t.strictSame(await unfit(sabotage), [], name)
  }
})

void t.test('whatever is hit in the middle of a flip, it ends and nothing is lost', async t => {
  const matrix = new Matrix()
  const failed = await chaos({
    seeds: SEEDS,
    matrix,
    say: line => t.comment(line),
    signal: new AbortController().signal,
  })
  t.strictSame(failed, [])
  t.ok(matrix.runs >= SEEDS.length / 2, `${matrix.runs} runs`)
})

void t.test('without the decision, the harness sees it', async t => {
  const script = join(import.meta.dirname, 'chaos.js')
  const child = spawn(process.execPath, [script, '--sabotage', 'skip-decision'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let said = ''
  child.stdout.on('data', chunk => (said += String(chunk)))
  const exit = await new Promise(resolve => child.once('exit', resolve))
  t.equal(exit, 1, said)
  t.match(said, /sabotage skip-decision: seen at seed \d+/)
})
