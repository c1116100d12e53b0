/**
 * The clinic at work as everywhere else (`openEnvironment`), with what chaos needs around it: clusters that can be
 * killed and started again, proxies between Banyan and each of them, a second worker, a lever at every step of a flip.
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { streamTo } from '../../control/cutover-runner.ts'
import { Closers } from '../../model/closers.ts'
import { must } from '../../model/errors.ts'
import { pause } from '../../model/pause.ts'
import { slotOf, parseStream } from '../../model/stream.ts'
import { connect } from '../../postgres/connection.ts'
import { type Cluster, startCluster } from '../../postgres/embedded.ts'
import { contextOf } from '../../scripts/context.ts'
import { createDatabase } from '../../scripts/control-cluster.ts'
import { openStore, type Opened } from '../../scripts/control-store.ts'
import type { Databases } from '../../scripts/demo/clinic.ts'
import { openEnvironment } from '../../scripts/demo/environment.ts'
import { secretFile } from '../../scripts/demo/project.ts'
import { type Demo, mustFlip, Stopped } from '../../scripts/demo/stage.ts'
import { toCanary } from '../../scripts/demo/story.ts'
import { type Part, startPart } from '../../scripts/supervise.ts'
import { watchCommits } from './evidence.ts'
import { Lever } from './lever.ts'
import type { ClusterName } from './plan.ts'
import { type Link, openLink } from './proxy.ts'

export const SLICE = 'appointments'

const SETTINGS = { track_commit_timestamp: 'on' }
const DATABASES = ['legacy', 'scheduling', 'people'] as const
const ATTEMPTS = 5
const AGAIN_MS = 1_000
const ROLES = ['setup', 'apply', 'capture'] as const

export interface World extends AsyncDisposable {
  readonly demo: Demo
  /** Straight to the control database, not through its proxy. */
  readonly store: Opened['store']
  readonly ear: Opened['ear']
  readonly clusters: Readonly<Record<ClusterName, Managed>>
  readonly links: Readonly<Record<ClusterName, Link>>
  readonly lever: Lever
  readonly router: Part
  /** The controller that works on the slice's flip, and the worker that has the stream it waits for. */
  leader(): Promise<Part>
  worker(to: 'moved' | 'canary'): Promise<Part>
}

/** The slices could not be brought to where the runs begin. */
export class WorldNotMade extends Error {}

/** A cluster that may die and be started again on the same port and data. */
export class Managed {
  readonly #name: string
  readonly #settings: Readonly<Record<string, string>>
  current: Cluster

  constructor(name: string, cluster: Cluster, settings: Readonly<Record<string, string>>) {
    this.#name = name
    this.current = cluster
    this.#settings = settings
  }

