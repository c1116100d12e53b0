/** Foreign keys and triggers of a database as the files speak of them; keys that were loosened still count. */
import type pg from 'pg'
import type { ForeignKeyFact, TriggerFact } from '../model/crossings.ts'
import { unqualified } from '../model/wiring.ts'

const ON_DELETE: Readonly<Record<string, ForeignKeyFact['onDelete']>> = {
  a: 'no action',
  r: 'restrict',
  c: 'cascade',
  n: 'set null',
  d: 'set default',
}

const KEYS = `
  SELECT c.conname AS name, cn.nspname || '.' || cc.relname AS child, pn.nspname || '.' || pc.relname AS parent,
    (SELECT json_agg(a.attname ORDER BY k.i) FROM unnest(c.conkey) WITH ORDINALITY k (n, i)
      JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.n) AS columns,
    (SELECT json_agg(a.attname ORDER BY k.i) FROM unnest(c.confkey) WITH ORDINALITY k (n, i)
      JOIN pg_catalog.pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = k.n) AS parent_columns,
    c.confdeltype AS on_delete, pg_catalog.pg_get_constraintdef(c.oid) AS definition
  FROM pg_catalog.pg_constraint c
  JOIN pg_catalog.pg_class cc ON cc.oid = c.conrelid JOIN pg_catalog.pg_namespace cn ON cn.oid = cc.relnamespace
  JOIN pg_catalog.pg_class pc ON pc.oid = c.confrelid JOIN pg_catalog.pg_namespace pn ON pn.oid = pc.relnamespace
  WHERE c.contype = 'f' AND c.conparentid = 0 AND cn.nspname <> 'banyan' ORDER BY 2, 1`

export interface KeyInDatabase extends ForeignKeyFact {
  /** `FOREIGN KEY (…) REFERENCES …`, as PostgreSQL prints it. */
  readonly definition: string
}

export async function readForeignKeys(client: pg.ClientBase): Promise<KeyInDatabase[]> {
  const { rows } = await client.query<Record<string, string | string[]>>(KEYS)
  return rows.map(row => ({
    name: text(row.name),
    table: unqualified(text(row.child)),
    columns: list(row.columns),
    parentTable: unqualified(text(row.parent)),
    parentColumns: list(row.parent_columns),
    onDelete: ON_DELETE[text(row.on_delete)] ?? 'no action',
    definition: text(row.definition),
  }))
}

/** The application's own triggers: not PostgreSQL's, not our gates. */
export async function readTriggers(client: pg.ClientBase): Promise<TriggerFact[]> {
  const { rows } = await client.query<{ name: string; relation: string }>(
    `SELECT t.tgname AS name, n.nspname || '.' || c.relname AS relation FROM pg_catalog.pg_trigger t
     JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE NOT t.tgisinternal AND t.tgname <> 'banyan_gate' AND n.nspname <> 'banyan' ORDER BY 2, 1`,
  )
  return rows.map(row => ({ name: row.name, table: unqualified(row.relation) }))
}

/**
 * Keys of legacy that were dropped because they cross a moved slice: they still say what a deleted parent does. On record
 * in legacy itself, beside the tables that lack them. `legacy`: a session of any of our roles.
 */
export async function readLoosened(legacy: pg.ClientBase): Promise<KeyInDatabase[]> {
  const there = await legacy.query(
    `SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = 'banyan' AND c.relname = 'loosened_key' AND pg_catalog.has_table_privilege(c.oid, 'SELECT')`,
  )
  if (there.rowCount === 0) return []
  const { rows } = await legacy.query<{ key: KeyInDatabase }>(
    'SELECT key FROM banyan.loosened_key ORDER BY relation, name',
  )
  return rows.map(row => row.key)
}

function text(value: string | string[] | undefined): string {
  return String(value)
}

function list(value: string | string[] | undefined): string[] {
  return typeof value === 'string' ? (JSON.parse(value) as string[]) : (value ?? [])
}
