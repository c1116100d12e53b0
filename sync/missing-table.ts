/** A table that isn't there: what to do about it depends on whose database it is. */
import { BanyanError } from '../model/errors.ts'
import { PREFLIGHT_ERRORS } from '../model/errors-preflight.ts'
import { suggest } from '../model/suggest.ts'
import { unqualified } from '../model/wiring.ts'

/** TABLE_MISSING. `place`: `legacy`, or a service. `known`: the tables that are there. */
export function missingTable(
  place: string,
  table: string,
  known: readonly string[] = [],
): BanyanError {
  const meant = suggest(unqualified(table), known.map(unqualified))
  const correct = `correct its name in the files${meant === undefined ? '' : ` (did you mean "${meant}"?)`}`
  const what =
    place === 'legacy' ? correct : `make it there with the service's own migrations, or ${correct}`
  return new BanyanError(PREFLIGHT_ERRORS.TABLE_MISSING, [place, table, what])
}
