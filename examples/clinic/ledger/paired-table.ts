/**
 * Which table here is which table there, column by column: what "both sides are equal" means, in
 * one page.
 */
import type { SliceName } from './side.ts'

export type ServiceName = 'scheduling' | 'people'

/** How a key is ordered outside the database, exactly as inside it. */
export type KeyType = 'bigint' | 'uuid' | 'timestamptz'

export interface PairedTable {
  /** In the monolith's database. */
  readonly legacy: string
  /** In the service's database. */
  readonly there: string
  readonly service: ServiceName
  /** A read copy belongs to no slice. */
  readonly slice: SliceName | 'practitioners' | 'copies'
  readonly key: readonly { readonly column: string; readonly type: KeyType }[]
  /** The monolith's names, in the order in which they are hashed; the key is among them. */
  readonly columns: readonly string[]
  readonly renamed: Readonly<Record<string, string>>
}

const DOCTOR = { practitioner_id: 'doctor_id' }
const ID = [{ column: 'id', type: 'bigint' }] as const
const UUID = [{ column: 'id', type: 'uuid' }] as const
const SLOT = [
  { column: 'practitioner_id', type: 'bigint' },
  { column: 'starts_at', type: 'timestamptz' },
] as const
const PATIENT = words('id mrn name birth_date phone email tags visits op_id updated_at')
const PRACTITIONER = words('id code name specialty')
const APPOINTMENT = words(
  'id op_id patient_id practitioner_id starts_at status notes details fee version updated_at',
)
const SLOT_COLUMNS = words('practitioner_id starts_at capacity taken')
const WAITLIST = words('practitioner_id starts_at waiting')
const MOVE = words('id op_id practitioner_id starts_at kind at')

export const PAIRED_TABLES: readonly PairedTable[] = [
  ...pairs('appointments', 'scheduling', [
    {
      legacy: 'appointments',
      there: 'appointment',
      key: ID,
      columns: APPOINTMENT,
      renamed: DOCTOR,
    },
    { legacy: 'slots', there: 'slot', key: SLOT, columns: SLOT_COLUMNS, renamed: DOCTOR },
    { legacy: 'waitlist', there: 'waitlist', key: SLOT, columns: WAITLIST, renamed: {} },
    { legacy: 'slot_moves', there: 'slot_move', key: UUID, columns: MOVE, renamed: {} },
  ]),
  ...pairs('patients', 'people', [
    { legacy: 'patients', there: 'patient', key: ID, columns: PATIENT, renamed: {} },
  ]),
  ...pairs('practitioners', 'people', [
    { legacy: 'practitioners', there: 'practitioner', key: ID, columns: PRACTITIONER, renamed: {} },
  ]),
  ...pairs('copies', 'scheduling', [
    { legacy: 'patients', there: 'patients', key: ID, columns: PATIENT, renamed: {} },
    {
      legacy: 'practitioners',
      there: 'practitioners',
      key: ID,
      columns: PRACTITIONER,
      renamed: {},
    },
  ]),
]

function pairs(
  slice: PairedTable['slice'],
  service: ServiceName,
  tables: readonly Omit<PairedTable, 'slice' | 'service'>[],
): readonly PairedTable[] {
  return tables.map(table => ({ slice, service, ...table }))
}

function words(text: string): readonly string[] {
  return text.split(' ')
}

export type SideOfPair = 'legacy' | 'service'

/** The columns of a key by their names on that side. */
export function nameOn(table: PairedTable, side: SideOfPair, column: string): string {
  return side === 'legacy' ? column : (table.renamed[column] ?? column)
}

/**
 * Every row as (key as text, md5 of all mapped columns), in the key's order. A row's text form
 * quotes, and tells an empty text from NULL; only names differ between the sides, and names aren't
 * part of it.
 */
export function hashedRows(table: PairedTable, side: SideOfPair): string {
  const columns = table.columns.map(column => nameOn(table, side, column)).join(', ')
  const keys = table.key.map(({ column, type }) => {
    const name = nameOn(table, side, column)
    return type === 'timestamptz' ? `(extract(epoch FROM ${name}) * 1000000)::bigint` : name
  })
  const order = table.key.map(({ column }) => nameOn(table, side, column)).join(', ')
  const name = side === 'legacy' ? table.legacy : table.there
  return `SELECT concat_ws('/', ${keys.join(', ')}) AS key, md5(ROW(${columns})::text) AS hash
    FROM ${name} ORDER BY ${order}`
}

/**
 * As the database orders them: numbers as numbers, instants as microseconds, UUIDs byte by byte.
 */
export function compareKeys(table: PairedTable, left: string, right: string): number {
  const [lefts, rights] = [left.split('/'), right.split('/')]
  for (const [index, { type }] of table.key.entries()) {
    const [a, b] = [lefts[index] ?? '', rights[index] ?? '']
    if (a === b) continue
    if (type === 'uuid') return a < b ? -1 : 1
    return BigInt(a) < BigInt(b) ? -1 : 1
  }
  return 0
}

/** A key for people: instants spelled out. */
export function printedKey(table: PairedTable, key: string): string {
  const parts = key.split('/')
  return table.key
    .map(({ type }, index) => {
      const part = parts[index] ?? ''
      return type === 'timestamptz' ? new Date(Number(part) / 1000).toISOString() : part
    })
    .join('/')
}
