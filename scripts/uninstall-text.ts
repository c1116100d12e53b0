/** What `banyan uninstall` leaves to a person: the statements that drop the roles, and the screen that says what stays. */
import { writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import pc from 'picocolors'
import { type DatabaseUrls, roleOf, type Wiring } from '../model/wiring.ts'
import { placeOf } from '../postgres/explain.ts'
import { dropRoleSteps } from '../postgres/roles.ts'
import { quote } from '../postgres/sql.ts'
import { countOf } from './amounts.ts'
import { commandLine, type Context } from './context.ts'
import { PLACEHOLDER, sqlText } from './dba-text.ts'
import { sameRoles } from './doctor-side.ts'
import { fit } from './fit.ts'
import { askOwners, databaseOf, tablesOf } from './migrate-roles.ts'
import { layOut, printable, widthOf } from './table.ts'
import type { Taken } from './uninstall.ts'

export interface TakenOut {
  readonly databases: readonly Taken[]
  /** Foreign keys of legacy that were dropped and are not back. */
  readonly missing: readonly {
    readonly table: string
    readonly name: string
    readonly definition: string
  }[]
  /** Foreign keys of legacy that are back and don't hold what is there. */
  readonly broken: readonly { readonly message: string; readonly hint: string }[]
}

/** Writes the statements beside banyan.yaml. No file where the roles are not three, or one of them owns the tables. */
export async function writeDropFile(
  context: Context,
  wiring: Wiring,
  name: string,
): Promise<Pick<Taken, 'roles' | 'file'>> {
  const urls = name === 'legacy' ? wiring.legacy : wiring.services[name]!
  const homes = (await askOwners(urls, tablesOf(wiring.project, name))) ?? []
  const roles = [urls.setup, urls.apply, urls.capture].map(roleOf)
  if (sameRoles(urls) || homes.some(home => roles.includes(home.owner)))
    return { roles: [], file: null }
  const file = name === 'legacy' ? 'for-dba-drop.sql' : `for-dba-drop-${name}.sql`
  const text = dropText(context, urls, homes[0]?.owner)
  await writeFile(join(dirname(context.config), file), text)
  return { roles, file }
}

function dropText(context: Context, urls: DatabaseUrls, owner: string | undefined): string {
  const [setup, apply, capture] = [roleOf(urls.setup), roleOf(urls.apply), roleOf(urls.capture)]
  return sqlText({
    database: databaseOf(urls),
    place: placeOf(urls.setup),
    steps: dropRoleSteps({ owner: owner ?? PLACEHOLDER, setup, apply, capture }),
    notes: [
      'Takes out the roles that Banyan had. Nothing else of it is left here.',
      ...(owner === undefined
        ? [`${PLACEHOLDER} is to be replaced by the owner of the tables.`]
        : []),
    ],
    next: commandLine(context, 'lint'),
  })
}

export function uninstallScreen(
  context: Context,
  { databases, missing, broken, control }: TakenOut & { readonly control: boolean },
): string {
  const colors = pc.createColors(context.color)
  const done = colors.green('✔')
  const rows = databases.map(({ database, slots, schema }) => {
    const what = [
      schema ? 'gates, publications and the schema banyan' : 'no schema banyan was there',
      ...(slots.length > 0 ? [countOf(slots.length, 'slot')] : []),
    ]
    return [done, database, what.join(', ')]
  })
  if (control) rows.push([done, 'control', 'the schema banyan, and with it the journal'])
  const more = [
    ...(control ? [] : ['– control stays: it has the journal and where every slice stood']),
    ...printable(databases).flatMap(({ database, roles, file }) =>
      file === null
        ? []
        : [
            `– ${database}: a superuser takes out the roles ${roles.map(quote).join(', ')}: psql -f ${file}`,
          ],
    ),
    ...printable(missing).map(({ table, name, definition }) => {
      const ddl = `ALTER TABLE ${table} ADD CONSTRAINT ${name} ${definition}`
      return `! legacy still lacks a foreign key that was dropped: ${ddl};`
    }),
    ...printable(broken).map(({ message, hint }) => `! ${message}: ${hint}`),
  ]
  const lines = [...layOut(rows, widthOf(context)), ...fit(context, more)]
  const next = control ? 'lint' : 'journal'
  return `${[...lines, `next: ${commandLine(context, next)}`].join('\n')}\n`
}
