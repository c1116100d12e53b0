/** What can go wrong between us and a PostgreSQL server: reaching it, running our own, and what it must allow. */
import { defineErrors } from './errors.ts'

export const POSTGRES_ERRORS = defineErrors({
  // Reaching a database. %1 is host:port, never a URL.
  DATABASE_URL_INVALID: {
    message: 'the database address is not a URL like postgres://user:password@host:5432/name',
    hint: 'correct the value that the reference in banyan.yaml names, then run `banyan doctor <slice>`',
    status: 500,
    exit: 2,
  },
  UNREACHABLE: {
    message: 'no PostgreSQL answers at %s (%s)',
    hint: 'check that the server runs, listens there and lets this machine through, then run `banyan doctor <slice>`',
    status: 503,
    exit: 4,
    retry: true,
  },
  AUTH_FAILED: {
    message: 'PostgreSQL at %s refused to let us in (%s)',
    hint: 'check user, password and pg_hba.conf of that server, then run `banyan doctor <slice>`',
    status: 500,
    exit: 3,
  },
  DATABASE_MISSING: {
    message: 'PostgreSQL at %s has no such database (%s)',
    hint: 'check the name at the end of the URL, or create the database, then run `banyan doctor <slice>`',
    status: 500,
    exit: 3,
  },
  DATABASE_STARTING: {
    message: 'PostgreSQL at %s takes no connections at the moment (%s)',
    hint: 'it is starting, stopping or recovering: wait for it, then run `banyan doctor <slice>`',
    status: 503,
    exit: 4,
    retry: true,
  },
  CONNECTIONS_EXHAUSTED: {
    message: 'PostgreSQL at %s has no free connection (%s)',
    hint: 'raise max_connections or the role’s limit, or end idle sessions, then run `banyan doctor <slice>`',
    status: 503,
    exit: 4,
    retry: true,
  },
  CONNECTION_LOST: {
    message: 'the connection to PostgreSQL at %s ended (%s)',
    hint: 'what was under way may or may not be committed; see the server’s log, then run `banyan status`',
    status: 503,
    exit: 4,
    retry: true,
  },
  TLS_UNVERIFIED: {
    message: 'the TLS certificate of PostgreSQL at %s can’t be verified (%s)',
    hint: 'name its authority in the URL (`sslrootcert=…`), then run `banyan doctor <slice>`',
    status: 500,
    exit: 3,
  },
  TLS_REFUSED: {
    message: 'PostgreSQL at %s speaks no TLS, and the URL asks for it',
    hint: 'turn TLS on in that server, or take `sslmode` out of the URL, then run `banyan doctor <slice>`',
    status: 500,
    exit: 3,
  },
  PRIVILEGE_MISSING: {
    message: 'PostgreSQL at %s denied a statement: %s',
    hint: 'run `banyan doctor <slice>`: it prints the grants that the role lacks',
    status: 500,
    exit: 3,
  },
  STATEMENT_CUT: {
    message: 'PostgreSQL at %s ended a statement before it was done (%s)',
    hint: 'a time limit, a deadlock or a conflict: nothing of it was kept; run `banyan status` and try again',
    status: 503,
    exit: 4,
    retry: true,
  },
  STATEMENT_FAILED: {
    message: 'PostgreSQL at %s refused a statement: %s',
    hint: 'see the server’s log for the statement, then run `banyan doctor <slice>`',
    status: 500,
    exit: 5,
  },

  // What a server must be. %1 is host:port.
  TOO_OLD: {
    message: 'PostgreSQL at %s is version %s; Banyan needs 14 or newer',
    hint: 'upgrade that server, then run `banyan doctor <slice>`',
    status: 500,
    exit: 3,
  },
  STANDBY: {
    message: 'PostgreSQL at %s is a standby: nothing can be written there',
    hint: 'give the primary’s address, then run `banyan doctor <slice>`',
    status: 500,
    exit: 3,
  },
  WAL_LEVEL: {
    message: 'PostgreSQL at %s has wal_level = %s; changes can only be captured with logical',
    hint: '%3; then run `banyan doctor <slice>`',
    status: 500,
    exit: 3,
  },
  SLOTS_EXHAUSTED: {
    message: 'PostgreSQL at %s has %s of %s replication slots in use; %s more are needed',
    hint: 'there: ALTER SYSTEM SET max_replication_slots = %5; restart the server (or drop slots that nobody reads); then run `banyan doctor <slice>`',
    status: 500,
    exit: 3,
  },
  SENDERS_EXHAUSTED: {
    message: 'PostgreSQL at %s has %s of %s WAL senders in use; %s more are needed',
    hint: 'there: ALTER SYSTEM SET max_wal_senders = %5; restart the server; then run `banyan doctor <slice>`',
    status: 500,
    exit: 3,
  },
  NOT_DURABLE: {
    message: 'PostgreSQL at %s runs with %s: a crash there may lose what was acknowledged',
    hint: 'there: ALTER SYSTEM SET fsync = on, full_page_writes = on; SELECT pg_reload_conf(); then run `banyan doctor <slice>`',
    status: 500,
    exit: 3,
  },
  ROLE_IS_SUPERUSER: {
    message:
      'the role "%s" is a superuser: a gate can’t hold it, so it may not be the application’s role',
    hint: 'there: CREATE ROLE app LOGIN PASSWORD …; ALTER TABLE … OWNER TO app for each of its tables; let the application log in as app; then run `banyan doctor <slice>`',
    status: 500,
    exit: 3,
  },
  ROLE_NOT_REPLICATION: {
    message: 'the role "%s" lacks REPLICATION: it can’t read the changes',
    hint: 'as a superuser: ALTER ROLE "%1" REPLICATION; then run `banyan doctor <slice>`',
    status: 500,
    exit: 3,
  },
  ROLE_REPLICA_DENIED: {
    message: 'the role "%s" may not SET session_replication_role (PostgreSQL %s)',
    hint: 'as a superuser: %3; then run `banyan doctor <slice>`',
    status: 500,
    exit: 3,
  },

  // Running our own.
  BINARIES_MISSING: {
    message: 'no PostgreSQL server program was found: %s',
    hint:
      'one of three: run `npm install --include=optional` again (glibc Linux, macOS); install PostgreSQL 14 or newer ' +
      '(Debian: `apt-get install postgresql`, Alpine: `apk add postgresql`, macOS: `brew install postgresql`); ' +
      'or name its bin folder: `BANYAN_PG_BIN=/path/to/bin banyan up`',
    status: 500,
    exit: 2,
  },
  SERVER_USER_MISSING: {
    message: 'PostgreSQL can’t run as %s',
    hint:
      'PostgreSQL refuses root, and a user without a line in /etc/passwd: start as an ordinary user, or add one ' +
      '(`useradd --system postgres`); then run `banyan up`',
    status: 500,
    exit: 2,
  },
  FOLDER_UNSAFE: {
    message: 'the folder %s belongs to someone else or can be written by others',
    hint: 'move it away (it isn’t ours), then run `banyan up`',
    status: 500,
    exit: 5,
  },
  DATA_VERSION: {
    message:
      'the data in %s was written by PostgreSQL %s; the server program found here is %s (%s)',
    hint:
      'nothing was touched. Either point BANYAN_PG_BIN at the bin folder of a PostgreSQL %2, or upgrade the data with ' +
      'pg_upgrade, or move the folder away to begin anew; then run `banyan up`',
    status: 500,
    exit: 5,
  },
  DATA_FOREIGN: {
    message: 'the data folder %s can’t be used by this user (%s)',
    hint: 'run as the user who owns it, or give it to yours (`chown -R`), then run `banyan up`',
    status: 500,
    exit: 5,
  },
  DATA_UNKNOWN: {
    message: 'the folder %s is not empty and holds no PostgreSQL data',
    hint: 'give another folder, or move this one away, then run `banyan up`',
    status: 500,
    exit: 5,
  },
  DATA_NOT_MADE: {
    message: 'PostgreSQL couldn’t make its data in %s: %s',
    hint: 'mend what it names (space, rights, the folder), then run `banyan up`',
    status: 500,
    exit: 5,
  },
  CLUSTER_RUNNING: {
    message: 'the PostgreSQL cluster in %s is already running (process %s, port %s)',
    hint: 'another Banyan uses this folder: stop it, or give another data folder, then run `banyan up`',
    status: 409,
    exit: 3,
    retry: true,
  },
  PORT_IN_USE: {
    message: 'port %s of %s is in use by another program',
    hint: 'free it or choose another port, then run `banyan up`',
    status: 409,
    exit: 3,
    retry: true,
  },
  CLUSTER_NOT_STARTED: {
    message: 'PostgreSQL for "%s" didn’t start: %s',
    hint: 'read its log in %3, then run `banyan up`',
    status: 500,
    exit: 5,
  },
})
