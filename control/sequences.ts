/** Where the new owner's sequences must begin: past both sides, also where only one side has a sequence. Pure. */
import type { Slice } from '../model/project.ts'
import type { Side } from '../model/stage.ts'
import { qualified } from '../model/wiring.ts'
import type { SequenceStart } from '../postgres/gate.ts'

/** A column that draws from a sequence, as `banyan.sequences_of` lists it. */
export interface SequenceRow {
  readonly relation: string
  readonly attribute: string
  readonly sequence: string
  readonly last: string
  readonly top: string
}

export function sequenceStarts(
  slice: Pick<Slice, 'tables'>,
  rows: Readonly<Record<Side, readonly SequenceRow[]>>,
  newOwner: Side,
): SequenceStart[] {
  const starts: SequenceStart[] = []
  for (const [table, { to, columns }] of Object.entries(slice.tables)) {
    const names = Object.entries(columns)
    const here = { legacy: qualified(table), service: qualified(to) }
    const otherSide = newOwner === 'legacy' ? 'service' : 'legacy'
    for (const mine of rows[newOwner].filter(each => each.relation === here[newOwner])) {
      const twinName =
        newOwner === 'legacy'
          ? (columns[mine.attribute] ?? mine.attribute)
          : (names.find(([, column]) => column === mine.attribute)?.[0] ?? mine.attribute)
      const twin = rows[otherSide].find(
        each => each.relation === here[otherSide] && each.attribute === twinName,
      )
      starts.push({
        sequence: mine.sequence,
        table: mine.relation,
        column: mine.attribute,
        // Without a twin the column's own values are all there is: `prepare` looks at them anyway.
        other: twin?.last ?? '0',
        typeMax: twin && BigInt(twin.top) < BigInt(mine.top) ? twin.top : mine.top,
      })
    }
  }
  return starts
}
