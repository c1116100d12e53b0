/** Reads one pgoutput message (protocol version 1, text format) out of its bytes: all of it, or a coded error. */
import { isUtf8 } from 'node:buffer'
import { UNCHANGED, type Unchanged, type Value } from '../model/change.ts'
import { BanyanError } from '../model/errors.ts'
import { SYNC_ERRORS } from '../model/errors-sync.ts'
import type { Lsn } from '../model/position.ts'

/** Column values in the relation's column order. */
export type Tuple = readonly (Value | Unchanged)[]

export interface Relation {
  readonly id: number
  readonly schema: string
  readonly table: string
  /** d: primary key, i: an index, f: the whole row, n: nothing. */
  readonly identity: string
  readonly columns: readonly {
    readonly name: string
    readonly key: boolean
    readonly typeOid: number
  }[]
}

/** https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html */
export type PgoutputMessage =
  | {
      readonly tag: 'B'
      readonly commitLsn: Lsn
      readonly committedAtMs: number
      readonly xid: number
    }
  | {
      readonly tag: 'C'
      readonly commitLsn: Lsn
      readonly endLsn: Lsn
      readonly committedAtMs: number
    }
  | { readonly tag: 'O'; readonly commitLsn: Lsn; readonly origin: string }
  | { readonly tag: 'R'; readonly relation: Relation }
  | { readonly tag: 'Y'; readonly typeOid: number; readonly schema: string; readonly name: string }
  | { readonly tag: 'I'; readonly relation: number; readonly after: Tuple }
  | {
      readonly tag: 'U'
      readonly relation: number
      readonly before: OldTuple | null
      readonly after: Tuple
    }
  | { readonly tag: 'D'; readonly relation: number; readonly before: OldTuple }
  | { readonly tag: 'T'; readonly relations: readonly number[]; readonly flags: number }
  | {
      readonly tag: 'M'
      readonly transactional: boolean
      readonly position: Lsn
      readonly prefix: string
      readonly content: string
    }

/** `K`: only the identity's columns carry values. `O`: the whole old row. */
export interface OldTuple {
  readonly kind: 'K' | 'O'
  readonly values: Tuple
}

/** Tags of protocol versions 2 to 4: streamed and prepared transactions. Never sent to who asks for version 1. */
const NEWER = new Set(['S', 'E', 'c', 'A', 'b', 'P', 'K', 'r', 'p'])

/** One message, whole: too short and too long are both PGOUTPUT_MALFORMED. Throws also PGOUTPUT_VERSION. */
export function parseMessage(bytes: Buffer): PgoutputMessage {
  const from: Cursor = { bytes, at: 0 }
  const message = parseBody(String.fromCharCode(u8(from)), from)
  if (from.at !== bytes.length) malformed(`${bytes.length - from.at} bytes after a ${message.tag}`)
  return message
}

function parseBody(tag: string, from: Cursor): PgoutputMessage {
  switch (tag) {
    case 'B':
      return { tag, commitLsn: lsn(from), committedAtMs: time(from), xid: u32(from) }
    case 'C':
      if (u8(from) !== 0) malformed('a commit with flags')
      return { tag, commitLsn: lsn(from), endLsn: lsn(from), committedAtMs: time(from) }
    case 'O':
      return { tag, commitLsn: lsn(from), origin: text(from) }
    case 'R':
      return { tag, relation: parseRelation(from) }
    case 'Y':
      return { tag, typeOid: u32(from), schema: text(from), name: text(from) }
    case 'I':
      return { tag, relation: u32(from), after: newTuple(from) }
    case 'U':
      return parseUpdate(from)
    case 'D':
      return parseDelete(from)
    case 'T':
      return parseTruncate(from)
    case 'M':
      return parseLogicalMessage(from)
    default:
      if (NEWER.has(tag)) throw new BanyanError(SYNC_ERRORS.PGOUTPUT_VERSION, [tag])
      return malformed(`tag ${JSON.stringify(tag)}`)
  }
}

function parseRelation(from: Cursor): Relation {
  const id = u32(from)
  const schema = text(from) || 'pg_catalog'
  const table = text(from)
  const identity = String.fromCharCode(u8(from))
  const columns: Relation['columns'][number][] = []
  for (let left = u16(from); left > 0; left--) {
    const key = (u8(from) & 1) === 1
    const name = text(from)
    columns.push({ name, key, typeOid: u32(from) })
    u32(from) // the type's modifier
  }
  return { id, schema, table, identity, columns }
}

