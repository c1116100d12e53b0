/**
 * The page that the load writes and the ledger reads: one JSON object a line, and all that the two
 * have in common.
 */

/** What the client was told about a write; `unsent` never left the client. */
export type Told = 'ok' | 'no' | 'unknown' | 'unsent'

/** The five rows in which a client counts failures, and no sixth. */
export type FailureRow = 'banyan' | 'gateSlice' | 'gateOther' | 'direct' | 'unknown'

export const FAILURE_ROWS: Readonly<Record<FailureRow, string>> = {
  banyan: 'by Banyan (overflow, expiry, router fault)',
  gateSlice: 'at the gate, routes of a slice',
  gateOther: 'at the gate, other routes',
  direct: 'direct writers',
  unknown: 'outcome unknown',
}

/**
 * Where a write aims. `op` is a new UUID per write; no unique index on either side would stop a
 * second copy.
 */
export type Intent =
  | {
      readonly kind: 'book'
      readonly op: string
      readonly patient: number
      readonly practitioner: number
      readonly startsAt: string
      /** md5 of the notes, or null where none were given. */
      readonly notes: string | null
    }
  | {
      readonly kind: 'patch'
      readonly appointment: number
      readonly status?: string
      /** md5 of the notes. */
      readonly notes?: string
    }
  | { readonly kind: 'delete'; readonly appointment: number }
  | {
      readonly kind: 'take' | 'promote'
      readonly op: string
      readonly practitioner: number
      readonly startsAt: string
    }
  | { readonly kind: 'create-patient'; readonly op: string; readonly mrn: string }
  | { readonly kind: 'visit'; readonly patient: number }
  | { readonly kind: 'patch-patient'; readonly patient: number; readonly phone: string }
  | { readonly kind: 'prescribe'; readonly op: string; readonly dose: string }
  | { readonly kind: 'direct'; readonly appointment: number; readonly status: string }

export type IntentKind = Intent['kind']

/**
 * Totals as the client counted them. `offered = sent + unsent + waiting`; `waiting` is 0 when the
 * load is paused.
 */
export interface Totals {
  readonly offered: number
  readonly sent: number
  readonly unsent: number
  readonly waiting: number
  /** Answered, and not a failure (a 404 or a 409 is an answer). */
  readonly ok: number
  readonly failed: number
  readonly failures: Readonly<Record<FailureRow, number>>
  /** Finer than the rows: `gateSlice 500` → 3. */
  readonly failureDetails: Readonly<Record<string, number>>
  readonly told: Readonly<Record<Told, number>>
  readonly stale: number
}

export interface StaleRead {
  readonly route: string
  readonly expected: string
  readonly got: string
}

export type JournalRecord =
  | {
      readonly t: 'start'
      readonly at: number
      readonly run: string
      readonly seed: number
      readonly target: string
    }
  /** What a patient was before the load wrote to it; absent for those that the load created. */
  | { readonly t: 'patient'; readonly id: number; readonly visits: number }
  /** What a slot with a waiting list was before the load wrote to it. */
  | {
      readonly t: 'slot'
      readonly practitioner: number
      readonly startsAt: string
      readonly taken: number
      readonly waiting: number
    }
  | {
      readonly t: 'intent'
      readonly n: number
      readonly at: number
      readonly intent: Intent
    }
  | {
      readonly t: 'outcome'
      readonly n: number
      readonly at: number
      readonly told: Told
      readonly status?: number
      /** The id that an insert was told. */
      readonly id?: number
    }
  | { readonly t: 'mark'; readonly at: number; readonly name: string }
  | ({ readonly t: 'stale'; readonly at: number } & StaleRead)
  | { readonly t: 'totals'; readonly at: number; readonly totals: Totals }

/** A slot's name: the instant in one spelling, whatever spelling it came in. */
export function slotName(slot: { practitioner: number; startsAt: string }): string {
  return `${slot.practitioner}/${new Date(slot.startsAt).toISOString()}`
}
