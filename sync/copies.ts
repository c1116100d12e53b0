/** Read copies of a service: what they need in both databases, and whether their stream carries all of them. */
import type pg from 'pg'
import { BanyanError, must } from '../model/errors.ts'
import { SYNC_ERRORS } from '../model/errors-sync.ts'
import { COPIES, publicationOf, type StreamName } from '../model/stream.ts'
import { qualified, roleOf, type Wiring } from '../model/wiring.ts'
import { connect } from '../postgres/connection.ts'
import { gateCopies, publish } from '../postgres/gate-install.ts'

/** Who waits behind us for a table waits no longer than this. */
const LOCK_TIMEOUT_MS = 2_000

/** Safe to repeat: a service may get its first copies while its slices are in motion. */
export async function installCopies(wiring: Wiring, service: string): Promise<void> {
  const urls = must(wiring.services[service], service)
  const copies = must(wiring.project.banyan.services[service], service).copies.map(qualified)
  const stream = { from: 'legacy', to: service, what: COPIES }
  await asSetup(wiring.legacy.setup, setup => publish(setup, publicationOf(stream), copies))
  await asSetup(urls.setup, setup => gateCopies(setup, copies, roleOf(urls.apply)))
}

async function asSetup(url: string, work: (setup: pg.Client) => Promise<void>): Promise<void> {
  const applicationName = 'banyan setup'
  const setup = await connect({ url, applicationName, timeouts: { lockMs: LOCK_TIMEOUT_MS } })
  await work(setup).finally(() => setup.end())
}

/**
 * A table that came into the files after the copy was made would be there without its rows. `legacy`: any role. Throws
 * COPY_ADDED.
 */
export async function mustBePublished(
  stream: StreamName,
  tables: readonly string[],
  legacy: pg.ClientBase,
): Promise<void> {
  const { rows } = await legacy.query<{ name: string }>(
    `SELECT schemaname || '.' || tablename AS name FROM pg_catalog.pg_publication_tables WHERE pubname = $1`,
    [publicationOf(stream)],
  )
  const members = rows.map(row => row.name)
  const added = tables.filter(table => !members.includes(table))
  if (members.length === 0 || added.length === 0) return
  throw new BanyanError(SYNC_ERRORS.COPY_ADDED, [added.join(', '), stream.to])
}
