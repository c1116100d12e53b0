/** The envelopes of the streaming replication protocol. No I/O. */
import { BanyanError } from '../model/errors.ts'
import { SYNC_ERRORS } from '../model/errors-sync.ts'
import type { Lsn } from '../model/position.ts'

/** https://www.postgresql.org/docs/current/protocol-replication.html, XLogData and Primary keepalive message */
export type Frame =
  | { readonly kind: 'data'; readonly payload: Buffer }
  /** `walEnd`: all that committed before it has been sent. */
  | { readonly kind: 'keepalive'; readonly walEnd: Lsn; readonly replyRequested: boolean }

/** Throws BanyanError PGOUTPUT_MALFORMED. */
export function parseFrame(bytes: Buffer): Frame {
  const tag = bytes[0]
  if (tag === 0x77 && bytes.length >= 25) return { kind: 'data', payload: bytes.subarray(25) } // w
  if (tag === 0x6b && bytes.length === 18) {
    const walEnd = bytes.readBigUInt64BE(1) as Lsn
    return { kind: 'keepalive', walEnd, replyRequested: bytes[17] === 1 } // k
  }
  const what = `an envelope of ${bytes.length} bytes with tag ${tag ?? 'none'}`
  throw new BanyanError(SYNC_ERRORS.PGOUTPUT_MALFORMED, [what])
}

export interface Status {
  readonly written: Lsn
  /** The server forgets what lies before. */
  readonly flushed: Lsn
  readonly atMs: number
  /** Asks for a keepalive at once. */
  readonly replyRequested: boolean
}

/** Standby status update: 34 bytes. */
export function encodeStatus(status: Status): Buffer {
  const bytes = Buffer.alloc(34)
  bytes.write('r')
  bytes.writeBigUInt64BE(status.written, 1)
  bytes.writeBigUInt64BE(status.flushed, 9)
  bytes.writeBigUInt64BE(status.flushed, 17)
  bytes.writeBigInt64BE(BigInt(status.atMs - 946_684_800_000) * 1000n, 25)
  bytes[33] = status.replyRequested ? 1 : 0
  return bytes
}
