/** A service's database that was given up, or that came back from a backup, in words. */
import { BanyanError } from '../model/errors.ts'
import { ABANDON_ERRORS } from '../model/errors-abandon.ts'
import { ageText, clockText, countOf } from './amounts.ts'
import type { Look, SliceLook } from './look.ts'
import { type Paint, problemLines } from './paint.ts'

/** What became of it, for every slice that has one. */
export function abandonedLines(
  slices: readonly SliceLook[],
  { rogue, nowMs }: Pick<Look, 'rogue' | 'nowMs'>,
  paint: Paint,
): string[] {
  return slices.flatMap(look => {
    const lost = rogue.filter(each => each.lost && each.slice === look.slice).length
    return linesOf(look, lost, nowMs, paint)
  })
}

function linesOf(look: SliceLook, lost: number, nowMs: number, paint: Paint): string[] {
  const { abandoned, slice, service } = look
  if (abandoned === null) return []
  const { colors, bad } = paint
  const { actor, atMs, heardAtMs, position, returnedAtMs, wasOpen, accepted, proof } = abandoned
  const since = [
    ...(heardAtMs === null ? [] : [clockText(heardAtMs)]),
    ...(position === null ? [] : [position]),
  ]
  const given =
    actor === null
      ? `an older database of ${service} came back`
      : `the database of ${service} was given up ${ageText(nowMs - atMs)} by ${actor}${proof === null ? '' : ` (“${proof}”)`}`
  const what =
    returnedAtMs === null
      ? 'it has not come back; when it does it is closed first, and its writes are listed'
      : `it is closed since ${clockText(returnedAtMs)}`
  const number = lost === 0 ? 'what it' : `${countOf(lost, 'write')} that it`
  const after = since.length > 0 ? ` after ${since.join(', ')}` : ''
  return [
    `${bad} ${colors.red(slice)}: ${given}; ${what}`,
    `  ${number} had stored${after} ${lost === 1 ? 'is' : lost === 0 ? 'is' : 'are'} not in legacy`,
    ...(wasOpen && !accepted && returnedAtMs !== null
      ? problemLines(
          { ...paint, width: Infinity },
          new BanyanError(ABANDON_ERRORS.BOTH_OPEN, [slice, service, clockText(returnedAtMs)]),
        )
      : []),
  ]
}