  /** Waits until the dead one's processes are gone. */
  async restart(): Promise<void> {
    await this.current.exited
    const { dataDir, port } = this.current
    const wanted = { dataDir, port, name: this.#name, settings: this.#settings }
    this.current = await startCluster(wanted)
  }
}

/** Appointments at canary, patients moved: two slices, read copies, both directions are in play. */
export async function openWorld(seed: number, signal: AbortSignal): Promise<World> {
  const closers = new Closers()
  // Not under the project: PostgreSQL's user may have no way there.
  const folder = await mkdtemp('/var/tmp/banyan-chaos-')
  closers.defer(() => rm(folder, { recursive: true, force: true }))
  const said: string[] = []
  try {
    const context = {
      ...contextOf({ config: join(folder, 'banyan.yaml'), json: false, signal, self: 'banyan' }),
      write: (text: string) => void said.push(text),
    }
    const clusters = {} as Record<ClusterName, Managed>
    const links = {} as Record<ClusterName, Link>
    // They are started again behind the environment's back.
    closers.defer(() =>
      Promise.all(Object.values(clusters).map(each => each.current.stop('immediate'))),
    )
    let controlUrl = ''
    const arrange = async (made: { config: string; databases: Databases }): Promise<void> => {
      const control = await startCluster({ dataDir: join(folder, 'data/control'), name: 'control' })
      clusters.control = new Managed('control', control, {})
      for (const name of ['legacy', 'services'] as const) {
        clusters[name] = new Managed(name, made.databases.clusters[name], SETTINGS)
      }
      for (const name of ['legacy', 'services', 'control'] as const) {
        const link = await openLink(clusters[name].current)
        links[name] = link
        closers.defer(() => link[Symbol.asyncDispose]())
      }
      await createDatabase(control.url('postgres'), 'banyan')
      controlUrl = control.url('banyan')
      await writeFile(join(folder, 'secrets/control.url'), through(controlUrl, links.control))
      await reroute(folder, links)
      await watchCommits(made.databases.superuser)
    }
    const environment = await openEnvironment(context, {
      folder,
      size: { patients: 300, appointments: 2_000 },
      load: { reads: 50, writes: 50, seed, sessions: 20 },
      enough: { compared: 10, canaryReads: 5 },
      ports: 'any',
      settings: SETTINGS,
      arrange,
    })
    closers.defer(() => environment[Symbol.asyncDispose]())
    const { demo } = environment
    const { controller, standby, sync, router } = demo.running
    const second = await startPart({
      name: 'sync-standby',
      script: join(import.meta.dirname, '../../scripts/banyan.js'),
      args: ['run', 'sync', '--config', demo.context.config],
      folder: join(folder, '.banyan'),
    })
    closers.defer(() => second[Symbol.asyncDispose]())
    const { store, ear, ...opened } = openStore(controlUrl)
    closers.defer(() => opened[Symbol.asyncDispose]())
    await patiently(() => toCanary(demo, 'patients'))
    await patiently(() => mustFlip(demo, 'patients', 'moved'))
    await patiently(() => toCanary(demo, SLICE))
    const lever = await Lever.put({ control: controlUrl, legacy: demo.databases.superuser.legacy })
    closers.defer(() => lever[Symbol.asyncDispose]())
    const slice = must(
      demo.opened.wiring.project.slices.find(each => each.name === SLICE),
      SLICE,
    )
    return {
      demo,
      ...{ store, ear, clusters, links, lever, router },
      leader: () => lastToSay([controller, standby], 'flip begins', `"slice":"${SLICE}"`),
      worker(to) {
        const stream = streamTo(slice, to === 'moved' ? 'service' : 'legacy')
        const slot = slotOf(must(parseStream(stream), stream))
        return lastToSay([sync, second], 'change stream opened', `"slot":"${slot}"`)
      },
      [Symbol.asyncDispose]: () => closers[Symbol.asyncDispose](),
    }
  } catch (error) {
    await closers[Symbol.asyncDispose]()
    const last = said.at(-1)?.replace(/\s+/g, ' ').trim() ?? ''
    throw new WorldNotMade(`the world was not made: ${last}`, { cause: error })
  }
}

/** On a busy machine a flip may be refused, or take longer than it may. */
async function patiently(act: () => Promise<unknown>): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await act()
      return
    } catch (error) {
      if (!(error instanceof Stopped) || attempt === ATTEMPTS) throw error
      await pause(AGAIN_MS)
    }
  }
}

/** Banyan's own roles go through the proxies; monolith and services don't. */
async function reroute(folder: string, links: Record<ClusterName, Link>): Promise<void> {
  for (const database of DATABASES) {
    const link = database === 'legacy' ? links.legacy : links.services
    for (const role of ROLES) {
      const file = join(folder, secretFile(database, role))
      await writeFile(file, through((await readFile(file, 'utf8')).trim(), link))
    }
  }
  const config = join(folder, 'banyan.yaml')
  const yaml = (await readFile(config, 'utf8')).replace(
    'database: embedded',
    'database: file:secrets/control.url',
  )
  await writeFile(config, yaml)
  const slice = join(folder, 'slices', `${SLICE}.yaml`)
  const text = await readFile(slice, 'utf8')
  await writeFile(slice, text.replace('triggers: {', 'triggers: { chaos_commit: skip,'))
}

function through(text: string, link: Link): string {
  const url = new URL(text)
  url.port = String(link.port)
  return url.href
}

/** Which of these processes wrote such a line last. */
async function lastToSay(parts: readonly Part[], ...words: readonly string[]): Promise<Part> {
  let found: { part: Part; at: string } | undefined
  for (const part of parts) {
    const lines = (await readFile(part.logFile, 'utf8')).split('\n')
    const line = lines.findLast(each => words.every(word => each.includes(word)))
    if (!line) continue
    const { at } = JSON.parse(line) as { at: string }
    if (!found || at > found.at) found = { part, at }
  }
  return must(found?.part, `a process that said ${words.join(' ')}`)
}

/** One statement, as a session of its own. */
export async function ask<T>(url: string, sql: string, values: unknown[] = []): Promise<T[]> {
  const client = await connect({ url, applicationName: 'chaos', connectTimeoutMs: 3_000 })
  try {
    return (await client.query(sql, values)).rows as T[]
  } finally {
    await client.end().catch(() => undefined)
  }
}
