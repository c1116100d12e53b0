/** `banyan doctor --accept`: what is there now is taken as right, on a person's word. Nothing is carried to the other side. */
import { acceptAbandoned } from '../control/store/abandoned.ts'
import { acceptRogue, type ListedRogue } from '../control/store/findings.ts'
import { append } from '../control/store/journal.ts'
import { transact } from '../control/store/store.ts'
import { outdateVerifications } from '../control/store/verifications.ts'
import {
  abortAfterRestore,
  acceptFingerprint,
  copyDecision,
  readDecision,
  readGate,
} from '../postgres/gate.ts'
import { BanyanError } from '../model/errors.ts'
import { ABANDON_ERRORS } from '../model/errors-abandon.ts'
import { POSTGRES_ERRORS } from '../model/errors-postgres.ts'
import { type Changed, changedText, remedyOf } from './doctor-gates.ts'
import type { Examined } from './doctor-look.ts'

export interface Accepted {
  readonly rogue: readonly ListedRogue[]
  /** How many writes were accepted: more than `rogue` where some came in between. */
  readonly writes: number
  /** Epochs in which a service's database was given up, or came back. */
  readonly abandoned: readonly number[]
  readonly changed: readonly (Changed & { readonly where: string })[]
  /** Databases whose changes nobody can accept: something there must be put back first. */
  readonly left: readonly string[]
}

/**
 * Accepts what `examined` has shown. Invariant: verifications lose their word first. Whatever was proved equal before may
 * differ now, and a flip of the owner compares only what came through the streams since.
 * Throws what `examined` says of the control database where there is none to write in.
 */
export async function acceptAll(examined: Examined, actor: string): Promise<Accepted> {
  const { slice, store, rogue, abandoned } = examined
  if (!store) throw examined.controlError ?? new Error('no control database')
  const found = changedSides(examined)
  const changed = found.flatMap(({ where, changed }) => changed.map(each => ({ ...each, where })))
  const given = abandoned !== undefined && !abandoned.accepted
  const nothing = rogue.length === 0 && changed.length === 0 && !given
  if (nothing) return { rogue: [], writes: 0, abandoned: [], changed: [], left: leftOut(examined) }
  const begun = await mustBeWhole(examined, found)
  await transact(store, ['verification', 'slice'], client =>
    outdateVerifications(client, slice.name, {
      code: 'VERIFY_STALE',
      message: 'what was compared was changed since, and accepted',
      hint: `compare again: banyan verify ${slice.name}`,
    }),
  )
  // The apply role may call it; no other of ours needs to.
  for (const { apply } of found) await acceptFingerprint(apply, slice.name)
  await begun()
  const writes = await acceptRogue(store, slice.name, actor)
  const detail = {
    writes,
    objects: changed.length,
    rogue: rogue.map(({ side, operation, relation, key, at }) => {
      return { side, operation, relation, key, at }
    }),
    changed: changed.map(each => `${each.where}: ${changedText(each)}`),
  }
  const epochs = await transact(store, ['slice'], async client => {
    const epochs = await acceptAbandoned(client, slice.name, actor)
    const kind = 'accepted'
    await append(client, {
      actor,
      slice: slice.name,
      kind,
      detail: { ...detail, abandoned: epochs },
    })
    return epochs
  })
  return { rogue, writes, abandoned: epochs, changed, left: leftOut(examined) }
}

/**
 * A legacy that was restored may have forgotten what it decided. Throws DECISION_LOST where the service knows better, and
 * UNREACHABLE where it can't be asked. Returns what ends the flips that were under way, once the new server is accepted:
 * aborted in the service first, so that whoever still carries another answer comes too late.
 */
async function mustBeWhole(
  { slice, sides }: Examined,
  found: ReturnType<typeof changedSides>,
): Promise<() => Promise<void>> {
  const restored = found.some(
    ({ where, changed }) => where === 'legacy' && changed.some(each => each.object === 'database'),
  )
  const legacy = sides.legacy?.sessions.apply
  if (!restored || !legacy) return async () => undefined
  const service = sides.service?.sessions.apply
  if (!service) {
    const why = 'what it knows of the decisions must be seen before legacy is accepted'
    throw new BanyanError(POSTGRES_ERRORS.UNREACHABLE, [slice.service, why])
  }
  const [here, there] = [await readGate(legacy, slice.name), await readGate(service, slice.name)]
  const decided = new Set((here?.decisions ?? []).map(row => row.epoch))
  const lost = there?.decisions.find(row => row.verdict === 'PROMOTED' && !decided.has(row.epoch))
  if (lost) {
    const details = [slice.name, slice.service, lost.epoch]
    throw new BanyanError(ABANDON_ERRORS.DECISION_LOST, details)
  }
  const rows = [here, there].flatMap(gate => [...(gate?.fences ?? []), ...(gate?.evidence ?? [])])
  const open = [...new Set(rows.map(row => row.epoch))].filter(epoch => !decided.has(epoch))
  return async () => {
    for (const epoch of open) {
      await copyDecision(service, slice.name, epoch, 'ABORTED')
      if ((await readDecision(service, slice.name, epoch)) === 'PROMOTED') {
        throw new BanyanError(ABANDON_ERRORS.DECISION_LOST, [slice.name, slice.service, epoch])
      }
      await abortAfterRestore(legacy, slice.name, epoch)
    }
  }
}

function changedSides({ slice, gates, sides }: Examined) {
  return (['legacy', 'service'] as const).flatMap(side => {
    const gate = gates[side]
    const apply = sides[side]?.sessions.apply
    const changed = gate?.changed ?? []
    if (!gate || !apply || changed.length === 0 || broken(slice.name, gate)) return []
    return [{ where: sides[side]?.wanted.name ?? side, apply, changed }]
  })
}

function leftOut({ slice, gates, sides }: Examined): string[] {
  return (['legacy', 'service'] as const).flatMap(side => {
    const gate = gates[side]
    return gate && broken(slice.name, gate) ? [sides[side]?.wanted.name ?? side] : []
  })
}

function broken(slice: string, gate: NonNullable<Examined['gates']['legacy']>): boolean {
  const { number } = gate.state
  return (gate.changed ?? []).some(each => remedyOf(slice, each, number) !== undefined)
}