function parseUpdate(from: Cursor): PgoutputMessage {
  const relation = u32(from)
  const kind = String.fromCharCode(peek(from))
  if (kind !== 'K' && kind !== 'O')
    return { tag: 'U', relation, before: null, after: newTuple(from) }
  return { tag: 'U', relation, before: oldTuple(from), after: newTuple(from) }
}

function parseDelete(from: Cursor): PgoutputMessage {
  return { tag: 'D', relation: u32(from), before: oldTuple(from) }
}

function parseTruncate(from: Cursor): PgoutputMessage {
  const count = u32(from)
  const flags = u8(from)
  need(from, count * 4)
  return { tag: 'T', relations: Array.from({ length: count }, () => u32(from)), flags }
}

function parseLogicalMessage(from: Cursor): PgoutputMessage {
  const flags = u8(from)
  const position = lsn(from)
  const prefix = text(from)
  const content = utf8(from, u32(from))
  return { tag: 'M', transactional: (flags & 1) === 1, position, prefix, content }
}

function newTuple(from: Cursor): Tuple {
  const kind = u8(from)
  if (kind !== 0x4e) malformed(`${kind} where a new row begins`) // N
  return tuple(from)
}

function oldTuple(from: Cursor): OldTuple {
  const kind = String.fromCharCode(u8(from))
  if (kind !== 'K' && kind !== 'O')
    return malformed(`${JSON.stringify(kind)} where an old row begins`)
  return { kind, values: tuple(from) }
}

function tuple(from: Cursor): Tuple {
  const values: (Value | Unchanged)[] = []
  for (let left = u16(from); left > 0; left--) {
    const kind = u8(from)
    if (kind === 0x74)
      values.push(utf8(from, u32(from))) // t
    else if (kind === 0x6e)
      values.push(null) // n
    else if (kind === 0x75)
      values.push(UNCHANGED) // u
    else malformed(`a value of kind ${kind}`)
  }
  return values
}

interface Cursor {
  readonly bytes: Buffer
  at: number
}

function need(from: Cursor, length: number): void {
  if (from.at + length <= from.bytes.length) return
  malformed(`it ends at byte ${from.bytes.length}, ${length} more at ${from.at} were announced`)
}

function peek(from: Cursor): number {
  need(from, 1)
  return from.bytes[from.at] ?? 0
}

function u8(from: Cursor): number {
  const value = peek(from)
  from.at += 1
  return value
}

function u16(from: Cursor): number {
  need(from, 2)
  from.at += 2
  return from.bytes.readUInt16BE(from.at - 2)
}

function u32(from: Cursor): number {
  need(from, 4)
  from.at += 4
  return from.bytes.readUInt32BE(from.at - 4)
}

function u64(from: Cursor): bigint {
  need(from, 8)
  from.at += 8
  return from.bytes.readBigUInt64BE(from.at - 8)
}

function lsn(from: Cursor): Lsn {
  return u64(from) as Lsn
}

/** Microseconds since 2000-01-01 → milliseconds since the epoch. */
function time(from: Cursor): number {
  return Number(BigInt.asIntN(64, u64(from)) / 1000n) + 946_684_800_000
}

/** Up to the next zero byte. */
function text(from: Cursor): string {
  const end = from.bytes.indexOf(0, from.at)
  if (end < 0) malformed(`a name without an end at ${from.at}`)
  const value = utf8(from, end - from.at)
  from.at += 1
  return value
}

function utf8(from: Cursor, length: number): string {
  need(from, length)
  const start = from.at
  from.at += length
  const value = from.bytes.toString('utf8', start, from.at)
  // A SQL_ASCII database sends whatever bytes it holds; replacing them would write something else into the target.
  if (value.includes('\ufffd') && !isUtf8(from.bytes.subarray(start, from.at))) {
    malformed('text that is not UTF-8')
  }
  return value
}

/** Throws BanyanError PGOUTPUT_MALFORMED. */
export function malformed(what: string): never {
  throw new BanyanError(SYNC_ERRORS.PGOUTPUT_MALFORMED, [what])
}
