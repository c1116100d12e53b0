/** What the databases refuse, by SQLSTATE: the protocol's own answers (docs/flip.md). */
import { defineErrors } from './errors.ts'

export const PROTOCOL_ERRORS = defineErrors({
  GATE_CLOSED: {
    message: 'the database refused a write: %s',
    hint: 'this side is not the owner; send the write through the façade, or see `banyan status`',
    status: 409,
    exit: 3,
  },
  WORD_REFUSED: {
    message: 'the gate can not move: %s',
    hint: 'somebody acted with a newer epoch; see `banyan journal`',
    status: 409,
    exit: 3,
  },
  FINGERPRINT: {
    message: 'something changed since the slice was last known good: %s',
    hint: 'nobody but you can say whether that was right; look, then `banyan doctor --accept <slice>`',
    status: 409,
    exit: 5,
  },
  WRITERS_OPEN: {
    message: 'a transaction still writes to the slice: %s',
    hint: 'nothing changed; wait for it or end it, then run the same command again',
    status: 409,
    exit: 4,
    retry: true,
  },
  LOCK_TIMEOUT: {
    message: 'an open transaction kept the fence out: %s',
    hint: 'nothing changed; wait for it or end it, then run the same command again',
    status: 409,
    exit: 4,
    retry: true,
  },
  EVIDENCE_MISSING: {
    message: 'there is no evidence for that: %s',
    hint: 'the flip settles by itself; see `banyan status`',
    status: 409,
    exit: 4,
  },
  DEADLINE_PASSED: {
    message: 'too late: %s',
    hint: 'the flip undoes itself; nothing changed, run it again',
    status: 409,
    exit: 4,
    retry: true,
  },
  SYSTEM_CHANGED: {
    message: 'a database is not the one that the fence was taken with: %s',
    hint: 'a restore or failover happened in mid-flip; nothing reopens by itself, see docs/operations.md, then `banyan status`',
    status: 409,
    exit: 5,
  },
  PROGRESS_MOVED: {
    message: 'the stream stands elsewhere: %s',
    hint: 'the flip undoes itself; see `banyan status`',
    status: 409,
    exit: 4,
    retry: true,
  },
  SEQUENCE_RANGE: {
    message: 'a sequence is nearly used up: %s',
    hint: 'widen the column to bigint, then run the same command again',
    status: 409,
    exit: 3,
  },
})

/** SQLSTATE → rule. */
export const PROTOCOL_STATES: Readonly<
  Record<string, (typeof PROTOCOL_ERRORS)[keyof typeof PROTOCOL_ERRORS]>
> = {
  BNY01: PROTOCOL_ERRORS.GATE_CLOSED,
  BNY02: PROTOCOL_ERRORS.WORD_REFUSED,
  BNY03: PROTOCOL_ERRORS.FINGERPRINT,
  BNY04: PROTOCOL_ERRORS.WRITERS_OPEN,
  BNY05: PROTOCOL_ERRORS.EVIDENCE_MISSING,
  BNY06: PROTOCOL_ERRORS.DEADLINE_PASSED,
  BNY07: PROTOCOL_ERRORS.SYSTEM_CHANGED,
  BNY08: PROTOCOL_ERRORS.PROGRESS_MOVED,
  BNY09: PROTOCOL_ERRORS.SEQUENCE_RANGE,
  '55P03': PROTOCOL_ERRORS.LOCK_TIMEOUT,
}
