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
      return [truncateOf([table])]
    default:
      return unreachable(change.op)
  }
}

/** One statement for all of them: alone, PostgreSQL refuses a table that another one's key points at. */
export function truncateOf(tables: readonly AppliedTable[]): Statement {
  const targets = new Set(tables.map(table => quoteRelation(table.target)))
  const sources = new Set(tables.map(table => table.source))
  return {
    text: `TRUNCATE ${[...targets].join(', ')}`,
    values: [],
    rows: null,
    about: { op: 't', table: [...sources].join(', '), key: 'all rows' },
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
  const row = must(change.after, 'new row')
  const sent = [...travelling(row, table)].filter(([, value]) => value !== UNCHANGED)
  const moves = (name: string) => hasMoved(change, row, name)
  if (table.replaced && table.key.some(moves)) return [replaceOf(change, table, table.replaced)]
  const changing = sent.filter(([name]) => !table.key.includes(name) || moves(name))
  // Nothing but the key: set to what it is, so that a row that isn't there is noticed.
  const wanted = changing.length > 0 || table.replaced ? changing : sent
  if (wanted.length === 0) return []
  const values: Value[] = []
  const sets = wanted.map(([name, value]) => {
    values.push(value as Value)
    return `${quote(must(table.columns.get(name), name))} = $${values.length}`
  })
  const where = whereKey(change, table, values)
  const text = `UPDATE ${quoteRelation(table.target)} SET ${sets.join(', ')} WHERE ${where}`
  return [{ ...blank(change, table), text, values, rows: 1 }]
}

function hasMoved(change: Change, row: Row, name: string): boolean {
  const old = change.before?.get(name)
  return old !== undefined && old !== UNCHANGED && old !== row.get(name)
}

/** The old row goes and the new one takes over what didn't travel: for a key that no UPDATE may set. */
function replaceOf(change: Change, table: AppliedTable, kept: readonly string[]): Statement {
  const values: Value[] = []
  const where = whereKey(change, table, values)
  const into = kept.map(quote)
  const from = kept.map(name => `gone.${quote(name)}`)
  for (const [name, value] of travelling(must(change.after, 'new row'), table)) {
    const column = quote(must(table.columns.get(name), name))
    into.push(column)
    if (value === UNCHANGED) from.push(`gone.${column}`)
    else from.push(`$${values.push(value)}`)
  }
  const relation = quoteRelation(table.target)
  const text = `WITH gone AS (DELETE FROM ${relation} WHERE ${where} RETURNING *)
    INSERT INTO ${relation} (${into.join(', ')}) OVERRIDING SYSTEM VALUE SELECT ${from.join(', ')} FROM gone`
  return { ...blank(change, table), text, values, rows: 1 }
}

function deleteOf(change: Change, table: AppliedTable): Statement {
  const values: Value[] = []
  const where = whereKey(change, table, values)
  const text = `DELETE FROM ${quoteRelation(table.target)} WHERE ${where}`
  return { ...blank(change, table), text, values, rows: 1 }
}

/**
 * Finds the children by the parent as it stands in the target, before it goes: its key may be all that the stream sent.
 * The gate's own rule: shared lock first, word second; a slice that is closed here gets its deletes by its own stream.
 */
function cascadeOf(change: Change, table: AppliedTable, cascade: Cascade): Statement {
  const { child, columns, parentColumns, cut = columns, onDelete, whileOpen } = cascade
  const open =
    whileOpen === undefined
      ? ''
      : ` AND (SELECT banyan.word_of(n) % 2 = 1 FROM (SELECT n, pg_advisory_xact_lock_shared(${LOCK_CLASS}, n)
          FROM (SELECT banyan.number_of(${literal(whileOpen)}) AS n) s OFFSET 0) l)`
  const [from, of] = [
    `${quoteRelation(child)} AS child`,
    `${quoteRelation(table.target)} AS parent`,
  ]
  const verb =
    onDelete === 'cascade'
      ? `DELETE FROM ${from} USING ${of}`
      : `UPDATE ${from} SET ${cut.map(name => `${quote(name)} = NULL`).join(', ')} FROM ${of}`
  const pairs = columns.map(
    (name, index) => `child.${quote(name)} = parent.${quote(must(parentColumns[index], name))}`,
  )
  const values: Value[] = []
  const where = [...pairs, whereKey(change, table, values, 'parent.')].join(' AND ')
  return { ...blank(change, table), text: `${verb} WHERE ${where}${open}`, values, rows: null }
}

function whereKey(change: Change, table: AppliedTable, values: Value[], of = ''): string {
  return table.key
    .map(name => {
      values.push(keyValue(change, table, name))
      return `${of}${quote(must(table.columns.get(name), name))} = $${values.length}`
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
