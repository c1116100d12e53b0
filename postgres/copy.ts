/** Pipes rows of one database into another by COPY: they pass through here, and are never looked at. */
import { pipeline } from 'node:stream/promises'
import type pg from 'pg'
import { from, to } from 'pg-copy-streams'
import { BanyanError } from '../model/errors.ts'
import { SYNC_ERRORS } from '../model/errors-sync.ts'
import { cut } from './connection.ts'
import { explain } from './explain.ts'
import { quote, quoteRelation } from './sql.ts'

export interface CopyOptions {
  /** In a transaction with the wanted snapshot. A pinned session (`connect`), as is the target. */
  readonly source: pg.Client
  readonly target: pg.Client
  /** `schema.table`. Rows of its heirs and partitions aren't read: each is copied by itself. */
  readonly table: string
  readonly to: string
  /** Source column → target column. */
  readonly columns: ReadonlyMap<string, string>
  /** A condition on the source's rows, as SQL. */
  readonly where?: string | undefined
  /** Binary needs the same built-in types on both sides (`binaryFits`). */
  readonly format: 'text' | 'binary'
  readonly signal: AbortSignal
}

/**
 * Copies the rows and returns how many there were. Backpressure reaches the source; memory is a few socket buffers.
 * After a rejection neither session is in a known state: the caller drops both. An abort drops them here.
 * Throws COPY_FAILED, COPY_COUNT, a lost connection as `explain` has it, or the signal's reason.
 */
export async function copyRows(options: CopyOptions): Promise<number> {
  const { source, target, signal } = options
  signal.throwIfAborted()
  const reader = source.query(to(readStatement(options)))
  const writer = target.query(from(writeStatement(options)))
  // Not the pipe's own signal: a writer that waits for a lock would keep it from ending.
  const drop = () => [source, target].forEach(cut)
  signal.addEventListener('abort', drop, { once: true })
  let failed: pg.Client | undefined
  // They stay: a connection that breaks after the pipe has failed reports it once more.
  reader.on('error', () => (failed ??= source))
  writer.on('error', () => (failed ??= target))
  try {
    await pipeline(reader, writer)
    // The reader ends with the last row; how many there were comes after it.
    await source.query('')
  } catch (error) {
    signal.throwIfAborted()
    throw failure(options, error, failed ?? source)
  } finally {
    signal.removeEventListener('abort', drop)
  }
  if (reader.rowCount !== writer.rowCount) {
    const details = [options.table, reader.rowCount, writer.rowCount, options.to]
    throw new BanyanError(SYNC_ERRORS.COPY_COUNT, details)
  }
  return writer.rowCount
}

/** Up to here type oids are PostgreSQL's own, and so the same everywhere. */
const FIRST_USER_OID = 16_384

/**
 * Whether the binary format, which is faster, can carry a column: the oid stands in arrays, so it must be the same type,
 * and one that PostgreSQL brings along.
 */
export function binaryFits(source: { typeOid: number }, target: { typeOid: number }): boolean {
  return source.typeOid === target.typeOid && source.typeOid < FIRST_USER_OID
}

function readStatement({ table, columns, where, format }: CopyOptions): string {
  const list = [...columns.keys()].map(quote).join(', ')
  const condition = where === undefined ? '' : ` WHERE ${where}`
  return `COPY (SELECT ${list} FROM ONLY ${quoteRelation(table)}${condition}) TO STDOUT (FORMAT ${format})`
}

function writeStatement({ to, columns, format }: CopyOptions): string {
  const list = [...columns.values()].map(quote).join(', ')
  return `COPY ${quoteRelation(to)} (${list}) FROM STDIN (FORMAT ${format})`
}

function failure({ table, to }: CopyOptions, error: unknown, side: pg.Client): Error {
  const explained = explain(error, `${side.host}:${side.port}`)
  if (explained instanceof BanyanError && explained.rule.retry) return explained
  const details = [table, to, explained.message]
  return new BanyanError(SYNC_ERRORS.COPY_FAILED, details, { cause: error })
}
