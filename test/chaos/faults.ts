/** Carries a fault out, and ends it. Each returns when the victim is hit; `heal` when it is whole again, or will be by itself. */
import { readdir, readFile } from 'node:fs/promises'
import { must } from '../../model/errors.ts'
import type { Part } from '../../scripts/supervise.ts'
import { pause } from '../../model/pause.ts'
import { type Fault, isCluster, type Plan } from './plan.ts'
import type { World } from './world.ts'

export interface Hit {
  /** What was hit, for the report: `control pid 4711`. */
  readonly what: string
  heal(): Promise<void>
}

/** `part`: the process that is meant, where the victim is one. */
export async function inject(
  world: World,
  plan: Plan,
  part: Part | undefined,
): Promise<Hit | undefined> {
  if (isCluster(plan.victim)) return cluster(world, plan.victim, plan)
  const pid = part?.pid
  if (pid === undefined) return undefined
  const what = `${part?.name} pid ${pid}`
  if (plan.fault === 'none') return { what: 'nobody', heal: async () => undefined }
  if (plan.fault === 'lease-lost') {
    await world.store.pool.query(
      `SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity a JOIN pg_locks l USING (pid)
       WHERE a.application_name = 'banyan control lease' AND l.locktype = 'advisory' AND l.granted`,
    )
    return { what, heal: async () => undefined }
  }
  signal([pid], plan.fault === 'kill' ? 'SIGKILL' : 'SIGSTOP')
  return {
    what,
    async heal() {
      // What was killed is started again by whoever keeps it alive.
      if (plan.fault === 'kill') return
      await pause(plan.downMs)
      signal([pid], 'SIGCONT')
    },
  }
}

async function cluster(
  world: World,
  name: Extract<Plan['victim'], 'legacy' | 'services' | 'control'>,
  { fault, downMs }: Plan,
): Promise<Hit> {
  const managed = world.clusters[name]
  const link = world.links[name]
  const { pid } = managed.current
  const what = `${name} postmaster ${pid}`
  const restarted = async (): Promise<void> => {
    await pause(downMs)
    await managed.restart()
  }
  const faults: Partial<Record<Fault, () => Promise<() => Promise<void>>>> = {
    async kill() {
      signal(await family(pid), 'SIGKILL')
      return restarted
    },
    async immediate() {
      signal([pid], 'SIGQUIT')
      return restarted
    },
    async stop() {
      const all = await family(pid)
      signal(all, 'SIGSTOP')
      return async () => {
        await pause(downMs)
        // Children that were born while the others were being stopped are awake already.
        signal(all, 'SIGCONT')
      }
    },
    async reset() {
      link.reset()
      return async () => undefined
    },
    async 'black-hole'() {
      link.blackHole()
      return async () => {
        await pause(downMs)
        link.restore()
        // It ends as it may end: as if nothing had been, or with dead connections.
        if (Math.floor(downMs) % 2 === 0) link.reset()
      }
    },
    async 'lost-ack'() {
      link.loseNextAck()
      return async () => {
        await pause(downMs)
        link.restore()
      }
    },
  }
  return { what, heal: await must(faults[fault], fault)() }
}

/** A postmaster and all of its processes. */
async function family(postmaster: number): Promise<number[]> {
  const children: number[] = []
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry)) continue
    const stat = await readFile(`/proc/${entry}/stat`, 'utf8').catch(() => '')
    const parent = /^\d+ \(.*\) \S (\d+) /s.exec(stat)?.[1]
    if (parent === String(postmaster)) children.push(Number(entry))
  }
  return [postmaster, ...children]
}

function signal(pids: readonly number[], name: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, name)
    } catch {
      // It has ended by itself.
    }
  }
}
