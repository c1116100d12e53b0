/** `banyan demo`, and `npm start`: a clinic of its own, live traffic, and a slice that moves, comes back and moves again. */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { BanyanError } from '../model/errors.ts'
import { CONTROL_ERRORS } from '../model/errors-control.ts'
import type { DemoOptions } from './banyan.ts'
import { commandLine, type Context, type ExitCode, jsonText } from './context.ts'
import { type Environment, openEnvironment } from './demo/environment.ts'
import { startLoad } from './demo/load.ts'
import { report, sentinel, servers } from './demo/report.ts'
import { type Demo, Stopped } from './demo/stage.ts'
import { tellStory } from './demo/story.ts'
import { lagOf } from './run.ts'
import { stopped } from './up.ts'

const SABOTAGE = ['missing-row', 'doubled-row', 'stale-read', 'rogue-write', 'gate-off']
/** During the story, a second. So many sessions that each pauses between two writes: late copies are read as well. */
const LOAD = { reads: 180, writes: 60, seed: 1, sessions: 150 }
/** Afterwards, so that there is something to look at. */
const LIGHT_LOAD = { reads: 20, writes: 5, seed: 2 }
/** What the whole of it may take with --once, on two cores. Printed, never enforced. */
const BUDGET_S = 150

/** Throws what keeps the clinic or Banyan from starting; then nothing is left running. */
export async function runDemo(context: Context, options: DemoOptions): Promise<ExitCode> {
  checkOptions(options)
  const began = performance.now()
  const since = (): number => (performance.now() - began) / 1000
  await using environment = await openEnvironment(context, { ...options, load: LOAD })
  const { demo } = environment
  const { screen } = demo
  welcome(environment, since())
  const found = await tell(demo)
  if (context.signal.aborted) return 4
  await environment.stopLoad()
  const seconds = since()
  const clean = screen.wrong.length === 0
  closing(demo, seconds, options)
  if (context.json) {
    const { said, wrong } = screen
    context.write(jsonText({ clean, seconds, said, wrong, ...found }))
  }
  if (!options.once) await stayUp(context, environment)
  return clean ? 0 : 5
}

/** Throws OPTION_INVALID. */
function checkOptions({ sabotage, lag }: DemoOptions): void {
  lagOf(lag, 'demo')
  if (sabotage === undefined || SABOTAGE.includes(sabotage)) return
  const details = ['--sabotage', sabotage, `it is one of ${SABOTAGE.join(', ')}`, 'demo']
  throw new BanyanError(CONTROL_ERRORS.OPTION_INVALID, details)
}

function welcome(environment: Environment, seconds: number): void {
  const { demo, ports, folder, moved, resumed } = environment
  const { screen, databases } = demo
  const { monolith, scheduling, people, facade } = ports
  const services = `✔ scheduling :${scheduling}  ✔ people :${people}  ✔ façade :${facade}`
  const version = databases.clusters.legacy.version
  screen.plain(`✔ PostgreSQL ${version} (embedded)  ✔ monolith :${monolith}`)
  screen.plain(`${services}      ${Math.round(seconds)} s`)
  if (moved)
    screen.dim(`data under ${moved.replace(/[^/]+$/, '')}: PostgreSQL's user can't reach ${folder}`)
  if (resumed) screen.dim(`goes on where ${folder} stands; to begin anew, remove that folder`)
}

async function tell(demo: Demo): Promise<object> {
  const gone = (error: unknown, what: string): void => {
    if (demo.context.signal.aborted || error instanceof Stopped) return
    demo.screen.bad(what, error instanceof Error ? error.message : String(error))
  }
  await tellStory(demo).catch((error: unknown) => gone(error, 'story'))
  if (demo.context.signal.aborted) return {}
  try {
    const { ledger, sides } = await report(demo)
    await sentinel(demo)
    return { ledger, sides, servers: await servers(demo) }
  } catch (error) {
    gone(error, 'report')
    return {}
  }
}

function closing({ context, screen }: Demo, seconds: number, options: DemoOptions): void {
  const took = `${Math.round(seconds)} s of ${BUDGET_S} s`
  const marked = `${screen.wrong.length} line${screen.wrong.length === 1 ? '' : 's'} above`
  if (screen.wrong.length === 0) screen.plain(`clean     everything above holds; ${took}`)
  else screen.plain(`NOT CLEAN ${marked} marked ✖; ${took}`)
  if (options.once) {
    screen.plain(`next: ${commandLine(context, 'demo')}      goes on from here, and stays up`)
  }
}

/** Light traffic goes on, so that every command has something to show. */
async function stayUp(context: Context, environment: Environment): Promise<void> {
  const { demo, folder, target } = environment
  const { screen } = demo
  const journal = join(folder, 'light.journal')
  await rm(journal, { force: true })
  await using _load = await startLoad({ target, journal, ...LIGHT_LOAD })
  const command = (rest: string): string => commandLine(context, rest).padEnd(36)
  screen.plain(`try       ${command('status -w')}${command('plan practitioners sync')}`)
  screen.plain(
    `          ${command('doctor appointments')}${command('explain PATCH /api/patients/7')}`,
  )
  screen.plain(`          ${command('back patients')}open ${target}`)
  screen.plain('stops with Ctrl-C; the data stays')
  await stopped(context.signal)
}
