/**
 * How long nobody can write while a slice changes its owner: many switches, both ways, under load, as the client saw it
 * and step by step; then the ledger. `npm run bench:cutover -- --switches 100 [--writes 200] [--lag 500ms] [--sabotage …]`
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Closers } from '../model/closers.ts'
import { pause } from '../model/pause.ts'
import { connect } from '../postgres/connection.ts'
import { contextOf } from '../scripts/context.ts'
import { openEnvironment } from '../scripts/demo/environment.ts'
import { report } from '../scripts/demo/report.ts'
import { type Demo, flip, halt, stageOf, Stopped, until } from '../scripts/demo/stage.ts'
import { toCanary } from '../scripts/demo/story.ts'

/** Aims for the pause as the client sees it, ms; printed beside the figures, never enforced. */
const AIM = { p50: 100, p99: 400 }
/** A transaction that is in the way: how long it stays open, and what writers may notice of the flip that gives up, ms. */
const STUCK = { openMs: 3_000, aimP99: 50 }
/** A switch that gave up is tried again, so many times; what clients saw of it counts. */
const UNDONE_MAX = 5
/** Between two switches, so that each has writes before and after it. */
const WRITES_BETWEEN = 100

interface Switch {
  readonly to: 'moved' | 'canary'
  /** The longest time without an acknowledged write of the slice, ms. */
  readonly gapMs: number
  /** The slowest write, from when it was due, ms. */
  readonly latencyMs: number
  readonly steps: readonly { readonly step: string; readonly ms: number | null }[]
  /** Why it gave up before it went through: on a busy machine requests may not end in time. */
  readonly undone: readonly string[]
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      switches: { type: 'string', default: '100' },
      writes: { type: 'string', default: '200' },
      reads: { type: 'string', default: '100' },
      lag: { type: 'string' },
      sabotage: { type: 'string' },
    },
  })
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort())
  const folder = await mkdtemp(join(tmpdir(), 'banyan-bench-'))
  await using closers = new Closers()
  closers.defer(() => rm(folder, { recursive: true, force: true }))
  const config = join(folder, 'banyan.yaml')
  const context = contextOf({ config, json: false, signal: stop.signal, self: 'banyan' })
  const { lag, sabotage } = values
  const load = { reads: Number(values.reads), writes: Number(values.writes), seed: 1 }
  await using environment = await openEnvironment(context, {
    ...{ folder, load, lag, sabotage },
    ports: 'any',
  })
  const { demo } = environment
  await toCanary(demo, 'appointments')
  const switches: Switch[] = []
  let rate = 0
  while (switches.length < Number(values.switches) && !stop.signal.aborted) {
    const to = switches.length % 2 === 0 ? 'moved' : 'canary'
    switches.push(await timed(demo, to))
    rate += demo.load.progress()?.writesPerSecond ?? 0
  }
  if (stop.signal.aborted) return 4
  print(switches, rate / switches.length)
  await stuck(demo)
  await report(demo)
  const { wrong } = demo.screen
  console.log(wrong.length === 0 ? 'clean' : `NOT CLEAN: ${wrong.join('; ')}`)
  return wrong.length === 0 ? 0 : 5
}

/** One switch, with the writes around it. */
async function timed(demo: Demo, to: Switch['to']): Promise<Switch> {
  const { load } = demo
  let acknowledged = 0
  const seen = { gapMs: 0, latencyMs: 0 }
  const look = async (): Promise<boolean> => {
    const { appointments: window } = await load.pauseWindow()
    acknowledged += window.acknowledged
    seen.gapMs = Math.max(seen.gapMs, window.longestGapMs ?? 0)
    seen.latencyMs = Math.max(seen.latencyMs, window.largestLatencyMs ?? 0)
    return acknowledged >= WRITES_BETWEEN
  }
  const undone: string[] = []
  for (;;) {
    acknowledged = 0
    await load.pauseWindow()
    const ended = await flip(demo, 'appointments', to)
    if (ended.outcome === 'done') {
      await until(demo, 'writes', look)
      return { to, ...seen, steps: ended.steps, undone }
    }
    undone.push(ended.error?.message ?? 'no error on record')
    if (ended.outcome !== 'undone' || undone.length > UNDONE_MAX) halt(demo, ended)
    await until(demo, 'writes', look)
  }
}

/** A forgotten transaction holds the tables: the flip gives up, names it, and nobody waits for that. */
async function stuck(demo: Demo): Promise<void> {
  const to = (await stageOf(demo, 'appointments')) === 'moved' ? 'canary' : 'moved'
  const [url, table] =
    to === 'moved'
      ? [demo.databases.owner.legacy, 'appointments']
      : [demo.databases.owner.scheduling, 'appointment']
  const p99 = async () => (await demo.load.pauseWindow()).appointments.p99LatencyMs ?? Infinity
  await p99()
  await pause(STUCK.openMs)
  const usual = await p99()
  const client = await connect({ url, applicationName: 'a forgotten console' })
  try {
    await client.query(`BEGIN; UPDATE public.${table} SET version = version WHERE id = 1`)
    const over = pause(STUCK.openMs)
    const ended = await flip(demo, 'appointments', to)
    await over
    const seen = await p99()
    console.log(
      `a ${STUCK.openMs / 1000} s transaction in the way: ${ended.outcome}: ${ended.error?.message}`,
    )
    console.log(
      `  writers' p99 meanwhile ${Math.round(seen)} ms (${Math.round(usual)} ms before)   aim: < ${STUCK.aimP99}`,
    )
    if (ended.outcome !== 'undone') demo.screen.bad('stuck', 'the flip did not give up')
  } finally {
    await client.end()
  }
}

function print(switches: readonly Switch[], rate: number): void {
  const line = (name: string, list: readonly number[], aim = ''): void => {
    const [p50, p99, max] = [0.5, 0.99, 1].map(part => Math.round(percentile(list, part)))
    const figures = [`p50 ${p50}`, `p99 ${p99}`, `max ${max}`].map(text => text.padEnd(10)).join('')
    console.log(`${name.padEnd(26)}${figures}${aim}`)
  }
  const half = (to: Switch['to']) => switches.filter(each => each.to === to)
  console.log(`${switches.length} switches, ${Math.round(rate)} writes/s acknowledged; ms`)
  const aim = `aim: p50 < ${AIM.p50}, p99 < ${AIM.p99}`
  line(
    'no write (client), all',
    switches.map(each => each.gapMs),
    aim,
  )
  line(
    '  legacy → service',
    half('moved').map(each => each.gapMs),
  )
  line(
    '  service → legacy',
    half('canary').map(each => each.gapMs),
  )
  line(
    'slowest write (client)',
    switches.map(each => each.latencyMs),
  )
  const names = [...new Set(switches.flatMap(each => each.steps.map(step => step.step)))]
  for (const name of names) {
    const of = (each: Switch) => each.steps.find(step => step.step === name)?.ms ?? 0
    line(`  ${name}`, switches.map(of))
  }
  const sum = (each: Switch) => each.steps.reduce((total, step) => total + (step.ms ?? 0), 0)
  line('steps together', switches.map(sum))
  const undone = switches.flatMap(each => each.undone)
  console.log(`${undone.length} flips gave up and were tried again`)
  for (const why of new Set(undone)) console.log(`  ${why}`)
}

function percentile(list: readonly number[], part: number): number {
  const sorted = [...list].sort((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(sorted.length * part) - 1)] ?? 0
}

process.exitCode = await main().catch((error: unknown) => {
  if (!(error instanceof Stopped)) console.error(error)
  return 5
})
