/** What a server and the role that we came as are, read in one statement: facts for checks, doctor and preflight. */
import type pg from 'pg'
import { BanyanError, must } from '../model/errors.ts'
import { POSTGRES_ERRORS as RULES } from '../model/errors-postgres.ts'
import type { System } from '../model/position.ts'
import { placeOf } from './explain.ts'
import { quote } from './sql.ts'

export interface ServerFacts {
  /** '18.4' */
  readonly version: string
  /** 180004 */
  readonly versionNumber: number
  /** Null on a standby, whose timeline isn't known until it is promoted. */
  readonly system: System | null
  readonly standby: boolean
  readonly walLevel: string
  /** Another one is set, and waits for the server's restart. */
  readonly walLevelPending: boolean
  readonly maxReplicationSlots: number
  readonly usedSlots: number
  readonly maxWalSenders: number
  readonly usedSenders: number
  /** What slots may keep back, in bytes; null: no limit. */
  readonly maxSlotWalKeepBytes: number | null
  readonly maxConnections: number
  readonly usedConnections: number
  readonly maxPreparedTransactions: number
  readonly fsync: boolean
  readonly fullPageWrites: boolean
  /** What a session gets that sets nothing: not our own pin. */
  readonly synchronousCommit: string
  /** '' without synchronous standbys. */
  readonly synchronousStandbyNames: string
  readonly walSenderTimeoutMs: number
  readonly encoding: string
  readonly database: string
  readonly role: RoleFacts
}

export interface RoleFacts {
  readonly name: string
  readonly superuser: boolean
  readonly replication: boolean
  readonly bypassRls: boolean
  readonly createRole: boolean
  readonly createDatabase: boolean
  /** May `SET session_replication_role`: apply needs it. */
  readonly setReplica: boolean
  /** Sees other sessions' statements (pg_read_all_stats). */
  readonly seesActivity: boolean
  /** May make schemas in this database. */
  readonly createSchema: boolean
}

/** Reads the facts. Takes no locks and writes nothing; any role may. */
export async function probe(client: pg.ClientBase): Promise<ServerFacts> {
  const seen = await client.query<{ version: string }>(
    `SELECT pg_catalog.current_setting('server_version_num') AS version`,
  )
  const version = Number(must(seen.rows[0], 'a version').version)
  const { rows } = await client.query<{ facts: unknown }>(factsStatement(version))
  const read = must(rows[0], 'a row of facts').facts
  // A raw-text connection gives JSON as text.
  const facts = (typeof read === 'string' ? JSON.parse(read) : read) as Raw
  const { timeline, identifier, ...rest } = facts
  return {
    ...rest,
    system: timeline === null ? null : { identifier, timeline: Number.parseInt(timeline, 16) },
  }
}

export interface Needs {
  /** More than are in use now. */
  readonly slots: number
  readonly senders: number
}

/** All that keeps a server from being captured from, at once; empty when nothing does. `where` names it in the text. */
export function captureBlockers(facts: ServerFacts, where: string, needs: Needs): BanyanError[] {
  const place = placeOf(where)
  const blockers: BanyanError[] = []
  const { usedSlots, maxReplicationSlots, usedSenders, maxWalSenders } = facts
  if (facts.standby) blockers.push(new BanyanError(RULES.STANDBY, [place]))
  if (facts.walLevel !== 'logical') {
    const remedy = facts.walLevelPending
      ? 'another one is set there: only the restart of the server is missing'
      : 'there: ALTER SYSTEM SET wal_level = logical; restart the server (this needs a restart)'
    blockers.push(new BanyanError(RULES.WAL_LEVEL, [place, facts.walLevel, remedy]))
  }
  if (usedSlots + needs.slots > maxReplicationSlots) {
    const enough = usedSlots + needs.slots
    const details = [place, usedSlots, maxReplicationSlots, needs.slots, enough]
    blockers.push(new BanyanError(RULES.SLOTS_EXHAUSTED, details))
  }
  if (usedSenders + needs.senders > maxWalSenders) {
    const enough = usedSenders + needs.senders
    const details = [place, usedSenders, maxWalSenders, needs.senders, enough]
    blockers.push(new BanyanError(RULES.SENDERS_EXHAUSTED, details))
  }
  if (!facts.role.replication && !facts.role.superuser) {
    blockers.push(new BanyanError(RULES.ROLE_NOT_REPLICATION, [facts.role.name]))
  }
  return blockers
}

