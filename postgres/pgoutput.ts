/** Turns pgoutput messages into the events of a change stream, and keeps what relations look like. No I/O. */
import { type Change, type Row, type StreamEvent, UNCHANGED } from '../model/change.ts'
import type { Unchanged, Value } from '../model/change.ts'
import { malformed, parseMessage } from './pgoutput-message.ts'
import type { OldTuple, Relation, Tuple } from './pgoutput-message.ts'

export interface Decoder {
  /**
   * The events that one message stands for: none (R, Y, O), one, or one per table (T). Keeps what relations look like.
   * Throws BanyanError PGOUTPUT_MALFORMED or PGOUTPUT_VERSION; after that the stream can't be read any further.
   */
  decode(message: Buffer): readonly StreamEvent[]
  /** True between a begin and its commit. */
  readonly inTransaction: boolean
}

const NOTHING: readonly StreamEvent[] = []

/** One decoder per stream: relations are described once, before their first change. */
export function createDecoder(): Decoder {
  const relations = new Map<number, Described>()
  let inTransaction = false
  const relation = (id: number): Described => {
    if (!inTransaction) malformed('a change outside a transaction')
    return relations.get(id) ?? malformed(`relation ${id} was never described`)
  }
  return {
    get inTransaction() {
      return inTransaction
    },
    decode(bytes) {
      const message = parseMessage(bytes)
      switch (message.tag) {
        case 'B':
          if (inTransaction) malformed('a transaction inside another')
          inTransaction = true
          return [
            {
              kind: 'begin',
              xid: message.xid,
              commitLsn: message.commitLsn,
              committedAtMs: message.committedAtMs,
            },
          ]
        case 'C':
          if (!inTransaction) malformed('a commit without its begin')
          inTransaction = false
          return [{ kind: 'commit', position: message.endLsn }]
        case 'R':
          relations.set(message.relation.id, describe(message.relation))
          return NOTHING
        case 'O':
        case 'Y':
          return NOTHING
        case 'I':
          return [insert(relation(message.relation), message.after)]
        case 'U':
          return [update(relation(message.relation), message.before, message.after)]
        case 'D':
          return [remove(relation(message.relation), message.before)]
        case 'T':
          return message.relations.map(id => change(relation(id), 't', null, null))
        case 'M':
          if (message.transactional !== inTransaction) malformed('a message in the wrong place')
          return [
            {
              kind: 'message',
              transactional: message.transactional,
              prefix: message.prefix,
              content: message.content,
              position: message.position,
            },
          ]
      }
    },
  }
}

interface Described extends Relation {
  readonly key: readonly string[]
}

function describe(relation: Relation): Described {
  const key = relation.columns.filter(column => column.key).map(column => column.name)
  return { ...relation, key }
}

type ChangeEvent = { readonly kind: 'change' } & Change

function change(
  relation: Described,
  op: Change['op'],
  before: Row | null,
  after: Row | null,
): ChangeEvent {
  const { schema, table, key } = relation
  return { kind: 'change', op, schema, table, before, after, key }
}

function insert(relation: Described, after: Tuple): ChangeEvent {
  return change(relation, 'c', null, row(relation, after))
}

function update(relation: Described, before: OldTuple | null, after: Tuple): ChangeEvent {
  if (!before) return change(relation, 'u', null, row(relation, after))
  const old = oldRow(relation, before)
  const now = row(relation, after)
  // The stream leaves out a large value that didn't change even where the old row, sent along, has it.
  for (const [name, value] of now) {
    const known = old.get(name)
    if (value === UNCHANGED && known !== undefined) now.set(name, known)
  }
  return change(relation, 'u', old, now)
}

function remove(relation: Described, before: OldTuple): ChangeEvent {
  return change(relation, 'd', oldRow(relation, before), null)
}

function row(relation: Described, tuple: Tuple): Map<string, Value | Unchanged> {
  checkWidth(relation, tuple)
  const result = new Map<string, Value | Unchanged>()
  for (const [i, column] of relation.columns.entries()) result.set(column.name, tuple[i] ?? null)
  return result
}

/** In an old key the other columns are sent as null, which they are not. */
function oldRow(relation: Described, old: OldTuple): Map<string, Value | Unchanged> {
  if (old.kind === 'O') return row(relation, old.values)
  checkWidth(relation, old.values)
  const result = new Map<string, Value | Unchanged>()
  for (const [i, column] of relation.columns.entries()) {
    if (column.key) result.set(column.name, old.values[i] ?? null)
  }
  return result
}

function checkWidth(relation: Relation, tuple: Tuple): void {
  if (tuple.length === relation.columns.length) return
  malformed(`${tuple.length} values for ${relation.columns.length} columns of ${relation.table}`)
}
