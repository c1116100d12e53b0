/** May this slice go to that stage now? Facts in, verdict out; no clock, no query, no log. */
import { BanyanError } from '../model/errors.ts'
import { CONTROL_ERRORS } from '../model/errors-control.ts'
import type { Stage } from '../model/stage.ts'
import { movesOwner, STAGES } from '../model/stage.ts'
import { CHECKS, type Blocker } from './checks.ts'
import type { SliceFacts } from './facts.ts'

export type Verdict =
  | { readonly go: true; readonly fenced: boolean }
  /** Everything that stands in the way, at once, each with the command that clears it. */
  | { readonly go: false; readonly blockers: readonly Blocker[] }

/** Forward one step at a time, back any number (but `moved` only to `canary`); the same stage changes its percentage. */
export function decideFlip(facts: SliceFacts, to: Stage): Verdict {
  const rule = STAGES[facts.stage]
  if (to !== facts.stage && (to === 'retired' || !rule.next.includes(to))) {
    return { go: false, blockers: [skipped(facts, to)] }
  }
  const blockers = CHECKS[to].flatMap(check => check(facts, to) ?? [])
  if (blockers.length > 0) return { go: false, blockers }
  return { go: true, fenced: facts.ownsTables && movesOwner(facts.stage, to) }
}

function skipped(facts: SliceFacts, to: Stage): Blocker {
  const next = STAGES[facts.stage].next
  if (to === 'retired') {
    const { code, message, hint } = new BanyanError(CONTROL_ERRORS.RETIRE_LATER, [facts.slice])
    return { code, message, hint }
  }
  return {
    code: 'STAGE_SKIPPED',
    message: `"${facts.slice}" is at ${facts.stage}: it can go to ${next.filter(stage => stage !== 'retired').join(' or ')}, not to ${to}`,
    hint: `one step at a time: \`banyan flip ${facts.slice} ${next[0] ?? facts.stage}\``,
  }
}