/** ROLE_REPLICA_DENIED where the role that looked can't apply; else null. */
export function replicaBlocker({ role, version, versionNumber }: ServerFacts): BanyanError | null {
  if (role.setReplica) return null
  const grant =
    versionNumber >= 150_000
      ? `GRANT SET ON PARAMETER session_replication_role TO ${quote(role.name)}`
      : `ALTER ROLE ${quote(role.name)} SUPERUSER (PostgreSQL 14 knows no lesser way), or upgrade to 15`
  return new BanyanError(RULES.ROLE_REPLICA_DENIED, [role.name, version, grant])
}

/** NOT_DURABLE where a crash of the server may lose what it acknowledged; else null. */
export function durabilityBlocker(facts: ServerFacts, where: string): BanyanError | null {
  const off = [facts.fsync ? '' : 'fsync off', facts.fullPageWrites ? '' : 'full_page_writes off']
  const missing = off.filter(name => name !== '').join(' and ')
  return missing === '' ? null : new BanyanError(RULES.NOT_DURABLE, [placeOf(where), missing])
}

/** Refuses a role that a gate can't hold, as an application's. Throws ROLE_IS_SUPERUSER. */
export function mustNotBeSuperuser(role: RoleFacts): void {
  if (role.superuser) throw new BanyanError(RULES.ROLE_IS_SUPERUSER, [role.name])
}

type Raw = Omit<ServerFacts, 'system'> & { identifier: string; timeline: string | null }

// reset_val, not current_setting, where our own session pins what others get. The sums come from views that show every
// role all rows: pg_stat_activity hides them.
function factsStatement(versionNumber: number): string {
  const setReplica =
    versionNumber >= 150_000
      ? `pg_catalog.has_parameter_privilege('session_replication_role', 'SET')`
      : 'false'
  return `
SELECT pg_catalog.json_build_object(
  'version', pg_catalog.split_part(pg_catalog.current_setting('server_version'), ' ', 1),
  'versionNumber', pg_catalog.current_setting('server_version_num')::int,
  'identifier', (SELECT system_identifier::text FROM pg_catalog.pg_control_system()),
  'timeline', CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN
    pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8) END,
  'standby', pg_catalog.pg_is_in_recovery(),
  'walLevel', pg_catalog.current_setting('wal_level'),
  'walLevelPending', (SELECT s.pending_restart FROM pg_catalog.pg_settings s WHERE s.name = 'wal_level'),
  'maxReplicationSlots', pg_catalog.current_setting('max_replication_slots')::int,
  'usedSlots', (SELECT pg_catalog.count(*) FROM pg_catalog.pg_replication_slots),
  'maxWalSenders', pg_catalog.current_setting('max_wal_senders')::int,
  'usedSenders', (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_replication),
  'maxSlotWalKeepBytes', (SELECT nullif(setting::bigint, -1) * 1048576
    FROM pg_catalog.pg_settings WHERE name = 'max_slot_wal_keep_size'),
  'maxConnections', pg_catalog.current_setting('max_connections')::int,
  'usedConnections', (SELECT pg_catalog.sum(numbackends) FROM pg_catalog.pg_stat_database),
  'maxPreparedTransactions', pg_catalog.current_setting('max_prepared_transactions')::int,
  'fsync', pg_catalog.current_setting('fsync')::bool,
  'fullPageWrites', pg_catalog.current_setting('full_page_writes')::bool,
  'synchronousCommit', (SELECT reset_val FROM pg_catalog.pg_settings
    WHERE name = 'synchronous_commit'),
  'synchronousStandbyNames', pg_catalog.current_setting('synchronous_standby_names'),
  'walSenderTimeoutMs', (SELECT reset_val::int FROM pg_catalog.pg_settings
    WHERE name = 'wal_sender_timeout'),
  'encoding', pg_catalog.current_setting('server_encoding'),
  'database', pg_catalog.current_database(),
  'role', (SELECT pg_catalog.json_build_object(
    'name', rolname, 'superuser', rolsuper, 'replication', rolreplication,
    'bypassRls', rolbypassrls OR rolsuper, 'createRole', rolcreaterole OR rolsuper,
    'createDatabase', rolcreatedb OR rolsuper, 'setReplica', rolsuper OR ${setReplica},
    'seesActivity', pg_catalog.pg_has_role(oid, 'pg_read_all_stats', 'USAGE'),
    'createSchema', pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE'))
    FROM pg_catalog.pg_roles WHERE rolname = current_user)
) AS facts`
}
