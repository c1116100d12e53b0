/** Where a slice stands, as data: who serves reads and writes in each stage. Behaviour reads this table. */

export type Side = 'legacy' | 'service'
export type Stage = 'legacy' | 'sync' | 'shadow' | 'canary' | 'moved' | 'retired'

export interface StageRule {
  /** Who answers safe requests. `compare`: legacy answers, a sample also goes to the service. */
  readonly reads: 'legacy' | 'compare' | 'split' | 'service'
  /** Who owns the tables, and so receives unsafe requests. */
  readonly owner: Side
  /** The direction that applies changes. The other one, once warm, only watches (the sentinel). */
  readonly stream: 'off' | 'forward' | 'reverse'
  /** The first is the way forward; all the others are ways back. */
  readonly next: readonly Stage[]
  /** What going back costs, in the words that every screen uses. */
  readonly wayBack: string
}

// prettier-ignore
export const STAGES: Readonly<Record<Stage, StageRule>> = {
  legacy:  { reads: 'legacy',  owner: 'legacy',  stream: 'off',     next: ['sync'],                                wayBack: '–' },
  sync:    { reads: 'legacy',  owner: 'legacy',  stream: 'forward', next: ['shadow', 'legacy'],                    wayBack: 'instant' },
  shadow:  { reads: 'compare', owner: 'legacy',  stream: 'forward', next: ['canary', 'sync', 'legacy'],            wayBack: 'instant' },
  canary:  { reads: 'split',   owner: 'legacy',  stream: 'forward', next: ['moved', 'shadow', 'sync', 'legacy'],   wayBack: 'instant' },
  moved:   { reads: 'service', owner: 'service', stream: 'reverse', next: ['retired', 'canary'],                   wayBack: 'one pause, lossless' },
  retired: { reads: 'service', owner: 'service', stream: 'off',     next: [],                                      wayBack: 'none' },
}

export const STAGE_NAMES = Object.keys(STAGES) as readonly Stage[]

/** Those that can be asked for: nothing retires a slice yet. */
export const OFFERED_STAGES = STAGE_NAMES.filter(stage => stage !== 'retired')

/** True where the two stages have different owners: the flip between them is the fenced protocol. */
export function movesOwner(from: Stage, to: Stage): boolean {
  return STAGES[from].owner !== STAGES[to].owner
}
