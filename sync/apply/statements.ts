/** A change as the statements that repeat it in the target. Values stay text from wire to wire. */
import { type Change, type Row, UNCHANGED, type Value } from '../../model/change.ts'
import { BanyanError, must, unreachable } from '../../model/errors.ts'
import { APPLY_ERRORS } from '../../model/errors-apply.ts'
import { LOCK_CLASS, literal, quote, quoteRelation } from '../../postgres/sql.ts'
import type { AppliedTable, Cascade } from './table.ts'

export interface Statement {
  readonly text: string
  readonly values: readonly Value[]
  /** How many rows it must touch; anything else is divergence. Null: any number. */
  readonly rows: number | null
  /** For the message when it doesn't: operation, table, key. Never a value outside the key. */
  readonly about: { readonly op: Change['op']; readonly table: string; readonly key: string }
}

/** Throws VALUE_MISSING where a whole row is needed and the stream didn't send one. */
export function statementsOf(change: Change, table: AppliedTable): Statement[] {
  switch (change.op) {
    case 'c':
      return [insertOf(change, table)]
    case 'u':
      return updateOf(change, table)
    case 'd':
      return [
        ...table.cascades.map(each => cascadeOf(change, table, each)),
        deleteOf(change, table),
      ]
    case 't':
      return [
        {
          ...blank(change, table),
          text: `TRUNCATE ${quoteRelation(table.target)}`,
          values: [],
          rows: null,
        },
      ]
    default:
      return unreachable(change.op)
  }
}

function insertOf(change: Change, table: AppliedTable): Statement {
  const columns: string[] = []
  const values: Value[] = []
  for (const [name, value] of travelling(must(change.after, 'new row'), table)) {
    if (value === UNCHANGED) throw new BanyanError(APPLY_ERRORS.VALUE_MISSING, [table.source, name])
    columns.push(quote(must(table.columns.get(name), name)))
    values.push(value)
  }
  const places = values.map((_, index) => `$${index + 1}`).join(', ')
  const text = `INSERT INTO ${quoteRelation(table.target)} (${columns.join(', ')}) OVERRIDING SYSTEM VALUE VALUES (${places})`
  return { ...blank(change, table), text, values, rows: 1 }
}

function updateOf(change: Change, table: AppliedTable): Statement[] {
  const sets: string[] = []
  const values: Value[] = []
  for (const [name, value] of travelling(must(change.after, 'new row'), table)) {
    if (value === UNCHANGED) continue
    values.push(value)
    sets.push(`${quote(must(table.columns.get(name), name))} = $${values.length}`)
  }
  if (sets.length === 0) return []
  const where = whereKey(change, table, values)
  return [
    {
      ...blank(change, table),
      text: `UPDATE ${quoteRelation(table.target)} SET ${sets.join(', ')} WHERE ${where}`,
      values,
      rows: 1,
    },
  ]
}

function deleteOf(change: Change, table: AppliedTable): Statement {
  const values: Value[] = []
  const where = whereKey(change, table, values)
  const text = `DELETE FROM ${quoteRelation(table.target)} WHERE ${where}`
  return { ...blank(change, table), text, values, rows: 1 }
}

/** The gate's own rule: shared lock first, word second; a slice that is closed here gets its deletes by its own stream. */
function cascadeOf(change: Change, table: AppliedTable, cascade: Cascade): Statement {
  const column = quote(cascade.column)
  const child = quoteRelation(cascade.child)
  const open =
    cascade.whileOpen === undefined
      ? ''
      : ` AND (SELECT banyan.word_of(n) % 2 = 1 FROM (SELECT n, pg_advisory_xact_lock_shared(${LOCK_CLASS}, n)
          FROM (SELECT banyan.number_of(${literal(cascade.whileOpen)}) AS n) s OFFSET 0) l)`
  const verb =
    cascade.onDelete === 'cascade' ? `DELETE FROM ${child}` : `UPDATE ${child} SET ${column} = NULL`
  const parent = keyValue(change, table, cascade.parentColumn)
  return {
    ...blank(change, table),
    text: `${verb} WHERE ${column} = $1${open}`,
    values: [parent],
    rows: null,
  }
}

function whereKey(change: Change, table: AppliedTable, values: Value[]): string {
  return table.key
    .map(name => {
      values.push(keyValue(change, table, name))
      return `${quote(must(table.columns.get(name), name))} = $${values.length}`
    })
    .join(' AND ')
}

/** The row is found by its old key: `before` has it when the key changed or the row is gone. */
function keyValue(change: Change, table: AppliedTable, name: string): Value {
  const old = change.before?.get(name)
  const value = old === undefined || old === UNCHANGED ? change.after?.get(name) : old
  if (value === undefined || value === UNCHANGED) {
    throw new BanyanError(APPLY_ERRORS.VALUE_MISSING, [table.source, name])
  }
  return value
}

/** The key as a person reads it; keys are what an operator needs to look a row up. */
export function describeKey(change: Change, key: readonly string[]): string {
  return key
    .map(name => {
      const value = change.before?.get(name) ?? change.after?.get(name)
      return `${name}=${value === UNCHANGED ? '?' : (value ?? '?')}`
    })
    .join(' ')
}

function* travelling(row: Row, table: AppliedTable) {
  for (const entry of row) if (table.columns.has(entry[0])) yield entry
}

function blank(change: Change, table: AppliedTable): Pick<Statement, 'about'> {
  return { about: { op: change.op, table: table.source, key: describeKey(change, table.key) } }
}
