/** The journal: what was decided, by whom, why, and how it ended. Only appended to. */
import type pg from 'pg'
import type { Store } from './store.ts'

export interface JournalEntry {
  readonly id: string
  readonly at: string
  readonly actor: string
  readonly slice: string | null
  /** `flip requested`, `flip done`, `flip undone`, `flip refused`, `override`, `released`, `fence settled`, … */
  readonly kind: string
  readonly detail: Record<string, unknown>
}

export async function append(
  client: pg.ClientBase | pg.Pool,
  entry: {
    actor: string
    slice: string | null
    kind: string
    detail?: Record<string, unknown> | undefined
  },
): Promise<void> {
  await client.query(
    'INSERT INTO banyan.journal (actor, slice, kind, detail) VALUES ($1, $2, $3, $4)',
    [entry.actor, entry.slice, entry.kind, JSON.stringify(entry.detail ?? {})],
  )
}

/** Newest first. */
export async function readJournal(
  store: Store,
  filter: { slice?: string | undefined; limit: number },
): Promise<JournalEntry[]> {
  const { rows } = await store.pool.query<JournalEntry>(
    `SELECT id, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS at, actor, slice, kind, detail FROM banyan.journal
     WHERE $1::text IS NULL OR slice = $1 ORDER BY id DESC LIMIT $2`,
    [filter.slice ?? null, filter.limit],
  )
  return rows
}
