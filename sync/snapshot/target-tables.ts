/** The target's tables before and after a copy: empty at its beginning, with statistics at its end. */
import type pg from 'pg'
import { BanyanError } from '../../model/errors.ts'
import { SYNC_ERRORS } from '../../model/errors-sync.ts'
import type { TableFacts } from '../../postgres/catalog.ts'
import { quoteRelation } from '../../postgres/sql.ts'

/** Throws TARGET_NOT_EMPTY, naming all that have rows. */
export async function mustBeEmpty(target: pg.ClientBase, tables: readonly string[]): Promise<void> {
  const filled: string[] = []
  for (const table of tables) {
    const { rowCount } = await target.query(`SELECT 1 FROM ${quoteRelation(table)} LIMIT 1`)
    if (rowCount !== 0) filled.push(table)
  }
  if (filled.length > 0) throw new BanyanError(SYNC_ERRORS.TARGET_NOT_EMPTY, [filled.join(', ')])
}

/** Empties the tables in one transaction. In a session whose foreign keys don't act (replica role). */
export async function empty(target: pg.ClientBase, tables: readonly TableFacts[]): Promise<void> {
  const { truncated, deleted } = howToEmpty(tables)
  await target.query('BEGIN')
  if (truncated.length > 0) {
    await target.query(`TRUNCATE ${truncated.map(quoteRelation).join(', ')}`)
  }
  for (const table of deleted) await target.query(`DELETE FROM ${quoteRelation(table)}`)
  await target.query('COMMIT')
}

/**
 * TRUNCATE refuses a table that a foreign key points at, unless the other end is emptied by the same statement; no
 * setting helps. Those tables, and all that they point at, are emptied by DELETE.
 */
export function howToEmpty(tables: readonly Pick<TableFacts, 'name' | 'referencedBy'>[]): {
  readonly truncated: readonly string[]
  readonly deleted: readonly string[]
} {
  const truncated = new Set(tables.map(table => table.name))
  const deleted: string[] = []
  for (let found = true; found;) {
    found = false
    for (const { name, referencedBy } of tables) {
      if (!truncated.has(name)) continue
      if (referencedBy.every(key => truncated.has(key.table))) continue
      truncated.delete(name)
      deleted.push(name)
      found = true
    }
  }
  return { truncated: [...truncated], deleted }
}

/** False where the role may not (the server only warns): then autovacuum does it, some minutes later. */
export async function analyze(client: pg.Client, tables: readonly string[]): Promise<boolean> {
  let warned = false
  const listen = () => {
    warned = true
  }
  client.on('notice', listen)
  await client.query(`ANALYZE ${tables.map(quoteRelation).join(', ')}`)
  client.off('notice', listen)
  return !warned
}
