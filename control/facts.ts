/** All that the checks look at, as one value: collected by control/gather.ts, judged by control/checks.ts. */
import type { Stage } from '../model/stage.ts'
import type { WayBack } from './way-back.ts'
import type { Diagnostic } from '../model/diagnostic.ts'
import type { ApprovalFact } from './approval.ts'

export interface StreamFact {
  readonly name: string
  readonly state: 'new' | 'copying' | 'streaming' | 'failed' | 'off'
  readonly lagMs: number | null
  /** How long ago its worker last said anything. */
  readonly silentMs: number | null
  readonly error: { readonly code: string; readonly message: string } | null
}

export interface RouterFact {
  readonly address: string
  readonly version: number
}

export interface Blocked {
  readonly code: string
  readonly message: string
  readonly hint: string
}

export interface SliceFacts {
  readonly slice: string
  readonly stage: Stage
  readonly ownsTables: boolean
  /** What preflight found, for the step into `sync`. */
  readonly preflight: readonly Blocked[]
  /** Forward, reverse, and the read copies of its service; empty at `legacy`. */
  readonly streams: readonly StreamFact[]
  readonly routers: readonly RouterFact[]
  /** The newest orders; a router on an older version hasn't acknowledged them. */
  readonly ordersVersion: number
  /** `mend`: what is asked of it; empty where nothing is. */
  readonly serviceReady: { readonly ok: boolean; readonly why: string; readonly mend: string }
  readonly verification: {
    readonly ageMs: number
    readonly rows: number
    readonly differences: number
  } | null
  /** Why the last verification doesn't count any more; null where it does, or where there was none. */
  readonly outdated: string | null
  /** Crossing keys, triggers and side writes without an answer, with their place in the file. */
  readonly unanswered: readonly Diagnostic[]
  /** Who writes the slice's tables around its routes, and isn't waived. */
  readonly foreignWriters: readonly { readonly name: string; readonly perDay: number }[]
  readonly rogueWrites: number
  /** Per side, what differs from the recorded fingerprint. */
  readonly fingerprints: readonly { readonly side: string; readonly difference: string | null }[]
  /** Null where the step needs nobody's word but the one who asks for it. */
  readonly approval: ApprovalFact | null
  /** Sides whose server isn't the one on record: restored, failed over, or copied. */
  readonly changedDatabases: readonly {
    readonly side: string
    readonly was: string
    readonly is: string
  }[]
  readonly limits: { readonly lagMaxMs: number; readonly verifyMaxAgeMs: number }
  /** Why a service's database that was given up still matters; null where none was, or somebody has accepted it. */
  readonly abandoned: { readonly service: string; readonly why: string } | null
  /** Of a slice that its service owns, on its way home; else null. */
  readonly wayBack: { readonly service: string; readonly fact: WayBack } | null
  /** Older than this a stream's word isn't believed. Milliseconds. */
  readonly silentMaxMs: number
}
