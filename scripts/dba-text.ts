/** The SQL that a database's administrator reads and runs: each statement with a line that says why. For `psql -f`. */
import { placeOf } from '../postgres/explain.ts'
import { doBlock, literal } from '../postgres/sql.ts'
import type { RoleStep } from '../postgres/roles.ts'

/** Stands where the owner's name belongs and nobody could be asked for it. */
export const PLACEHOLDER = 'OWNER_OF_THE_TABLES'

/** Beside banyan.yaml: the roles of `legacy` or of a service. */
export function dbaFile(name: string): string {
  return name === 'legacy' ? 'for-dba.sql' : `for-dba-${name}.sql`
}

/** As a superuser runs such a file from here: who that is, psql asks or knows. */
export function psqlLine(url: string, database: string, file: string): string {
  const [, host, port] = /^(.*):(\d+)$/.exec(placeOf(url)) ?? []
  const at = host === undefined || port === undefined ? '' : ` -h ${host} -p ${port}`
  return `psql${at} -d ${database} -f ${file}`
}

interface SqlFile {
  readonly database: string
  /** host:port */
  readonly place: string
  /** All of them or none. */
  readonly steps: readonly RoleStep[]
  /** Of the server, which no transaction holds. */
  readonly settings?: readonly RoleStep[]
  /** What to know before running it; whole lines. */
  readonly notes?: readonly string[]
  /** The command that comes after it. */
  readonly next: string
}

/** The roles. `known`: whether the owners of the tables are; else PLACEHOLDER stands for them. Ends in a newline. */
export function dbaText(wanted: SqlFile & { readonly known: boolean }): string {
  const unknown = [
    `${PLACEHOLDER} is to be replaced by the role that owns the application's tables:`,
    'nobody could be asked for it yet.',
  ]
  const notes = [
    'Safe to repeat. The passwords are verifiers (SCRAM): nobody can read them back.',
    ...(wanted.known ? [] : unknown),
    ...(wanted.notes ?? []),
  ]
  return sqlText({ ...wanted, notes })
}

/** Ends in a newline. */
export function sqlText(wanted: SqlFile): string {
  const { database, place, steps, settings = [], notes = [], next } = wanted
  const here = `pg_catalog.current_database() <> ${literal(database)}`
  const says = `RAISE 'this is meant for the database "%"', ${literal(database)}`
  return [
    comment(`For a superuser, in the database "${database}" at ${place}.`),
    ...notes.map(comment),
    'BEGIN;',
    doBlock(`IF ${here} THEN ${says}; END IF;`),
    ...steps.flatMap(stepLines),
    'COMMIT;',
    ...settings.flatMap(stepLines),
    '',
    comment(`next: ${next}`),
    '',
  ].join('\n')
}

function stepLines({ why, statements }: RoleStep): string[] {
  return ['', comment(why), ...statements]
}

/** A name from a database must not end the comment that it stands in. */
export function comment(text: string): string {
  return `-- ${text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, '?')}`
}
