/** Turns the census of a slice on and off: whether its gate in legacy says who writes. */
import type pg from 'pg'

/** `legacy`: the apply role's session. Safe to repeat; a slice without a gate says nothing anyway. */
export async function switchCensus(
  legacy: pg.ClientBase,
  slice: string,
  on: boolean,
): Promise<void> {
  await legacy.query(
    `SELECT pg_catalog.setval(pg_catalog.format('banyan.census_%s', number)::pg_catalog.regclass, $2)
     FROM banyan.slice WHERE name = $1`,
    [slice, on ? 1 : 0],
  )
}
