/** The one command that helps most now, given what was seen; without `banyan` in front. */
import { nextStep, stepTowards } from '../control/reconcile.ts'
import { movesOwner, type Stage, STAGES } from '../model/stage.ts'
import type { Checked } from './checks-now.ts'
import type { ControlLook, SliceLook } from './look.ts'
import type { UpstreamLook } from './upstreams.ts'

/** What clears a blocker, where that is a command of its own and not an edit. */
const CLEARS: Readonly<Record<string, (slice: string) => string>> = {
  VERIFY_MISSING: slice => `verify ${slice}`,
  VERIFY_STALE: slice => `verify ${slice}`,
  VERIFY_DIFFERS: slice => `verify ${slice}`,
  ROUTER_MISSING: () => 'run router',
  STREAM_SILENT: () => 'run sync',
  NOT_IN_STEP: slice => `status ${slice} -w`,
  LAG: slice => `status ${slice} -w`,
  FLIP_IN_PROGRESS: slice => `status ${slice} -w`,
  DATABASE_CHANGED: slice => `doctor ${slice}`,
  ABANDONED: slice => `doctor ${slice}`,
  WOULD_LOSE: slice => `why ${slice}`,
  RESYNC_REQUIRED: slice => `why ${slice}`,
  ROGUE_WRITES: slice => `doctor ${slice}`,
  FINGERPRINT: slice => `doctor ${slice}`,
  UNREACHABLE: slice => `doctor ${slice}`,
  OVERRIDDEN: slice => `release ${slice}`,
  STAGE_SKIPPED: slice => `plan ${slice}`,
  RETIRE_LATER: slice => `status ${slice}`,
}

/** The command that clears the first blocker that a command can clear; `otherwise` where none can. */
export function clearing(
  slice: string,
  blockers: readonly { readonly code: string }[],
  otherwise: string,
): string {
  const clear = blockers.map(each => CLEARS[each.code]).find(each => each !== undefined)
  return clear?.(slice) ?? otherwise
}

export interface SliceSeen extends SliceLook {
  readonly checks: Checked | null
}

/** True where a slice stands where its file wants it. */
export function atWant({ stage, percent, want }: SliceLook): boolean {
  return want !== null && want.stage === stage && (stage !== 'canary' || want.percent === percent)
}

/** The step that a slice takes next: towards what the brake or its file wants, else forward, else (none is offered) back. */
export function nextStage(look: SliceLook): Stage {
  const { stage, want, brake } = look
  if (brake && brake.stage !== stage) return stepTowards(stage, brake.stage) ?? stage
  if (want !== null && !atWant(look)) return stepTowards(stage, want.stage) ?? stage
  const [forward, back] = STAGES[stage].next
  if (forward !== undefined && forward !== 'retired') return forward
  return back ?? stage
}

/** True where nobody needs to ask for that step. */
function goesByItself({ stage, percent, want, brake, proposed }: SliceLook): boolean {
  if (proposed) return proposed.approvedBy.length >= proposed.needed
  const wanted = { wantedStage: want?.stage ?? null, wantedPercent: want?.percent ?? null }
  return nextStep({ stage, percent, ...wanted, override: brake }) !== undefined
}

/** Smaller is more urgent. */
type Urgent = readonly [rank: number, command: string]

/** After `banyan status`. `embedded`: the control database is ours, so `up` starts all. */
export function nextAfterStatus(
  seen: {
    readonly control: ControlLook
    readonly routers: readonly unknown[]
    readonly slices: readonly SliceSeen[]
    readonly upstreams: readonly UpstreamLook[]
  },
  embedded: boolean,
): string {
  if (!seen.control.alive) return embedded ? 'up' : 'run control'
  if (seen.routers.length === 0) return embedded ? 'up' : 'run router'
  // What only a dead service answers, nobody answers.
  const dead = seen.upstreams.filter(each => each.why !== null).map(each => each.name)
  const orphaned = seen.slices.find(({ stage, owner }) => stage === 'moved' && dead.includes(owner))
  if (orphaned && !orphaned.flip) return `back ${orphaned.slice}`
  const all = seen.slices.map(urgencyOf).sort((a, b) => a[0] - b[0])
  return all[0]?.[1] ?? 'lint'
}

function urgencyOf(seen: SliceSeen): Urgent {
  const { slice, stage, want, brake, flip, checks } = seen
  if (
    seen.rogueWrites > 0 ||
    seen.abandoned !== null ||
    want === null ||
    seen.streams.some(isBroken)
  ) {
    return [1, `why ${slice}`]
  }
  if (differs(seen)) return [2, `why ${slice}`]
  if (flip) return [3, `status ${slice} -w`]
  if (brake) return [4, `why ${slice}`]
  if (!atWant(seen)) return lastFailed(seen) ? [5, `why ${slice}`] : [6, stepCommand(seen)]
  if (checks === null) return [9, `plan ${slice}`]
  if (stage === 'moved') return [10, `status ${slice} -w`]
  return [checks.state === 'go' ? 7 : 8, stepCommand(seen)]
}

/** After `banyan why`: what was shown there isn't proposed again. */
export function nextAfterWhy(seen: SliceSeen, control: ControlLook, embedded: boolean): string {
  const { slice, flip, brake, stage } = seen
  if (flip) return control.alive ? `status ${slice} -w` : embedded ? 'up' : 'run control'
  if (seen.rogueWrites > 0) return `doctor ${slice}`
  const { abandoned } = seen
  if (abandoned?.returnedAtMs === null) return `status ${slice} -w`
  if (abandoned?.accepted === false) return `doctor ${slice}`
  if (seen.want === null) return `back ${slice} legacy`
  if (seen.streams.some(isBroken)) return `doctor ${slice}`
  if (differs(seen)) return `verify ${slice}`
  if (brake) return `release ${slice}`
  if (stage === 'moved' && atWant(seen)) return `status ${slice} -w`
  return stepCommand(seen)
}

/** The command that brings a slice one step on: look first where the owner would move. */
function stepCommand(seen: SliceSeen): string {
  const { slice, stage, checks } = seen
  const to = nextStage(seen)
  const plan = `plan ${slice} ${to}`
  if (!atWant(seen) && goesByItself(seen) && !lastFailed(seen)) return `status ${slice} -w`
  if (checks === null || checks.to !== to) return plan
  const { state, blockers, missing } = checks
  if (state === 'go') return movesOwner(stage, to) ? plan : `flip ${slice} ${to}`
  return clearing(slice, missing ? [...blockers, missing] : blockers, plan)
}

function isBroken(stream: SliceLook['streams'][number]): boolean {
  return stream.error !== null || stream.state === 'failed'
}

function differs({ verification, streams }: SliceLook): boolean {
  return streams.length > 0 && (verification?.differences ?? 0) > 0
}

/** The step that is wanted was tried, and it didn't end well. */
export function lastFailed(look: SliceLook): boolean {
  const { lastFlip } = look
  if (lastFlip === null || lastFlip.outcome === 'done' || lastFlip.kind === 'rehearsal')
    return false
  return lastFlip.to === nextStage(look)
}
