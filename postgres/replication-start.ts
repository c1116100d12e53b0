/** Looks at a slot before it is read: START_REPLICATION itself accepts what would lose changes without a word. */
import type pg from 'pg'
import { BanyanError } from '../model/errors.ts'
import { SYNC_ERRORS } from '../model/errors-sync.ts'
import { formatLsn, type Lsn, parseLsn } from '../model/position.ts'
import { literal } from './sql.ts'

export interface SlotRequest {
  readonly slot: string
  readonly publications: readonly string[]
  readonly from: Lsn
}

interface Facts {
  readonly end: string
  readonly confirmed: string | null
  readonly walStatus: string | null
  readonly activePid: number | null
  readonly exists: boolean
  readonly publications: string[]
}

/**
 * Throws SLOT_MISSING, SLOT_LOST, SLOT_BUSY, SLOT_AHEAD, SOURCE_REWOUND, PUBLICATION_MISSING. On the
 * replication connection itself, so in the simple protocol, without parameters.
 */
export async function verifySlot(client: pg.ClientBase, request: SlotRequest): Promise<void> {
  const { rows } = await client.query<Facts>(factsOf(request))
  const facts = rows[0]
  const { slot, from } = request
  const missing = request.publications.filter(name => !facts?.publications.includes(name))
  if (!facts?.exists) throw new BanyanError(SYNC_ERRORS.SLOT_MISSING, [slot])
  if (facts.walStatus === 'lost') throw new BanyanError(SYNC_ERRORS.SLOT_LOST, [slot])
  if (facts.activePid !== null) {
    throw new BanyanError(SYNC_ERRORS.SLOT_BUSY, [
      slot,
      `the connection with pid ${facts.activePid}`,
    ])
  }
  if (missing.length > 0) {
    throw new BanyanError(SYNC_ERRORS.PUBLICATION_MISSING, [missing.join(', ')])
  }
  // The server would begin at its own position without a word, and what lies between would be missing for ever.
  if (facts.confirmed !== null && from < parseLsn(facts.confirmed)) {
    throw new BanyanError(SYNC_ERRORS.SLOT_AHEAD, [slot, facts.confirmed, formatLsn(from)])
  }
  // The server would wait for a position of a history that it no longer has, and then go on in another one.
  if (from > parseLsn(facts.end)) {
    throw new BanyanError(SYNC_ERRORS.SOURCE_REWOUND, [facts.end, formatLsn(from)])
  }
}

function factsOf({ slot, publications }: SlotRequest): string {
  const names = publications.map(literal).join(', ')
  return `SELECT (CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
      ELSE pg_catalog.pg_current_wal_insert_lsn() END)::text AS end,
    s.confirmed_flush_lsn::text AS confirmed, s.wal_status AS "walStatus", s.active_pid AS "activePid",
    s.slot_name IS NOT NULL AS exists,
    ARRAY(SELECT p.pubname::text FROM pg_catalog.pg_publication p
      WHERE p.pubname::text = ANY (ARRAY[${names}]::text[])) AS publications
  FROM (SELECT 1) one LEFT JOIN pg_catalog.pg_replication_slots s
    ON s.slot_name = ${literal(slot)} AND s.slot_type = 'logical'
    AND s.database = pg_catalog.current_database() AND s.plugin = 'pgoutput'`
}
