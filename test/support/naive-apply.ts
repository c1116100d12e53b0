/** Applies changes one statement at a time, the plainest way there is: what the stream says is what is done. */
import pg from 'pg'
import { type Change, UNCHANGED } from '../../model/change.ts'
import { mapRow, type TableMapping } from '../../model/mapping.ts'
import { quote, quoteRelation } from '../../postgres/sql.ts'

/** Resolves when all changes are in the target. Throws where one doesn't touch exactly one row. */
export async function applyNaively(
  url: string,
  changes: readonly Change[],
  mappings: readonly TableMapping[],
): Promise<void> {
  const client = new pg.Client(url)
  await client.connect()
  try {
    await client.query(`SET session_replication_role = replica`)
    for (const change of changes) {
      const mapping = mappings.find(each => each.table === `${change.schema}.${change.table}`)
      if (mapping) await applyOne(client, change, mapping)
    }
  } finally {
    await client.end()
  }
}

async function applyOne(client: pg.Client, change: Change, mapping: TableMapping): Promise<void> {
  const table = quoteRelation(mapping.to)
  if (change.op === 't') {
    await client.query(`TRUNCATE ${table}`)
    return
  }
  const values: (string | null)[] = []
  const place = (value: string | null | typeof UNCHANGED | undefined) => {
    if (value === UNCHANGED || value === undefined) throw new Error('a value that was not sent')
    values.push(value)
    return `$${values.length}`
  }
  const after = [...mapRow(mapping, change.after ?? new Map())]
  const old = mapRow(mapping, change.before ?? change.after ?? new Map())
  const key = change.key.map(name => mapping.columns.get(name) ?? name)
  const where = () => key.map(name => `${quote(name)} = ${place(old.get(name))}`).join(' AND ')
  const text = {
    c: () =>
      `INSERT INTO ${table} (${after.map(([name]) => quote(name)).join(', ')}) OVERRIDING SYSTEM VALUE
       VALUES (${after.map(([, value]) => place(value)).join(', ')})`,
    u: () => {
      const sets = after.filter(([, value]) => value !== UNCHANGED)
      const list = sets.map(([name, value]) => `${quote(name)} = ${place(value)}`).join(', ')
      return `UPDATE ${table} SET ${list} WHERE ${where()}`
    },
    d: () => `DELETE FROM ${table} WHERE ${where()}`,
  }[change.op]()
  const { rowCount } = await client.query(text, values)
  if (rowCount !== 1) throw new Error(`${change.op} on ${mapping.to} touched ${rowCount} rows`)
}
