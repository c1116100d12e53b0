/** Writes pgoutput messages, so that a test can read back what it has written. */
import { UNCHANGED } from '../../model/change.ts'
import type { PgoutputMessage, Relation, Tuple } from '../../postgres/pgoutput-message.ts'

export function encode(message: PgoutputMessage): Buffer {
  const tag = Buffer.from(message.tag)
  switch (message.tag) {
    case 'B':
      return join(tag, u64(message.commitLsn), time(message.committedAtMs), u32(message.xid))
    case 'C':
      return join(
        tag,
        u8(0),
        u64(message.commitLsn),
        u64(message.endLsn),
        time(message.committedAtMs),
      )
    case 'O':
      return join(tag, u64(message.commitLsn), name(message.origin))
    case 'R':
      return join(tag, relation(message.relation))
    case 'Y':
      return join(tag, u32(message.typeOid), name(message.schema), name(message.name))
    case 'I':
      return join(tag, u32(message.relation), Buffer.from('N'), tuple(message.after))
    case 'U': {
      const old = message.before
        ? [Buffer.from(message.before.kind), tuple(message.before.values)]
        : []
      return join(tag, u32(message.relation), ...old, Buffer.from('N'), tuple(message.after))
    }
    case 'D': {
      const { kind, values } = message.before
      return join(tag, u32(message.relation), Buffer.from(kind), tuple(values))
    }
    case 'T': {
      const { relations, flags } = message
      return join(tag, u32(relations.length), u8(flags), ...relations.map(u32))
    }
    case 'M': {
      const content = Buffer.from(message.content)
      const flags = u8(message.transactional ? 1 : 0)
      const head = [flags, u64(message.position), name(message.prefix), u32(content.length)]
      return join(tag, ...head, content)
    }
  }
}

function relation({ id, schema, table, identity, columns }: Relation): Buffer {
  const described = columns.map(column =>
    join(u8(column.key ? 1 : 0), name(column.name), u32(column.typeOid), u32(0xffffffff)),
  )
  const count = u16(columns.length)
  return join(u32(id), name(schema), name(table), Buffer.from(identity), count, ...described)
}

function tuple(values: Tuple): Buffer {
  const encoded = values.map(value => {
    if (value === null) return Buffer.from('n')
    if (value === UNCHANGED) return Buffer.from('u')
    const bytes = Buffer.from(value)
    return join(Buffer.from('t'), u32(bytes.length), bytes)
  })
  return join(u16(values.length), ...encoded)
}

function join(...parts: Buffer[]): Buffer {
  return Buffer.concat(parts)
}

function name(text: string): Buffer {
  return Buffer.from(`${text}\0`)
}

function u8(value: number): Buffer {
  return Buffer.from([value])
}

function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16BE(value)
  return bytes
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

function u64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(value)
  return bytes
}

function time(ms: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigInt64BE(BigInt(ms - 946_684_800_000) * 1000n)
  return bytes
}
