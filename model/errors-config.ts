/** What can be wrong with the files that people write: banyan.yaml and slices/*.yaml. */
import { defineErrors } from './errors.ts'

export const CONFIG_ERRORS = defineErrors({
  CONFIG_MISSING: {
    message: 'there is no %s',
    hint: 'go to the folder that has it, name it with --config, or make one: `banyan init --url <monolith>`',
    status: 404,
    exit: 2,
  },
  CONFIG_INVALID: {
    message: 'the files have %s',
    hint: 'see all of it with `banyan lint`',
    status: 422,
    exit: 2,
  },
  FILE_TOO_LARGE: {
    message: 'the file has %s; the limit is %s',
    hint: 'split the slice in two, then run `banyan lint`',
    status: 422,
    exit: 2,
  },
  FILE_NAME: {
    message: '"%s" is not the name of a slice file: %s',
    hint: "the file's name is the slice's name: slices/<name>.yaml; rename it, then run `banyan lint`",
    status: 422,
    exit: 2,
  },
  YAML_SYNTAX: {
    message: 'this is not YAML: %s',
    hint: 'correct the text at the caret, then run `banyan lint`',
    status: 422,
    exit: 2,
  },
  YAML_ALIAS: {
    message: 'the alias cannot be followed: %s',
    hint: 'write the value out instead of `*name`, then run `banyan lint`',
    status: 422,
    exit: 2,
  },
  KEY_TWICE: {
    message: 'the key stands twice in the same map',
    hint: 'take one of the two out, then run `banyan lint`',
    status: 422,
    exit: 2,
  },
  KEY_UNKNOWN: {
    message: 'unknown key "%s"',
    hint: 'docs/config.md lists the keys; correct it, then run `banyan lint`',
    status: 422,
    exit: 2,
  },
  KEY_MISSING: {
    message: '"%s" is missing',
    hint: 'add it as docs/config.md says, then run `banyan lint`',
    status: 422,
    exit: 2,
  },
  TYPE_WRONG: {
    message: 'expected %s, found %s',
    hint: 'docs/config.md says what stands here; correct it, then run `banyan lint`',
    status: 422,
    exit: 2,
  },
  VALUE_UNKNOWN: {
    message: '"%s" is not one of: %s',
    hint: 'write one of the listed words, then run `banyan lint`',
    status: 422,
    exit: 2,
  },
  VALUE_RANGE: {
    message: '%s is out of range: it must be %s',
    hint: 'docs/config.md gives the reason for the limit; correct it, then run `banyan lint`',
    status: 422,
    exit: 2,
  },
  LIST_LENGTH: {
    message: 'this has %s entries: it must have %s',
    hint: 'docs/config.md says what stands here; correct it, then run `banyan lint`',
    status: 422,
    exit: 2,
  },
  LIST_TWICE: {
    message: '"%s" stands twice in this list',
    hint: 'take one of the two out, then run `banyan lint`',
    status: 422,
    exit: 2,
  },
  NAME_INVALID: {
    message: '"%s" cannot be the name of a slice or a service',
    hint:
      'use a to z, 0 to 9 and _, a letter first, at most 31 (it names objects in PostgreSQL); ' +
      '`legacy` and `copies…` are taken; then run `banyan lint`',
    status: 422,
    exit: 2,
  },
  TABLE_NAME: {
    message: '"%s" is not the name of a table',
    hint: 'write `table`, or `schema.table` where the schema is not public, then run `banyan lint`',
    status: 422,
    exit: 2,
  },
  COLUMN_NAME: {
    message: '"%s" is not the name of a column',
    hint: 'write it as PostgreSQL shows it, without quotes, then run `banyan lint`',
    status: 422,
    exit: 2,
  },
  SECRET_LITERAL: {
    message: 'a secret stands here in plain text; files only say where it is',
    hint:
      'write `env:NAME` or `file:PATH` and put the URL there; if this was committed, change the ' +
      'password; then run `banyan lint`',
    status: 422,
    exit: 2,
  },
  SECRET_MISSING: {
    message: '%s leads nowhere: %s',
    hint: 'set it where Banyan runs, then run the same command again, such as `banyan status`',
    status: 422,
    exit: 2,
  },
  REFERENCE_INVALID: {
    message: '"%s" does not say where the secret is',
    hint: 'write `env:NAME` (a variable) or `file:PATH` (a file that holds only it), then run `banyan lint`',
    status: 422,
    exit: 2,
  },
  DATABASE_SHARED: {
    message: '%s and %s have the same database, %s',
    hint: 'give each service a database of its own, then run `banyan lint`',
    status: 422,
    exit: 2,
  },
  COOKIE_NAME: {
    message: '"%s" is not the name of a cookie',
    hint: 'write the name alone, as in clinic_sid, then run `banyan lint`',
    status: 422,
    exit: 2,
  },
  LISTEN_INVALID: {
    message: '"%s" is not an address to listen on',
    hint: 'write `host:port`, as in 127.0.0.1:8080 or [::]:8080, then run `banyan lint`',
    status: 422,
    exit: 2,
  },
  DURATION_INVALID: {
    message: '"%s" is not a duration',
    hint: 'write a number and its unit: 500ms, 2s, 5min, 24h, 7d; then run `banyan lint`',
    status: 422,
    exit: 2,
  },
  SIZE_INVALID: {
    message: '"%s" is not a size',
    hint: 'write a number and its unit: 512B, 256kB, 1MB; then run `banyan lint`',
    status: 422,
    exit: 2,
  },
  WRITES_PERCENT: {
    message:
      'percent moves reads; ownership of writes moves once ("%s" asks for a part of the writes)',
    hint: 'take the key out; all writes move together with `banyan flip <slice> moved`',
    status: 422,
    exit: 2,
  },
  CANARY_KEY: {
    message: 'stage canary has no `canary.by`: nothing says whose reads move together',
    hint: 'add `canary: { by: [cookie:<name>], percent: 5 }`, then run `banyan lint`',
    status: 422,
    exit: 2,
  },
  BUDGET_ORDER: {
    message: '%s (%s) must be shorter than %s (%s), which it is a part of',
    hint: 'shorten the one or lengthen the other, then run `banyan lint`',
    status: 422,
    exit: 2,
  },
  SERVICE_MISSING: {
    message: 'slice "%s" names the service "%s", which banyan.yaml does not have',
    hint: 'add it under services in banyan.yaml, then run `banyan lint`',
    status: 422,
    exit: 2,
  },
  TABLE_TAKEN: {
    message: 'table "%s" is claimed by slice %s and by slice %s; a table has one owner',
    hint: 'take it out of one of the two, then run `banyan lint`',
    status: 422,
    exit: 2,
  },
  TARGET_TAKEN: {
    message: 'tables "%s" and "%s" both become "%s" in service %s',
    hint: 'give one of them another name with `to`, then run `banyan lint`',
    status: 422,
    exit: 2,
  },
  COLUMN_TAKEN: {
    message: 'columns "%s" and "%s" both become "%s"',
    hint: 'give one of them another name, then run `banyan lint`',
    status: 422,
    exit: 2,
  },
  COPY_OWNED: {
    message: 'service %s has "%s" as a read copy, but slice %s makes it the owner of that table',
    hint: 'take the table out of copies, or out of the slice, then run `banyan lint`',
    status: 422,
    exit: 2,
  },
  FK_KEY: {
    message: '"%s" does not name a foreign key',
    hint: 'write `table.column` of the child, or `table.column+column`, then run `banyan lint`',
    status: 422,
    exit: 2,
  },
  FK_ON_DELETE: {
    message: 'onDelete goes with the answer `loose` only; `%s` leaves deletes to the database',
    hint: 'take onDelete out, or answer `loose`, then run `banyan lint`',
    status: 422,
    exit: 2,
  },
  FK_CROSSES: {
    message: 'foreign key %s (%s to %s) crosses the edge of slice %s and has no answer',
    hint: 'answer it under foreignKeys, then run `banyan lint`',
    status: 409,
    exit: 3,
  },
  FK_ANSWER: {
    message: '`%s` does not answer foreign key %s, whose %s is outside slice %s',
    hint: 'answer %5, then run `banyan lint`',
    status: 409,
    exit: 3,
  },
  FK_COPY: {
    message: 'foreign key %s is answered `copy`, but service %s has no read copy of "%s"',
    hint: 'make %3 in the service with its own migrations, and add %3 to services.%2.copies in banyan.yaml (where that names other tables already, and a slice of %2 is past legacy: take its slices back to legacy first), then run `banyan doctor %4`',
    status: 409,
    exit: 3,
  },
  TRIGGER_UNANSWERED: {
    message: 'trigger %s on table %s has no answer: does it run while the table is a copy?',
    hint: 'answer `run` or `skip` under triggers, then run `banyan lint`',
    status: 409,
    exit: 3,
  },
  SIDE_WRITE: {
    message:
      '%s of the transactions of slice %s also write table %s; who writes it after the move?',
    hint: 'answer `service`, `legacy` or `dropped` under sideWrites, then run `banyan lint`',
    status: 409,
    exit: 3,
  },
  EDIT_REFUSED: {
    message: 'cannot set %s in %s without touching other text: %s',
    hint: 'change it by hand, then run `banyan lint`',
    status: 409,
    exit: 5,
  },
})
