/** What the ledger can find wrong, each with the row's key and never with its values of people. */

// prettier-ignore
export const FINDINGS = {
  missing:  'told ok, not there',
  doubled:  'told ok, there more than once',
  ghost:    'told no, there all the same',
  undead:   'told deleted, still there',
  version:  'a version that is not 1 + the acknowledged changes',
  content:  'a value other than the one acknowledged last',
  counter:  'a counter that does not add up',
  transfer: 'a transfer of which only half happened',
} as const

export type FindingKind = keyof typeof FINDINGS

export interface Finding {
  readonly kind: FindingKind
  /** `appointments 4711`, `slots 3/2040-05-01T08:00:00.000Z`. */
  readonly key: string
  readonly expected: string
  readonly got: string
}

/** So many of each kind are told in full; all are counted. */
const EXAMPLES_MAX = 3

export interface Findings {
  /** How many of each kind. */
  readonly counts: Readonly<Record<FindingKind, number>>
  readonly examples: readonly Finding[]
}

export function summed(findings: readonly Finding[]): Findings {
  const counts = Object.fromEntries(Object.keys(FINDINGS).map(kind => [kind, 0])) as Record<
    FindingKind,
    number
  >
  const examples = findings.filter(finding => ++counts[finding.kind] <= EXAMPLES_MAX)
  return { counts, examples }
}

/** How often an insert may be there, from what the client was told. */
export function copiesAllowed(told: 'ok' | 'no' | 'unknown' | 'unsent'): {
  min: number
  max: number
} {
  switch (told) {
    case 'ok':
      return { min: 1, max: 1 }
    case 'unknown':
      return { min: 0, max: 1 }
    case 'no':
    case 'unsent':
      return { min: 0, max: 0 }
  }
}

/** Compares how often an insert is there with how often it may be. */
export function judgeCopies(what: {
  key: string
  told: 'ok' | 'no' | 'unknown' | 'unsent'
  copies: number
}): Finding | undefined {
  const { key, told, copies } = what
  const { min, max } = copiesAllowed(told)
  const expected = min === max ? String(min) : `${min} or ${max}`
  const found = (kind: FindingKind): Finding => ({ kind, key, expected, got: String(copies) })
  if (copies < min) return found('missing')
  if (copies > Math.max(1, max)) return found('doubled')
  return copies > max ? found('ghost') : undefined
}

/** A number that must lie between two, because some writes ended without an answer. */
export function judgeRange(what: {
  kind: FindingKind
  key: string
  range: { min: number; max: number }
  got: number
}): Finding | undefined {
  const { kind, key, range, got } = what
  if (got >= range.min && got <= range.max) return undefined
  const expected = range.min === range.max ? String(range.min) : `${range.min} to ${range.max}`
  return { kind, key, expected, got: String(got) }
}
