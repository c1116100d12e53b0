/** Positions are values: parsed at the edge, compared as numbers, printed by one function. As text, '0/10' < '0/9' is true. */

declare const brand: unique symbol
/** A commit position (LSN) in one PostgreSQL database: bytes of WAL since the cluster was made. Compare with `<`, `>=`. */
export type Lsn = bigint & { readonly [brand]: 'lsn' }

/** Which history a position belongs to: positions of different systems or timelines can't be compared. */
export interface System {
  readonly identifier: string
  readonly timeline: number
}

/** '16/B374D848' → Lsn. Throws RangeError on anything else. */
export function parseLsn(text: string): Lsn {
  const match = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/.exec(text)
  if (!match) throw new RangeError(`not a WAL position: "${text}"`)
  return ((BigInt(`0x${match[1]}`) << 32n) | BigInt(`0x${match[2]}`)) as Lsn
}

export function formatLsn(lsn: Lsn): string {
  return `${(lsn >> 32n).toString(16).toUpperCase()}/${(lsn & 0xffffffffn).toString(16).toUpperCase()}`
}

export const LSN_ZERO = 0n as Lsn

export function sameSystem(a: System, b: System): boolean {
  return a.identifier === b.identifier && a.timeline === b.timeline
}
