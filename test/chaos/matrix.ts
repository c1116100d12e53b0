/** What was hit where, how often, and how it ended: victim × step, survived/total. */
import type { Report } from '../../examples/clinic/load/tally.ts'
import { type Moment, MOMENTS, type Victim, VICTIMS } from './plan.ts'
import type { Outcome } from './run.ts'

export class Matrix {
  readonly #runs: Outcome[] = []
  #missed = 0
  #load: Report | undefined

  /** A fault that came after the flip is no run. */
  add(outcome: Outcome): void {
    if (outcome.at === undefined && outcome.violations.length === 0) this.#missed += 1
    else this.#runs.push(outcome)
  }

  requests(report: Report): void {
    this.#load = report
  }

  get runs(): number {
    return this.#runs.length
  }

  count(victim: Victim, step: Moment): number {
    return this.#cell(victim, step).length
  }

  text(): string {
    const width = Math.max(...VICTIMS.map(each => each.length)) + 2
    const head = ['', ...MOMENTS].map((text, n) => text.padEnd(n === 0 ? width : 8)).join('')
    const lines = VICTIMS.map(victim => {
      const cells = MOMENTS.map(step => {
        const all = this.#cell(victim, step)
        const survived = all.filter(each => each.violations.length === 0).length
        return (all.length === 0 ? '·' : `${survived}/${all.length}`).padEnd(8)
      })
      return `${victim.padEnd(width)}${cells.join('')}`
    })
    return [head, ...lines, ...this.#sums()].map(line => line.trimEnd()).join('\n')
  }

  #sums(): string[] {
    const survived = this.#runs.filter(each => each.violations.length === 0)
    const outcomes = new Map<string, number>()
    for (const { flip } of this.#runs) {
      outcomes.set(flip ?? 'open', (outcomes.get(flip ?? 'open') ?? 0) + 1)
    }
    const ended = [...outcomes].map(([name, count]) => `${count} ${name}`).join(', ')
    const times = this.#runs.map(each => each.recoveryMs).sort((a, b) => a - b)
    const at = (part: number): string => {
      const ms = times[Math.min(times.length - 1, Math.floor(times.length * part))] ?? 0
      return (ms / 1000).toFixed(1)
    }
    const commits = this.#runs.at(-1)?.commits ?? 0
    const failed = this.#load?.failures
    return [
      `survived ${survived.length}/${this.#runs.length}, ${this.#missed} missed; flips: ${ended}`,
      `recovery p50 ${at(0.5)} s, max ${at(1)} s (the fault's own time included)`,
      `${commits} commits of the application lay where their side was the owner`,
      ...(failed
        ? [`requests that failed, counted and not judged: ${JSON.stringify(failed)}`]
        : []),
    ]
  }

  #cell(victim: Victim, step: Moment): Outcome[] {
    return this.#runs.filter(({ plan, at }) => plan.victim === victim && at === step)
  }
}
