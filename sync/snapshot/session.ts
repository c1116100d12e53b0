/** A connection of a copy: it goes when the copy is aborted, and says goodbye only where nothing went wrong. */
import type pg from 'pg'
import { connect, cut } from '../../postgres/connection.ts'

export interface CopySession extends AsyncDisposable {
  readonly client: pg.Client
  /** After success. Without it disposal drops the connection, and the server rolls back what was open. */
  finish(): Promise<void>
}

export async function openCopySession(wanted: {
  readonly url: string
  readonly slot: string
  readonly signal: AbortSignal
  readonly onLost?: (error: Error) => void
}): Promise<CopySession> {
  const { url, slot, signal } = wanted
  let dropped = false
  const client = await connect({
    url,
    applicationName: `banyan ${slot} copy`,
    signal,
    onLost: error => {
      if (!dropped) wanted.onLost?.(error)
    },
  })
  const drop = () => {
    dropped = true
    cut(client)
  }
  signal.addEventListener('abort', drop, { once: true })
  return {
    client,
    finish: () => client.end(),
    async [Symbol.asyncDispose]() {
      signal.removeEventListener('abort', drop)
      drop()
    },
  }
}
