/** What a database's catalog says about tables, as plain records: facts for preflight, copying and fingerprints. */
import type pg from 'pg'
import { CATALOG } from './catalog-queries.ts'

/** A type with domains and arrays taken off: what a value is made of. */
export interface TypeFacts {
  /** `int4`, `public.mood`: with its schema where that isn't pg_catalog. */
  readonly name: string
  readonly kind: 'base' | 'composite' | 'enum' | 'range' | 'multirange' | 'pseudo'
  /** Of an enum, in their order; else empty. */
  readonly labels: readonly string[]
}

export interface ColumnFacts {
  readonly name: string
  /** As declared, with schema where that isn't pg_catalog: `numeric(10,2)`, `public.mood[]`. */
  readonly type: string
  readonly typeOid: number
  readonly base: TypeFacts
  readonly notNull: boolean
  /** The default's expression; null without one. Identity and generated columns have none. */
  readonly default: string | null
  readonly generated: 'stored' | 'virtual' | null
  readonly identity: 'always' | 'default' | null
}

/** A unique index on plain columns. */
export interface KeyFacts {
  readonly name: string
  readonly columns: readonly string[]
  readonly primary: boolean
  /** Whole, immediate and NOT NULL: can be a replica identity. */
  readonly usable: boolean
  /** Is the replica identity by REPLICA IDENTITY USING INDEX. */
  readonly identity: boolean
}

export interface ForeignKeyFacts {
  readonly name: string
  readonly table: string
  readonly columns: readonly string[]
  readonly parent: string
  readonly parentColumns: readonly string[]
  readonly onDelete: ReferentialAction
  readonly onUpdate: ReferentialAction
  readonly validated: boolean
  readonly deferrable: boolean
}

export type ReferentialAction = 'no action' | 'restrict' | 'cascade' | 'set null' | 'set default'

/** A trigger that the application has made: neither PostgreSQL's own nor one of ours. */
export interface TriggerFacts {
  readonly name: string
  readonly function: string
  readonly when: 'before' | 'after' | 'instead of'
  readonly each: 'row' | 'statement'
  readonly events: readonly ('insert' | 'update' | 'delete' | 'truncate')[]
  readonly enabled: 'origin' | 'replica' | 'always' | 'disabled'
}

/** A sequence that a column owns or takes its default from. Numbers as text: they may pass 2^53. */
export interface SequenceFacts {
  readonly name: string
  readonly column: string
  /** Goes away with the column; otherwise the column merely draws from it, as others may. */
  readonly owned: boolean
  readonly type: string
  /** Null: never drawn from, or this role may not see it. */
  readonly lastValue: string | null
  readonly increment: string
  readonly min: string
  readonly max: string
  readonly cycle: boolean
}

export interface TableFacts {
  /** `schema.table` */
  readonly name: string
  readonly oid: number
  readonly relfilenode: number
  readonly kind: 'table' | 'partitioned' | 'foreign' | 'view' | 'materialized view' | 'other'
  readonly persistence: 'permanent' | 'unlogged' | 'temporary'
  /** Of the main file, now. */
  readonly bytes: number
  /** The planner's estimate; null before the first ANALYZE. */
  readonly rows: number | null
  readonly partitionOf: string | null
  /** Every partition that holds rows, however deep. */
  readonly leaves: readonly { readonly name: string; readonly kind: TableFacts['kind'] }[]
  /** By inheritance without partitions. */
  readonly inheritsFrom: readonly string[]
  readonly inheritedBy: readonly string[]
  readonly replicaIdentity: 'default' | 'index' | 'full' | 'nothing'
  /** Itself, or partitions: the tables whose UPDATE fails once they are published. */
  readonly frozen: readonly string[]
  readonly rowSecurity: boolean
  readonly rowSecurityForced: boolean
  /** In the table's order. */
  readonly columns: readonly ColumnFacts[]
  readonly keys: readonly KeyFacts[]
  readonly foreignKeys: readonly ForeignKeyFacts[]
  /** Foreign keys of any table, this one too, that point here. */
  readonly referencedBy: readonly ForeignKeyFacts[]
  readonly triggers: readonly TriggerFacts[]
  /** Rules that rewrite INSERT, UPDATE or DELETE. */
  readonly rules: readonly { readonly name: string; readonly event: string }[]
  readonly sequences: readonly SequenceFacts[]
  /** Sequences in its defaults, and every table of the database that draws from them: this one, and perhaps others. */
  readonly drawnFrom: readonly { readonly sequence: string; readonly tables: readonly string[] }[]
  readonly publications: readonly string[]
  /** Subscriptions that write into it. */
  readonly subscriptions: readonly string[]
  /** What the role that asks may do. */
  readonly may: Readonly<Record<'select' | 'insert' | 'update' | 'delete' | 'truncate', boolean>>
}

/** By `schema.table`; a table that isn't there isn't in it. */
export type Catalog = ReadonlyMap<string, TableFacts>

/**
 * Reads the facts about these tables (`schema.table`), in one snapshot of the catalog. Takes no lock on them. The
 * session must be pinned (`connect`): with another search_path types would go by other names.
 */
export async function readCatalog(
  client: pg.ClientBase,
  tables: readonly string[],
): Promise<Catalog> {
  const { rows } = await client.query<{ facts: string | null }>(CATALOG, [tables])
  const read = JSON.parse(rows[0]?.facts ?? '[]') as TableFacts[]
  return new Map(read.map(facts => [facts.name, facts]))
}

/** The tables of the database, `schema.table`: for whoever has mistyped one. */
export async function readTableNames(client: pg.ClientBase): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(
    `SELECT n.nspname || '.' || c.relname AS name FROM pg_catalog.pg_class c
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'banyan') ORDER BY 1`,
  )
  return rows.map(row => row.name)
}

/**
 * The source columns that find a row: the primary key, or the index that is the replica identity. Null where there is
 * neither (a deferrable key is none), or where the stream wouldn't send them (REPLICA IDENTITY NOTHING).
 */
export function rowKey(
  table: Pick<TableFacts, 'replicaIdentity' | 'keys'>,
): readonly string[] | null {
  const { replicaIdentity, keys } = table
  if (replicaIdentity === 'nothing') return null
  const named = (key: KeyFacts) => (replicaIdentity === 'index' ? key.identity : key.primary)
  return keys.find(key => named(key) && key.usable)?.columns ?? null
}
