/** What keeps a table from being kept in step with another database: every row is found before anything is changed. */
import { defineErrors } from './errors.ts'

const again = 'then run `banyan doctor <slice>`'

export const PREFLIGHT_ERRORS = defineErrors({
  TABLE_MISSING: {
    message: '%s has no table %s that this role can see',
    hint: `make it there with the service's own migrations, or correct its name in the slice file, ${again}`,
    status: 409,
    exit: 3,
  },
  TABLE_KIND: {
    message: '%s: %s is %s; its changes are not in the change stream',
    hint: `take it out of the slice, or move its rows into an ordinary table, ${again}`,
    status: 409,
    exit: 3,
  },
  TARGET_SHARED: {
    message: 'the tables %s and %s both go to %s',
    hint: 'give each its own table in the service, then run `banyan lint`',
    status: 409,
    exit: 3,
  },
  NO_IDENTITY: {
    message:
      '%s: %s has no key by which the stream could name a row (replica identity is "%s"): an UPDATE of the application would fail',
    hint: `%4; ${again}`,
    status: 409,
    exit: 3,
  },
  KEY_MISMATCH: {
    message: '%s: %s has no unique index on exactly (%s), the key of %s',
    hint: `CREATE UNIQUE INDEX ON %2 (%3) there, on NOT NULL columns, ${again}`,
    status: 409,
    exit: 3,
  },
  KEY_UNMAPPED: {
    message: '%s: column %s is part of the key and has no counterpart in %s',
    hint: `every column of a key must travel: add it to the service, ${again}`,
    status: 409,
    exit: 3,
  },
  COLUMN_MISSING: {
    message: '%s: %s has no column %s, which the slice file names',
    hint: 'correct the name in the slice file, or add the column, then run `banyan lint`',
    status: 409,
    exit: 3,
  },
  COLUMN_UNSUPPORTED: {
    message: '%s: %s.%s has the type %s, which is not kept in step: %s',
    hint: `give it another type, or leave the table in legacy, ${again}`,
    status: 409,
    exit: 3,
  },
  COLUMN_TYPE: {
    message: '%s.%s is %s, %s.%s is %s: the types must be the same',
    hint: `ALTER TABLE %4 ALTER COLUMN %5 TYPE %3 in the service, ${again}`,
    status: 409,
    exit: 3,
  },
  ENUM_LABELS: {
    message: '%s.%s: the type %s has the labels (%s) here and (%s) in the other database',
    hint: `ALTER TYPE %3 ADD VALUE … where labels are missing, ${again}`,
    status: 409,
    exit: 3,
  },
  COLUMN_GENERATED: {
    message: '%s.%s is computed by the database, %s.%s is not: the two would drift apart',
    hint: `make it GENERATED on both sides, or on neither, ${again}`,
    status: 409,
    exit: 3,
  },
  COLUMN_REQUIRED: {
    message: '%s: %s.%s is NOT NULL without a default, and %s has nothing to put there',
    hint: `give it a default there, ${again}`,
    status: 409,
    exit: 3,
  },
  MAPPING_ONE_WAY: {
    message:
      '%s.%s has no counterpart in %s, is NOT NULL and has no default: a row made by the service could not come back',
    hint: `give it a default in legacy, or add the column to the service, ${again}`,
    status: 409,
    exit: 3,
  },
  RULE_WRITES: {
    message:
      '%s: the rule "%s" on %s rewrites %s: it would act a second time on what the stream brings',
    hint: `replace it by a trigger, ${again}`,
    status: 409,
    exit: 3,
  },
  SUBSCRIBED: {
    message: '%s: the subscription "%s" writes into %s past every gate',
    hint: `end the subscription, or leave the table where it is, ${again}`,
    status: 409,
    exit: 3,
  },
  ROW_SECURITY: {
    message:
      '%s: %s has row-level security, and the role "%s" is subject to it: rows would be missing without a word',
    hint: `ALTER ROLE "%3" BYPASSRLS there, ${again}`,
    status: 409,
    exit: 3,
  },
  GRANT_MISSING: {
    message: '%s: the role "%s" may not %s %s',
    hint: `GRANT %3 ON %4 TO "%2" there, ${again}`,
    status: 409,
    exit: 3,
  },
  ENCODING: {
    message:
      '%s has the encoding SQL_ASCII: nobody knows what its bytes mean, and the other database would refuse some',
    hint: `move it into a UTF8 database first (dump, create, restore), ${again}`,
    status: 409,
    exit: 3,
  },
})
