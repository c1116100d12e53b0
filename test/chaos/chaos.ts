/**
 * Kills, stops and cuts off every part in the middle of flips, and asks the databases whether the laws held.
 * `npm run chaos -- --seed 1 --runs 200 [--sabotage <rule>]`. Exit 0: all held; 1: a law was broken; 2: usage.
 */
import { spawn } from 'node:child_process'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Matrix } from './matrix.ts'
import { CELLS, MOMENTS, VICTIMS } from './plan.ts'
import { REGRESSIONS } from './regressions.ts'
import { type Outcome, runOne } from './run.ts'
import { type Sabotage, SABOTAGES, sabotaged, struck } from './sabotage.ts'
import { openWorld, type World, WorldNotMade } from './world.ts'

/** A sabotage shows within so many seeds, or the harness is blind to it. */
const SABOTAGE_SEEDS = 20
/** By these Banyan says that something is not as it was written; a world that was merely slow shows nothing. */
const LOSS = /SLOT_AHEAD|NOT_EQUAL|VERIFY_DIFFERS|DIVERGED/
/** Runs of each cell of the matrix, when there are enough of them at all. */
const EACH_CELL = 2

const USAGE = `usage: npm run chaos -- [--seed 1] [--runs 200] [--regressions] [--sabotage <rule>]
  rules: ${Object.keys(SABOTAGES).join(', ')}`

/** Returns the runs that broke a law. Each run is a line for `say`, and a mark in `matrix`. */
export async function chaos(options: {
  readonly seeds: Iterable<number>
  readonly matrix: Matrix
  readonly sabotage?: string | undefined
  /** Stop at the first broken law. */
  readonly firstOnly?: boolean
  readonly say: (line: string) => void
  readonly signal: AbortSignal
}): Promise<readonly Outcome[]> {
  const { matrix, say, signal } = options
  const sabotage = options.sabotage === undefined ? undefined : SABOTAGES[options.sabotage]
  const failed: Outcome[] = []
  let world: World | undefined
  try {
    for (const seed of options.seeds) {
      if (signal.aborted) break
      const plan = struck(sabotage, seed)
      const made = world ?? (await openWorld(seed, signal).catch(notMade(sabotage)))
      if (made instanceof WorldNotMade) {
        if (!LOSS.test(made.message)) {
          say(`– seed ${seed}: ${made.message}`)
          continue
        }
        // What a broken rule has lost already is noticed by Banyan itself: its checks are a part of the harness.
        failed.push({ plan, ...NO_RUN, violations: [`L3 ${made.message}`] })
        say(`✖ seed ${seed}: ${made.message}`)
        break
      }
      world = made
      const outcome = await runOne(world, plan)
      matrix.add(outcome)
      say(lineOf(outcome))
      if (outcome.violations.length === 0) continue
      failed.push(outcome)
      if (options.firstOnly) break
      // What is broken stays broken: the next seeds deserve a world of their own.
      await world[Symbol.asyncDispose]()
      world = undefined
    }
    if (world) matrix.requests(await world.demo.load.report())
  } finally {
    await world?.[Symbol.asyncDispose]()
  }
  return failed
}

const NO_RUN = { to: 'moved', at: undefined, flip: null, recoveryMs: 0, commits: 0 } as const

/** A sound program makes its world; one without a rule may not come so far. */
function notMade(sabotage: Sabotage | undefined) {
  return (error: unknown): WorldNotMade => {
    if (sabotage && error instanceof WorldNotMade) return error
    throw error
  }
}

function lineOf({ plan, to, at, flip, why, recoveryMs, violations }: Outcome): string {
  const { seed, victim, fault, step, releaseMs, downMs } = plan
  const what = `seed ${seed}: ${victim} ${fault} at ${at ?? step} (${Math.round(releaseMs)} ms, ${Math.round(downMs)} ms)`
  if (violations.length > 0) return `✖ ${what} → ${to}: ${violations.join('; ')}`
  if (at === undefined) return `– ${what}: missed, the flip was ${flip ?? 'open'}: ${why ?? ''}`
  return `✔ ${what} → ${to}: ${flip}, recovered in ${(recoveryMs / 1000).toFixed(1)} s`
}

/** The seeds that were asked for; then more, until every cell has been met often enough (if so many were asked for). */
function* seedsFrom(first: number, runs: number, matrix: Matrix) {
  let seed = first
  for (; seed < first + runs; seed++) yield seed
  if (runs < EACH_CELL * CELLS) return
  for (const last = seed + runs; seed < last; seed++) {
    const cell = (seed - 1) % CELLS
    const victim = VICTIMS[cell % VICTIMS.length]!
    const step = MOMENTS[Math.floor(cell / VICTIMS.length)]!
    if (matrix.count(victim, step) < EACH_CELL) yield seed
  }
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seed: { type: 'string', default: '1' },
      runs: { type: 'string' },
      regressions: { type: 'boolean', default: false },
      sabotage: { type: 'string' },
      /** Set by ourselves: this is the copy that was broken. */
      broken: { type: 'boolean', default: false },
    },
  })
  const { sabotage } = values
  const first = Number(values.seed)
  const runs = Number(values.runs ?? (sabotage === undefined ? 200 : SABOTAGE_SEEDS))
  const known = sabotage === undefined || Object.hasOwn(SABOTAGES, sabotage)
  if (!known || !Number.isInteger(first) || first < 1 || !Number.isInteger(runs) || runs < 1) {
    console.error(USAGE)
    return 2
  }
  if (sabotage !== undefined && !values.broken) return inBrokenCopy(sabotage, first, runs)
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort())
  const matrix = new Matrix()
  const failed = await chaos({
    seeds: values.regressions ? REGRESSIONS : seedsFrom(first, runs, matrix),
    matrix,
    sabotage,
    firstOnly: sabotage !== undefined,
    say: line => console.log(line),
    signal: stop.signal,
  })
  console.log(matrix.text())
  for (const { plan, violations } of failed) {
    console.log(`BROKEN at seed ${plan.seed}: ${violations.join('; ')}`)
    console.log(`again: npm run chaos -- --seed ${plan.seed} --runs 1`)
  }
  if (sabotage !== undefined) {
    const [found] = failed
    console.log(
      found
        ? `sabotage ${sabotage}: seen at seed ${found.plan.seed}`
        : `sabotage ${sabotage}: NOT seen in ${runs} seeds`,
    )
  }
  return failed.length === 0 ? 0 : 1
}

/** The program that is broken must be another one than ours: its processes are started from where it lies. */
async function inBrokenCopy(name: string, seed: number, runs: number): Promise<number> {
  const sabotage = SABOTAGES[name]!
  console.log(`without this rule: ${sabotage.rule}`)
  const folder = await sabotaged(name, sabotage)
  try {
    const script = join(folder, 'test/chaos/chaos.js')
    const args = ['--sabotage', name, '--broken', '--seed', String(seed), '--runs', String(runs)]
    const child = spawn(process.execPath, [script, ...args], { stdio: 'inherit' })
    return await new Promise(resolve => child.once('exit', code => resolve(code ?? 2)))
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

if (process.argv[1] === import.meta.filename) {
  process.exitCode = await main().catch((error: unknown) => {
    console.error(error)
    return 2
  })
}
