/**
 * A ledger that never turned red proves nothing: these really change rows behind everybody's back,
 * as a superuser, so that it must. Each can be undone, after which the ledger must be clean again.
 */
import pg from 'pg'
import { entriesOf, readHistory, type EntryOf, type History } from './ledger/history.ts'
import { NAMES, type Names, type Side } from './ledger/side.ts'

export type SabotageName = 'missing-row' | 'doubled-row' | 'stale-read'

export interface SabotageOptions {
  /**
   * The journal of a load that has booked and changed something: the victims are rows it was told
   * "ok" about.
   */
  readonly journal: string
  /**
   * With a superuser's URL. For `missing-row` and `doubled-row` the owner of appointments; for
   * `stale-read` the side that answers reads.
   */
  readonly on: Side
}

export interface Sabotage {
  readonly name: SabotageName
  /** For people: what was done to which rows. */
  readonly what: string
  /** The appointments' ids. */
  readonly ids: readonly number[]
  undo(): Promise<void>
}

/**
 * So many appointments go back in time for `stale-read`: the client picks what it reads, and must
 * soon pick one.
 */
const STALE_ROWS_MAX = 50
const LOCK_TIMEOUT = '5s'
/** What the gate raises. */
const REFUSED_BY_GATE = 'BNY01'

/** Throws where the journal names no fitting row, or the database refuses. */
export const SABOTAGES: Readonly<
  Record<SabotageName, (options: SabotageOptions) => Promise<Sabotage>>
> = {
  'missing-row': missingRow,
  'doubled-row': doubledRow,
  'stale-read': staleRead,
}

/** Deletes an appointment that the client was told is booked. */
export async function missingRow(options: SabotageOptions): Promise<Sabotage> {
  const { appointments: table } = NAMES[options.on.side]
  const id = newest(await readHistory(options.journal), 1)[0]?.id ?? nothingToSpoil(options)
  const rows = await behindTheGate({ on: options.on, table }, client =>
    client.query<{ row: unknown }>(
      `DELETE FROM ${table} WHERE id = $1 RETURNING to_jsonb(${table}) AS row`,
      [id],
    ),
  )
  const row = rows[0]?.row
  if (row === undefined) throw new Error(`appointment ${id} isn't in ${table}: is that the owner?`)
  return {
    name: 'missing-row',
    what: `deleted appointment ${id} from ${table}`,
    ids: [id],
    undo: async () => {
      await behindTheGate({ on: options.on, table }, client =>
        client.query(`INSERT INTO ${table} SELECT (jsonb_populate_record(NULL::${table}, $1)).*`, [
          JSON.stringify(row),
        ]),
      )
    },
  }
}

/** Inserts a copy of an acknowledged appointment under a new id. */
export async function doubledRow(options: SabotageOptions): Promise<Sabotage> {
  const { appointments: table } = NAMES[options.on.side]
  const id = newest(await readHistory(options.journal), 1)[0]?.id ?? nothingToSpoil(options)
  const rows = await behindTheGate({ on: options.on, table }, client =>
    client.query<{ id: number }>(
      `INSERT INTO ${table}
       SELECT (jsonb_populate_record(original, jsonb_build_object('id', coalesce(
         nextval(pg_get_serial_sequence('${table}', 'id')), original.id + 1000000)))).*
       FROM ${table} AS original WHERE id = $1
       RETURNING id::float8 AS id`,
      [id],
    ),
  )
  const copy = rows[0]?.id
  if (copy === undefined) throw new Error(`appointment ${id} isn't in ${table}: is that the owner?`)
  return {
    name: 'doubled-row',
    what: `copied appointment ${id} to ${copy} in ${table}`,
    ids: [copy],
    undo: async () => {
      await behindTheGate({ on: options.on, table }, client =>
        client.query(`DELETE FROM ${table} WHERE id = $1`, [copy]),
      )
    },
  }
}

/**
 * Sets appointments back by one version, where the load's sessions read them again: the client must
 * notice.
 */
export async function staleRead(options: SabotageOptions): Promise<Sabotage> {
  const { appointments: table } = NAMES[options.on.side]
  const history = await readHistory(options.journal)
  const patched = new Set(
    entriesOf(history, 'patch')
      .filter(entry => entry.told === 'ok')
      .map(entry => entry.intent.appointment),
  )
  const ids = newest(history, STALE_ROWS_MAX, id => patched.has(id)).map(entry => entry.id)
  if (ids.length === 0) nothingToSpoil(options)
  const move = (step: string): Promise<unknown> =>
    behindTheGate({ on: options.on, table }, client =>
      client.query(`UPDATE ${table} SET version = version ${step} WHERE id = ANY($1::bigint[])`, [
        ids,
      ]),
    )
  await move('- 1')
  return {
    name: 'stale-read',
    what: `set ${ids.length} appointments back by one version in ${table}`,
    ids,
    undo: async () => {
      await move('+ 1')
    },
  }
}

/** Bookings told ok and never deleted, the newest first. */
function newest(
  history: History,
  most: number,
  fits: (id: number) => boolean = () => true,
): (EntryOf<'book'> & { readonly id: number })[] {
  const deleted = new Set(entriesOf(history, 'delete').map(entry => entry.intent.appointment))
  return entriesOf(history, 'book')
    .filter((entry): entry is EntryOf<'book'> & { readonly id: number } => {
      const { told, id } = entry
      return told === 'ok' && id !== undefined && !deleted.has(id) && fits(id)
    })
    .reverse()
    .slice(0, most)
}

function nothingToSpoil(options: SabotageOptions): never {
  throw new Error(
    `${options.journal} names no acknowledged appointment that fits: let the load run on`,
  )
}

/**
 * One transaction as if no trigger were there. Foreign keys and ordinary triggers sleep in a
 * replica session; the gate is ENABLE ALWAYS and doesn't, so on the side that isn't the owner it is
 * disabled and enabled again.
 */
async function behindTheGate<T extends pg.QueryResultRow>(
  where: { readonly on: Side; readonly table: Names['appointments'] },
  work: (client: pg.Client) => Promise<pg.QueryResult<T>>,
): Promise<T[]> {
  const client = new pg.Client({ connectionString: where.on.url, application_name: 'sabotage' })
  client.on('error', () => {})
  await client.connect()
  try {
    await client.query('BEGIN')
    await client.query(`SET LOCAL session_replication_role = replica`)
    await client.query(`SET LOCAL lock_timeout = '${LOCK_TIMEOUT}'`)
    await client.query('SAVEPOINT gated')
    const { rows } = await work(client).catch(async (error: unknown) => {
      if ((error as { code?: string }).code !== REFUSED_BY_GATE) throw error
      await client.query('ROLLBACK TO SAVEPOINT gated')
      return withoutAlwaysTriggers({ client, table: where.table }, () => work(client))
    })
    await client.query('COMMIT')
    return rows
  } finally {
    await client.end()
  }
}

async function withoutAlwaysTriggers<T>(
  { client, table }: { readonly client: pg.Client; readonly table: string },
  work: () => Promise<T>,
): Promise<T> {
  const { rows: triggers } = await client.query<{ name: string }>(
    `SELECT quote_ident(tgname) AS name FROM pg_trigger
     WHERE tgrelid = $1::regclass AND tgenabled = 'A' AND NOT tgisinternal`,
    [table],
  )
  for (const { name } of triggers)
    await client.query(`ALTER TABLE ${table} DISABLE TRIGGER ${name}`)
  const result = await work()
  for (const { name } of triggers) {
    await client.query(`ALTER TABLE ${table} ENABLE ALWAYS TRIGGER ${name}`)
  }
  return result
}
