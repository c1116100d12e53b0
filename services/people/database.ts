/** This service's own PostgreSQL database: a pool, whole transactions, and values printed the way the API promises. */
import { Pool, types } from 'pg'
import type { PoolClient } from 'pg'

export type Row = Record<string, unknown>

export interface Queries {
  rows(sql: string, values?: readonly unknown[]): Promise<Row[]>
  /** The first row, or undefined. */
  row(sql: string, values?: readonly unknown[]): Promise<Row | undefined>
}

export interface Database extends Queries {
  /** Commits when `work` resolves, rolls back when it throws. */
  transaction<T>(work: (tx: Queries) => Promise<T>): Promise<T>
  close(): Promise<void>
}

const POOL_SIZE = 10
const CONNECT_TIMEOUT_MS = 5_000

/** `applicationName` is what the database shows about whoever holds a connection. */
export function openDatabase(url: string, applicationName: string): Database {
  const pool = new Pool({
    connectionString: url,
    application_name: applicationName,
    max: POOL_SIZE,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    types: { getTypeParser: parserOf },
  })
  // A connection that dies while idle is replaced by the pool; without a listener it would end the process.
  pool.on('error', error => {
    if (!pool.ending) console.error(JSON.stringify({ warning: error.message }))
  })
  return {
    ...queriesOn(pool),
    transaction: work => inTransaction(pool, work),
    close: () => pool.end(),
  }
}

function queriesOn(client: Pick<Pool | PoolClient, 'query'>): Queries {
  const rows = async (sql: string, values: readonly unknown[] = []) =>
    (await client.query<Row>(sql, [...values])).rows
  return { rows, row: async (sql, values) => (await rows(sql, values))[0] }
}

async function inTransaction<T>(pool: Pool, work: (tx: Queries) => Promise<T>): Promise<T> {
  const client = await pool.connect()
  let broken: Error | undefined
  try {
    await client.query('begin')
    const result = await work(queriesOn(client))
    await client.query('commit')
    return result
  } catch (error) {
    await client.query('rollback').catch((cause: Error) => {
      broken = cause
    })
    throw error
  } finally {
    client.release(broken)
  }
}

const BIGINT = 20
const DATE = 1082
const TIMESTAMPTZ = 1184

function parserOf(oid: number, format?: 'text' | 'binary'): (text: string) => unknown {
  if (oid === BIGINT) return Number
  if (oid === DATE) return text => text
  if (oid === TIMESTAMPTZ) return isoTimestamp
  return types.getTypeParser(oid, format ?? 'text') as (text: string) => unknown
}

const TIMESTAMP = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.(\d+))?([+-]\d\d)(:\d\d)?$/

/**
 * '2026-03-02 09:30:00.123456+00' → '2026-03-02T09:30:00.123Z'. Milliseconds are cut, never rounded; what isn't a
 * plain instant (infinity, years before Christ) stays as PostgreSQL printed it.
 */
export function isoTimestamp(text: string): string {
  const match = TIMESTAMP.exec(text)
  if (!match) return text
  const [, date, time, fraction = '', hours, minutes = ':00'] = match
  const local = `${date}T${time}.${fraction.slice(0, 3).padEnd(3, '0')}`
  if (hours === '+00' && minutes === ':00') return `${local}Z`
  return new Date(`${local}${hours}${minutes}`).toISOString()
}
