/** Foreign keys of legacy that don't hold what is there, as the commands about one slice tell them. */
import { setupSession } from '../control/databases.ts'
import { isBroken, type Orphans, orphansError, readOrphans } from '../control/orphans.ts'
import type { Crossing } from '../model/crossings.ts'
import { BanyanError } from '../model/errors.ts'
import type { Slice } from '../model/project.ts'
import { explain } from '../postgres/explain.ts'
import type { Context } from './context.ts'
import type { Opened } from './control-store.ts'
import { problem } from './doctor-checks.ts'
import { paintOf } from './paint.ts'
import { printable, wrap } from './table.ts'

/** Those of which a person must hear; none where legacy is away: other lines say that. */
export async function brokenKeys(
  { wiring }: Pick<Opened, 'wiring'>,
  slice: Slice,
  options: { readonly dropped?: boolean } = {},
): Promise<Orphans[]> {
  if (Object.keys(slice.tables).length === 0) return []
  try {
    await using setup = await setupSession(wiring.legacy.setup)
    return (await readOrphans(setup.client, slice, options)).filter(isBroken)
  } catch (error) {
    if (explain(error, wiring.legacy.setup) instanceof BanyanError) return []
    throw error
  }
}

/** `! legacy: bills.visit_id: 3 rows have no parent …`, and below it, if asked, what to do. */
export function orphanLines(
  context: Pick<Context, 'color' | 'columns'>,
  found: readonly Orphans[],
  { slice, hint }: { readonly slice: string; readonly hint: boolean },
): string[] {
  const { colors, width } = paintOf(context)
  return printable(found.map(each => problem(orphansError(each, slice)))).flatMap(error => [
    ...wrap(`${colors.yellow('!')} ${error.message}`, width, '  '),
    ...(hint ? wrap(`  ${error.hint}`, width, '  ').map(colors.cyan) : []),
  ])
}

export interface OrphanedKey {
  readonly key: string
  readonly name: string
  readonly state: Orphans['state']
  readonly rows: number | null
}

/** As `--json` has it. */
export function orphanedKeys(found: readonly Orphans[]): OrphanedKey[] {
  return found.map(({ key, fact, state, rows }) => ({ key, name: fact.name, state, rows }))
}

/** What `check` means once the service owns the parent: its deletes come by the stream, which asks no key. */
export function unenforcedText({ key, fact }: Crossing, service: string): string {
  return (
    `${key}: legacy no longer refuses the delete of a row of ${fact.parentTable} that ${fact.table} still names, ` +
    `since ${service} makes it; \`banyan verify\` counts such orphans`
  )
}
