/** An exact set of states that numbers them in order of arrival, without an object per state: millions fit in memory. */
import type { State } from './model.ts'

export interface StateSet {
  /** The number of the state: `size()` as it was before where the state is new. */
  add(state: State): number
  read(index: number, into: State): void
  /** A state to read into. */
  blank(): State
  size(): number
}

const PAGE_STATES = 1 << 14

/** A set of states of `bytes` bytes each, a multiple of four. */
export function stateSet(bytes: number): StateSet {
  const words = bytes / 4
  const pages: Uint32Array[] = []
  // Open addressing: number + 1 of a state, or 0. Never more than half full.
  let slots = new Uint32Array(1 << 16)
  let size = 0
  let key: Uint32Array = new Uint32Array(words)

  function hash(page: Uint32Array, start: number): number {
    let value = 0
    for (let i = start; i < start + words; i++) {
      value = Math.imul(value ^ page[i]!, 0x9e3779b1)
      value ^= value >>> 15
    }
    return value >>> 0
  }

  const startOf = (index: number): number => (index % PAGE_STATES) * words
  const pageOf = (index: number): Uint32Array => pages[Math.floor(index / PAGE_STATES)]!

  function isKey(index: number): boolean {
    const page = pageOf(index)
    const start = startOf(index)
    for (let i = 0; i < words; i++) if (page[start + i] !== key[i]) return false
    return true
  }

  function grow(): void {
    slots = new Uint32Array(slots.length * 2)
    for (let index = 0; index < size; index++) {
      let slot = hash(pageOf(index), startOf(index)) & (slots.length - 1)
      while (slots[slot] !== 0) slot = (slot + 1) & (slots.length - 1)
      slots[slot] = index + 1
    }
  }

  return {
    add(state) {
      // The caller asks about one buffer, again and again.
      if (key.buffer !== state.buffer) key = new Uint32Array(state.buffer, 0, words)
      let slot = hash(key, 0) & (slots.length - 1)
      for (; slots[slot] !== 0; slot = (slot + 1) & (slots.length - 1)) {
        if (isKey(slots[slot]! - 1)) return slots[slot]! - 1
      }
      if (size % PAGE_STATES === 0) pages.push(new Uint32Array(PAGE_STATES * words))
      pageOf(size).set(key, startOf(size))
      slots[slot] = ++size
      if (size * 2 > slots.length) grow()
      return size - 1
    },
    read(index, into) {
      const start = startOf(index)
      new Uint32Array(into.buffer, into.byteOffset, words).set(
        pageOf(index).subarray(start, start + words),
      )
    },
    blank: () => new Uint8Array(bytes),
    size: () => size,
  }
}
