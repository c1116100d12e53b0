/** What crosses the edge of a slice, as `banyan doctor` sees it: whether it is answered, and whether its keys hold. */
import type pg from 'pg'
import { readForeignKeys } from '../control/crossing-facts.ts'
import { unansweredIn } from '../control/gather.ts'
import { isBroken, orphansError, readOrphans } from '../control/orphans.ts'
import { unenforcedKeys } from '../model/crossings.ts'
import { place } from '../model/diagnostic.ts'
import type { LoadedProject, Project, Slice } from '../model/project.ts'
import { type Stage, STAGES } from '../model/stage.ts'
import { type Check, check, problem, unknown } from './doctor-checks.ts'
import type { SideSeen } from './doctor-side.ts'
import { unenforcedText } from './orphans-text.ts'

/** `sideWrites`: of the census; undefined where the control database is away. */
export async function crossingChecks(
  wiring: { readonly project: Project; readonly sources: LoadedProject['sources'] },
  slice: Slice,
  legacy: SideSeen | undefined,
  sideWrites: ReadonlyMap<string, number> | undefined,
): Promise<Check[]> {
  const what = 'crossing keys, triggers, side writes'
  const session = legacy?.sessions.capture ?? legacy?.sessions.apply ?? legacy?.sessions.setup
  if (!session) return unknown(slice.name, [[what, []]])
  const asked = { wiring, legacy: session, sideWrites: sideWrites ?? new Map<string, number>() }
  const found = (await unansweredIn(asked, slice)).map(({ code, message, hint, ...at }) => {
    return { code, message: `${message} (${place(at.file, at)})`, hint }
  })
  return [check(slice.name, what, found)]
}

/** Whether every row has its parent. */
export async function keysCheck(slice: Slice, legacy: SideSeen | undefined): Promise<Check> {
  const what = 'foreign keys hold'
  const session = legacy && ownersSession(legacy)
  if (!session) return { where: slice.name, what, state: 'unknown', problems: [] }
  const found = await readOrphans(session, slice)
  const problems = found.filter(isBroken).map(each => problem(orphansError(each, slice.name)))
  const uncounted = problems.length === 0 && found.some(each => each.rows === null)
  return { ...check(slice.name, what, problems), ...(uncounted && { state: 'unknown' }) }
}

/** What is so after the flip of the owner, and stops nobody. */
export async function keysNotes(
  slice: Slice,
  stage: Stage | undefined,
  legacy: SideSeen | undefined,
): Promise<string[]> {
  const session = legacy && ownersSession(legacy)
  if (!session || (stage && STAGES[stage].owner === 'service')) return []
  const keys = unenforcedKeys(slice, await readForeignKeys(session))
  return keys.map(each => `once moved: ${unenforcedText(each, slice.service)}`)
}

/** A member of the tables' owner may look at every table. */
function ownersSession({ sessions }: SideSeen): pg.Client | undefined {
  return sessions.setup ?? sessions.capture ?? sessions.apply
}
