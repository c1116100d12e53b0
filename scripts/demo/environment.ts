/** The clinic, Banyan in front of it, and a load that is already running: for the demo, the benchmark and the tests. */
import { rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { Closers } from '../../model/closers.ts'
import type { Context } from '../context.ts'
import { openStore } from '../control-store.ts'
import { lagOf } from '../run.ts'
import { type Running, startAll } from '../up.ts'
import { openProject, openWiring } from '../wiring.ts'
import { type Databases, isSetUp, openDatabases, type Size, startApps } from './clinic.ts'
import { startLoad } from './load.ts'
import { choosePorts, type DemoPorts, writeProject } from './project.ts'
import { Screen } from './screen.ts'
import type { Demo, Enough } from './stage.ts'

export interface EnvironmentWanted {
  readonly folder: string
  /** Of the first set-up in that folder. */
  readonly size?: Size
  /** Requests a second. */
  readonly load: {
    readonly reads: number
    readonly writes: number
    readonly seed: number
    readonly sessions?: number
  }
  readonly enough?: Enough
  /** `any`: others may run beside it. */
  readonly ports?: 'usual' | 'any'
  readonly lag?: string | undefined
  readonly sabotage?: string | undefined
  /** postgresql.conf of both clusters, over ours. */
  readonly settings?: Readonly<Record<string, string>>
  /** Done when the databases run and the files are written, before anything else begins: for who puts something in between. */
  readonly arrange?: (made: {
    folder: string
    config: string
    databases: Databases
  }) => Promise<void>
  /** Banyan itself, by its project's file; default: as `banyan up` starts it. What it opens must answer at `facade`. */
  readonly start?: (config: string, facade: number) => Promise<Running>
}

const STANDARD: Enough = { compared: 500, canaryReads: 400 }

export interface Environment extends AsyncDisposable {
  readonly demo: Demo
  readonly ports: DemoPorts
  readonly folder: string
  readonly target: string
  /** The folder was set up by an earlier run. */
  readonly resumed: boolean
  /** Where the data really lie, if not in the folder. */
  readonly moved: string | null
  stopLoad(): Promise<void>
}

/** Throws what keeps the clinic or Banyan from starting; then nothing is left running. */
export async function openEnvironment(
  context: Context,
  wanted: EnvironmentWanted,
): Promise<Environment> {
  const folder = resolve(wanted.folder)
  const screen = new Screen(context)
  const resumed = (await isSetUp(folder)) !== undefined
  const closers = new Closers()
  try {
    screen.doing(resumed ? 'starting PostgreSQL' : 'making three databases, and filling them')
    const databases = await openDatabases(folder, wanted.size, wanted.settings)
    closers.defer(() => databases[Symbol.asyncDispose]())
    const ports = await choosePorts(wanted.ports ?? 'usual')
    const config = await writeProject(folder, ports)
    await wanted.arrange?.({ folder, config, databases })
    screen.doing('starting the monolith and its services')
    const apps = await startApps(folder, ports, databases)
    closers.defer(() => apps[Symbol.asyncDispose]())
    screen.doing('starting Banyan')
    const start = wanted.start ?? (() => startUp(config, wanted.lag))
    const running = await start(config, ports.facade)
    closers.defer(() => running[Symbol.asyncDispose]())
    const { store, ear, ...opened } = openStore(running.control.url)
    closers.defer(() => opened[Symbol.asyncDispose]())
    const journal = join(folder, 'load.journal')
    await rm(journal, { force: true })
    const target = `http://127.0.0.1:${ports.facade}`
    const load = await startLoad({ target, journal, ...wanted.load })
    let loading = true
    const stopLoad = async (): Promise<void> => {
      if (loading) await load[Symbol.asyncDispose]()
      loading = false
    }
    closers.defer(stopLoad)
    const { legacy } = databases.clusters
    return {
      demo: {
        context: { ...context, config },
        opened: { wiring: await openWiring(config), store, ear },
        ...{ databases, running, load, screen, journal },
        lagMs: lagOf(wanted.lag, 'demo'),
        sabotage: wanted.sabotage,
        enough: wanted.enough ?? STANDARD,
      },
      ...{ ports, folder, target, resumed, stopLoad },
      moved: legacy.movedFrom === null ? null : legacy.dataDir,
      [Symbol.asyncDispose]: () => closers[Symbol.asyncDispose](),
    }
  } catch (error) {
    await closers[Symbol.asyncDispose]()
    throw error
  }
}

async function startUp(config: string, lag: string | undefined): Promise<Running> {
  const { project } = await openProject(config)
  return startAll({ config }, project, lag)
}
