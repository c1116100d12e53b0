/** What a seed stands for: who is hit, at which step of the cutover, how, and when exactly. */
import { type StepName, STEPS } from '../../control/cutover.ts'
import { seeded } from '../../examples/clinic/load/random.ts'

export type Victim = 'controller' | 'worker' | 'router' | 'legacy' | 'services' | 'control'
export type ClusterName = Extract<Victim, 'legacy' | 'services' | 'control'>

export type Fault =
  /** SIGKILL; of a cluster: its postmaster and every process of it. */
  | 'kill'
  /** SIGSTOP, and SIGCONT after a while. */
  | 'stop'
  /** `pg_ctl stop -m immediate`. */
  | 'immediate'
  /** What lies between Banyan and the cluster: every connection is reset, nothing passes, an acknowledgement is lost. */
  | 'reset'
  | 'black-hole'
  | 'lost-ack'
  /** The controller's session that holds the lease ends, and nothing else: for a moment there are two controllers. */
  | 'lease-lost'
  /** For a sabotage that needs none. */
  | 'none'

export const VICTIMS: readonly Victim[] = [
  'controller',
  'worker',
  'router',
  'legacy',
  'services',
  'control',
]

const OF_PROCESSES: readonly Fault[] = ['kill', 'stop']
const FAULTS: Readonly<Record<Victim, readonly Fault[]>> = {
  controller: [...OF_PROCESSES, 'lease-lost'],
  worker: OF_PROCESSES,
  router: OF_PROCESSES,
  legacy: [...OF_PROCESSES, 'immediate', 'reset', 'black-hole', 'lost-ack'],
  services: [...OF_PROCESSES, 'immediate', 'reset', 'black-hole', 'lost-ack'],
  control: [...OF_PROCESSES, 'immediate', 'reset', 'black-hole', 'lost-ack'],
}

/** Those of the cutover, and the one that undoes: a rehearsal, held where ABORTED is written and not yet committed. */
export type Moment = StepName | 'settle'
export const MOMENTS: readonly Moment[] = [...STEPS.map(each => each.step), 'settle']

export interface Plan {
  readonly seed: number
  readonly victim: Victim
  readonly step: Moment
  readonly fault: Fault
  /** From the fault to the end of the step's wait. Negative: the step goes on first, and is hit so much later. ms */
  readonly releaseMs: number
  /** How long a stopped process sleeps, a hole swallows, a dead cluster stays down. ms */
  readonly downMs: number
}

export const CELLS = VICTIMS.length * MOMENTS.length

/** Any `CELLS` seeds in a row meet every victim at every step once. */
export function planOf(seed: number): Plan {
  const cell = (seed - 1) % CELLS
  const victim = VICTIMS[cell % VICTIMS.length]!
  const step = MOMENTS[Math.floor(cell / VICTIMS.length)]!
  const { next, pick } = seeded(seed)
  const fault = pick(FAULTS[victim])!
  const kind = next()
  const releaseMs =
    kind < 0.3 ? -12 * next() : kind < 0.6 ? 0 : kind < 0.8 ? 40 * next() : 200 + 1_000 * next()
  return { seed, victim, step, fault, releaseMs, downMs: downOf(fault, next()) }
}

function downOf(fault: Fault, part: number): number {
  switch (fault) {
    // Mostly short: most of what goes wrong goes wrong within the hold.
    case 'stop':
      return 1_000 + 9_000 * part ** 3
    case 'black-hole':
      return 500 + 3_500 * part
    default:
      return 1_500 * part
  }
}

export function isCluster(victim: Victim): victim is ClusterName {
  return victim === 'legacy' || victim === 'services' || victim === 'control'
}
