/**
 * Where a slice's rows stand and what they are called there: the monolith and the services name
 * some things differently.
 */
import pg from 'pg'

export type SideName = 'legacy' | 'service'
export type SliceName = 'appointments' | 'patients'

export interface Side {
  readonly side: SideName
  /** Of a role that may read the tables. */
  readonly url: string
}

export interface Names {
  readonly appointments: string
  readonly slots: string
  readonly waitlist: string
  readonly slotMoves: string
  readonly patients: string
  /**
   * The practitioner's column in appointments and slots; everywhere else both sides say
   * practitioner_id.
   */
  readonly practitioner: string
}

export const NAMES: Readonly<Record<SideName, Names>> = {
  legacy: {
    appointments: 'appointments',
    slots: 'slots',
    waitlist: 'waitlist',
    slotMoves: 'slot_moves',
    patients: 'patients',
    practitioner: 'practitioner_id',
  },
  service: {
    appointments: 'appointment',
    slots: 'slot',
    waitlist: 'waitlist',
    slotMoves: 'slot_move',
    patients: 'patient',
    practitioner: 'doctor_id',
  },
}

/** Reads of one moment: a transaction that sees one snapshot and can't write. */
export async function withSnapshot<T>(
  url: string,
  work: (client: pg.Client) => Promise<T>,
): Promise<T> {
  const client = new pg.Client({ connectionString: url, application_name: 'ledger' })
  client.on('error', () => {})
  await client.connect()
  try {
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY')
    await client.query(`SET LOCAL TimeZone = 'UTC'`)
    await client.query(`SET LOCAL DateStyle = 'ISO, YMD'`)
    await client.query(`SET LOCAL IntervalStyle = 'postgres'`)
    await client.query(`SET LOCAL extra_float_digits = 1`)
    return await work(client)
  } finally {
    await client.end()
  }
}
