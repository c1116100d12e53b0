/**
 * Where the load books and takes: instants of its own, so that what a slot must hold can be added
 * up exactly.
 */
import { randomInt } from 'node:crypto'
import { slotName } from '../ledger/record.ts'
import type { Random } from './random.ts'

export interface Slot {
  readonly practitioner: number
  readonly startsAt: string
}

export interface PromoteSlot extends Slot {
  /** As far as this client knows; at 0 a promotion is told no. */
  waiting: number
}

export interface Slots {
  forBooking(random: Random): Slot
  /** A slot whose row exists; undefined until one was opened. */
  forTaking(random: Random): Slot | undefined
  forPromoting(random: Random): PromoteSlot | undefined
  /**
   * A slot's row is made by a first booking; this names the next such slot, or undefined while
   * there are enough.
   */
  toOpen(random: Random): Slot | undefined
  /** That booking was told ok (`open`), or not. */
  opened(slot: Slot, open: boolean): void
}

const DAY_MS = 86_400_000
/**
 * Far enough from now that nobody else's appointments are there, near enough to look like a date.
 */
const FIRST_DAY = Date.UTC(2040, 0, 1)
const DAYS = 20_000
const OPEN_SLOTS = 6
/** A slot that bookings make holds 1,000; it is left before it is full. */
const SLOT_USES_MAX = 900
/** So many bookings share the instants of one day. */
const BOOKINGS_PER_DAY = 4_000

/**
 * `promote` are the slots with a waiting list, as found. The day is random, not seeded: two runs
 * must not share one.
 */
export function createSlots(options: {
  practitioners: readonly number[]
  promote: readonly PromoteSlot[]
}): Slots {
  const { practitioners, promote } = options
  const firstDay = FIRST_DAY + randomInt(DAYS) * DAY_MS
  const open: { slot: Slot; uses: number }[] = []
  const opening = new Set<string>()
  let bookings = 0
  let openings = 0
  const at = (random: Random, startsAt: number): Slot => ({
    practitioner: random.pick(practitioners) ?? 1,
    startsAt: new Date(startsAt).toISOString(),
  })
  return {
    forBooking(random) {
      const day = firstDay + Math.floor(bookings++ / BOOKINGS_PER_DAY) * DAY_MS
      return at(random, day + random.below(20) * 1_800_000 + 8 * 3_600_000)
    },
    forTaking(random) {
      const usable = open.filter(row => row.uses < SLOT_USES_MAX)
      const row = random.pick(usable)
      if (row) row.uses++
      return row?.slot
    },
    forPromoting: random => random.pick(promote.filter(slot => slot.waiting > 0)),
    toOpen(random) {
      const usable = open.filter(row => row.uses < SLOT_USES_MAX).length
      if (usable + opening.size >= OPEN_SLOTS) return undefined
      // Minutes 7, 8, 9 … of the night: never an instant that a booking chooses.
      const slot = at(random, firstDay + 7 * 60_000 + openings++ * 60_000)
      opening.add(slotName(slot))
      return slot
    },
    opened(slot, ok) {
      opening.delete(slotName(slot))
      if (ok) open.push({ slot, uses: 1 })
    },
  }
}
