/** Whether a server that still holds our connection lets nobody in any more: it is stopping, and waits for us. */
import { BanyanError } from '../model/errors.ts'
import { POSTGRES_ERRORS } from '../model/errors-postgres.ts'
import { connect } from './connection.ts'

/** Tries a connection. False whenever the answer isn't a plain yes. Never throws. */
export async function isStopping(url: string, signal: AbortSignal): Promise<boolean> {
  try {
    const client = await connect({ url, applicationName: 'banyan look', signal })
    await client.end()
    return false
  } catch (error) {
    return error instanceof BanyanError && error.rule === POSTGRES_ERRORS.DATABASE_STARTING
  }
}
