/** What a worker that stands still has left open: a slot that it reads, rows and tables that its transactions hold. */
import { formatStream, slotOf, type StreamName } from '../model/stream.ts'
import type { DatabaseUrls } from '../model/wiring.ts'
import { connect } from '../postgres/connection.ts'
import { verificationSlot } from './verify/slice.ts'

/** Longest name that a session can have. */
const NAME_BYTES = 63

/**
 * Ends every session of the stream in both databases. Only for whoever has the claim, before it opens its own, and only
 * where its last holder was ended because it stood still: two installations on one database by mistake must not fight.
 */
export async function endPredecessor(
  stream: StreamName,
  sides: { readonly source: DatabaseUrls; readonly target: DatabaseUrls },
  signal: AbortSignal,
): Promise<void> {
  const slot = slotOf(stream)
  const slots = [slot, verificationSlot(slot)].map(each => `banyan ${each}`)
  const names = [`banyan ${formatStream(stream)}`, ...slots, `banyan ${slot} copy`]
  // Each role may end its own.
  const urls = new Set([
    ...[sides.source.capture, sides.source.apply],
    ...[sides.target.apply, sides.target.setup],
  ])
  for (const url of urls) {
    const client = await connect({ url, applicationName: 'banyan look', signal })
    try {
      await client.query(
        `SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
         WHERE usename = session_user AND application_name = ANY ($1)`,
        [names.map(name => name.slice(0, NAME_BYTES))],
      )
    } finally {
      await client.end()
    }
  }
}
