/** The settings that Banyan pins in every session, so that a role, a database or a server can't change what we read or write. */
import { literal } from './sql.ts'

/** In milliseconds; 0 or absent: no limit. */
export interface Timeouts {
  readonly statementMs?: number
  readonly lockMs?: number
  readonly idleInTransactionMs?: number
}

// How values look as text, and how text is read: both ends must agree, on every machine.
const TEXT = {
  client_encoding: 'UTF8',
  DateStyle: 'ISO, MDY',
  IntervalStyle: 'postgres',
  TimeZone: 'UTC',
  extra_float_digits: '1',
  bytea_output: 'hex',
  xmlbinary: 'base64',
  lc_monetary: 'C',
  search_path: '',
  standard_conforming_strings: 'on',
}

// What statements mean.
const MEANING = {
  default_transaction_isolation: 'read committed',
  default_transaction_read_only: 'off',
  default_transaction_deferrable: 'off',
  array_nulls: 'on',
  transform_null_equals: 'off',
  // A policy that hid rows from us would look like rows that were deleted. Off: an error instead of silence.
  row_security: 'off',
  client_min_messages: 'warning',
}

// A server notices that we are gone: our end closed, within 200 ms even in the middle of a statement (else the fence of a
// controller that was killed could commit with nobody in charge); our machine gone, within half a minute.
const CHECK_INTERVAL = { client_connection_check_interval: '200ms' }
const KEEPALIVE = {
  tcp_keepalives_idle: '10',
  tcp_keepalives_interval: '5',
  tcp_keepalives_count: '3',
}

/**
 * One message that pins the session and answers `version` (server_version_num) in its last row. Settings that an older
 * server lacks are passed over.
 */
export function pinStatement(wanted: {
  readonly replication?: boolean
  readonly timeouts?: Timeouts
}): string {
  const pins = { ...TEXT, ...MEANING, ...KEEPALIVE, ...limits(wanted.timeouts) }
  return wanted.replication === true ? replicationStatement(pins) : sqlStatement(pins)
}

function limits(timeouts: Timeouts = {}): Record<string, string> {
  return {
    statement_timeout: String(timeouts.statementMs ?? 0),
    lock_timeout: String(timeouts.lockMs ?? 0),
    idle_in_transaction_session_timeout: String(timeouts.idleInTransactionMs ?? 0),
    idle_session_timeout: '0',
  }
}

function sqlStatement(pins: Readonly<Record<string, string>>): string {
  const all = Object.entries({ ...pins, transaction_timeout: '0', ...CHECK_INTERVAL })
  const rows = all.map(([name, value]) => `(${literal(name)}, ${literal(value)})`)
  return `SELECT pg_catalog.set_config(name, value, false),
                 pg_catalog.current_setting('server_version_num') AS version
            FROM (VALUES ${rows.join(', ')}, ('synchronous_commit', ${SYNCHRONOUS})) AS pin (name, value)
           WHERE pg_catalog.current_setting(name, true) IS NOT NULL
             AND (name <> 'client_connection_check_interval' OR ${CAN_CHECK})`
}

// An acknowledged step of ours must survive a failover where there is something to fail over to.
const SYNCHRONOUS = `CASE WHEN pg_catalog.current_setting('synchronous_standby_names') = '' THEN 'on' ELSE 'remote_apply' END`

// Only Linux can before PostgreSQL 15, and Windows never; a server that can't refuses the setting.
const CAN_CHECK = `(pg_catalog.version() LIKE '%linux%'
  OR pg_catalog.current_setting('server_version_num') >= '150000'
     AND pg_catalog.version() NOT SIMILAR TO '%(windows|mingw|Visual C)%')`

/** A walsender's parser of old takes plain SETs only, and only what the oldest server has. */
function replicationStatement(pins: Readonly<Record<string, string>>): string {
  const sets = Object.entries({ ...pins, wal_sender_timeout: '60s' })
  const lines = sets.map(([name, value]) => `SET ${name} = ${literal(value)}`)
  return `${lines.join('; ')};
    SELECT CASE WHEN current_setting('transaction_timeout', true) IS NOT NULL
                THEN set_config('transaction_timeout', '0', false) END,
           current_setting('server_version_num') AS version`
}
