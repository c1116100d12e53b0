/** How far the model is searched, and the rules it can leave out: what each means, which law breaks, and where. */

/** How far a run goes. Every state within the bounds is visited, so each bound is a run of its own. */
export interface Bounds {
  /** Epochs 1…n; anyone may use any of them at any time. */
  readonly epochs: number
  /** Application transactions, on either side. */
  readonly writes: number
  /** Crashes, of either database. */
  readonly crashes: number
  /** Takeovers of a stream: the worker before lives on as a zombie. */
  readonly twins: number
  /** Writes that no gate saw (a superuser's), on a closed side. */
  readonly rogues: number
  /** Whether the service's database may be given up, once, and come back. Not together with twins or rogues. */
  readonly abandons: number
}

export type Law = 'L2' | 'L3' | 'L4'

export type Sabotage =
  | 'bare-setval'
  | 'word-not-monotone'
  | 'decision-skipped'
  | 'decision-not-unique'
  | 'decision-at-new-owner'
  | 'reopen-before-aborted'
  | 'no-deadline'
  | 'dead-fence-left-alone'
  | 'open-without-evidence'
  | 'evidence-by-epoch-alone'
  | 'prepare-without-comparison'
  | 'promoted-before-prepared'
  | 'epoch-only-progress'
  | 'applier-not-waiting'
  | 'rogue-applied'
  | 'owner-read-before-change'
  | 'owner-judged-when-read'
  | 'old-database-not-closed'
  | 'lost-applied'

interface SabotageRule {
  readonly breaks: Law
  readonly meaning: string
  /** The smallest bounds that we know to turn it red. */
  readonly bounds: Bounds
}

export function bounds(epochs: number, writes: number, more: Partial<Bounds> = {}): Bounds {
  return { epochs, writes, crashes: 0, twins: 0, rogues: 0, abandons: 0, ...more }
}

// prettier-ignore
export const SABOTAGES: Readonly<Record<Sabotage, SabotageRule>> = {
  'bare-setval':                { breaks: 'L2', bounds: bounds(1, 0),               meaning: 'set_gate reads the word without the lock and calls setval later' },
  'word-not-monotone':          { breaks: 'L2', bounds: bounds(2, 0),               meaning: 'neither fence nor set_gate refuses a word that is already greater' },
  'decision-skipped':           { breaks: 'L2', bounds: bounds(1, 0),               meaning: 'the new owner opens with PREPARED(e) and without PROMOTED(e)' },
  'decision-not-unique':        { breaks: 'L4', bounds: bounds(1, 0),               meaning: 'ABORTED(e) is committed although PROMOTED(e) is there' },
  'decision-at-new-owner':      { breaks: 'L4', bounds: bounds(1, 0),               meaning: 'ABORTED(e) is a row of the new owner’s database: a dead service keeps legacy closed' },
  'reopen-before-aborted':      { breaks: 'L2', bounds: bounds(1, 0),               meaning: 'the old owner reopens while decision(e) is missing' },
  'no-deadline':                { breaks: 'L4', bounds: bounds(1, 0),               meaning: 'only the controller that took a fence may abort it, and it is dead' },
  'dead-fence-left-alone':      { breaks: 'L4', bounds: bounds(1, 0),               meaning: 'a word 2e without fence row e (the fence rolled back) is nobody’s to settle' },
  'open-without-evidence':      { breaks: 'L2', bounds: bounds(1, 0),               meaning: 'the new owner opens with neither PROMOTED(e) nor PREPARED(e)' },
  'evidence-by-epoch-alone':    { breaks: 'L2', bounds: bounds(1, 0),               meaning: 'any row of epoch e, of any kind (RAISED too) and either database, is evidence' },
  'prepare-without-comparison': { breaks: 'L3', bounds: bounds(1, 1),               meaning: 'PREPARED(e) without REACHED(e) and without position = marker(e)' },
  'promoted-before-prepared':   { breaks: 'L4', bounds: bounds(1, 0),               meaning: 'PROMOTED(e) is sent before PREPARED(e) was read: only an applier could end the pause' },
  'epoch-only-progress':        { breaks: 'L3', bounds: bounds(1, 1, { twins: 1 }),  meaning: 'the progress row is compared by epoch, not by worker and position' },
  'applier-not-waiting':        { breaks: 'L3', bounds: bounds(1, 0, { rogues: 1 }), meaning: 'a worker reads on past fence e while decision(e) is missing' },
  'rogue-applied':              { breaks: 'L3', bounds: bounds(1, 0, { rogues: 1 }), meaning: 'a stream whose source is not the owner applies what it finds' },
  'owner-read-before-change':   { breaks: 'L3', bounds: bounds(1, 1, { twins: 1 }),  meaning: 'who owns is read first, the change comes out of the stream later' },
  'owner-judged-when-read':     { breaks: 'L3', bounds: bounds(1, 0, { rogues: 1 }), meaning: 'a change is judged by who owns when it is read, not by who owned where it stands' },
  'old-database-not-closed':    { breaks: 'L2', bounds: bounds(2, 0, { abandons: 1 }), meaning: 'a database that was given up and comes back is used before it is closed' },
  'lost-applied':               { breaks: 'L3', bounds: bounds(2, 1, { abandons: 1 }), meaning: 'what a database that was given up had stored last is applied, not listed' },
}

export const SABOTAGE_NAMES = Object.keys(SABOTAGES) as readonly Sabotage[]

/** What every test run visits. */
export const SHORT: readonly Bounds[] = [
  bounds(2, 2, { crashes: 2 }),
  bounds(3, 2, { crashes: 1 }),
  bounds(3, 3),
  bounds(4, 1),
  bounds(2, 2, { twins: 1 }),
  bounds(2, 1, { crashes: 1, twins: 1 }),
  bounds(3, 1, { rogues: 1 }),
  bounds(2, 1, { crashes: 1, rogues: 1 }),
  bounds(3, 1, { crashes: 1, abandons: 1 }),
]

/** A minute or two and 0.7 GB: by hand. */
export const LONG: readonly Bounds[] = [
  bounds(4, 2, { crashes: 1 }),
  bounds(5, 1),
  bounds(6, 0),
  bounds(3, 3, { crashes: 2 }),
  bounds(3, 1, { twins: 1 }),
  bounds(2, 2, { crashes: 1, twins: 1 }),
  bounds(2, 2, { twins: 2 }),
  bounds(3, 2, { rogues: 1 }),
  bounds(3, 1, { crashes: 1, rogues: 1 }),
  bounds(2, 1, { rogues: 1, twins: 1 }),
  bounds(4, 1, { abandons: 1 }),
  bounds(3, 2, { crashes: 1, abandons: 1 }),
]

/** `3 epochs, 2 writes, 1 crash` */
export function print(run: Bounds): string {
  const counts = Object.entries(run).filter(([, count]) => count > 0) as [string, number][]
  return counts
    .map(([what, count]) => `${count} ${count > 1 ? what : what.replace(/(?<=sh)es$|s$/, '')}`)
    .join(', ')
}
