/** Where a database keeps the application's tables, and who owns them. */
import type pg from 'pg'
import { APPLICATION_TABLE } from './privileges.ts'
import type { Home } from './roles.ts'

export interface HomeSeen extends Home {
  /** No gate could hold it: see ROLE_IS_SUPERUSER. */
  readonly superuser: boolean
  readonly tables: number
}

/** Of these tables (`schema.table`), else of all; partitions aren't counted. The home of most tables comes first. */
export async function readHomes(
  client: pg.ClientBase,
  tables?: readonly string[],
): Promise<HomeSeen[]> {
  const { rows } = await client.query<HomeSeen>(
    `SELECT n.nspname AS schema, r.rolname AS owner, r.rolsuper AS superuser, pg_catalog.count(*)::int AS tables
     FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     JOIN pg_catalog.pg_roles r ON r.oid = c.relowner
     WHERE NOT c.relispartition AND ${APPLICATION_TABLE}
       AND ($1::text[] IS NULL OR n.nspname || '.' || c.relname = ANY ($1))
     GROUP BY 1, 2, 3 ORDER BY 4 DESC, 1, 2`,
    [tables ?? null],
  )
  return rows
}
