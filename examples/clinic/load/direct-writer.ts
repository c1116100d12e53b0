/**
 * A writer that goes round the façade, straight into the monolith's database: what a forgotten
 * script does.
 */
import pg from 'pg'
import type { JournalFile } from './journal-file.ts'
import type { Tally } from './tally.ts'

const STATUSES = ['confirmed', 'arrived', 'no_show'] as const

export interface DirectWriter {
  /** Stops, after the write under way has ended. */
  pause(): Promise<void>
  resume(): void
  close(): Promise<void>
}

/**
 * Writes the status of one of `appointments` once a second. A refusal is counted, a lost connection
 * is "unknown".
 */
export function createDirectWriter(options: {
  url: string
  appointments: readonly number[]
  journal: JournalFile
  tally: Tally
  nextNumber: () => number
  onError: (error: unknown) => void
}): DirectWriter {
  const pool = new pg.Pool({
    connectionString: options.url,
    application_name: 'direct-writer',
    max: 1,
  })
  // A connection that dies while idle is replaced at the next write.
  pool.on('error', () => {})
  let timer: NodeJS.Timeout | undefined
  let turn = 0
  let under: Promise<void> = Promise.resolve()

  const write = async (): Promise<void> => {
    const { journal, tally } = options
    const appointment = options.appointments[turn % options.appointments.length]
    const status = STATUSES[turn++ % STATUSES.length]
    if (appointment === undefined || status === undefined) return
    const n = options.nextNumber()
    await journal.commit({
      t: 'intent',
      n,
      at: Date.now(),
      intent: { kind: 'direct', appointment, status },
    })
    const told = await pool
      .query('UPDATE appointments SET status = $1 WHERE id = $2', [status, appointment])
      .then(
        result => (result.rowCount === 1 ? ('ok' as const) : ('no' as const)),
        (error: unknown) => {
          const { code } = error as { code?: string }
          // Five characters are a SQLSTATE: the database answered. Anything else is a connection
          // that broke.
          const refused = code !== undefined && /^[0-9A-Z]{5}$/.test(code) && !code.startsWith('57')
          if (refused) tally.directRefused(code)
          return refused ? ('no' as const) : ('unknown' as const)
        },
      )
    tally.told(told)
    journal.note({ t: 'outcome', n, at: Date.now(), told })
  }
  return {
    async pause() {
      clearInterval(timer)
      timer = undefined
      await under
    },
    resume() {
      timer ??= setInterval(() => {
        under = under.then(write).catch(options.onError)
      }, 1_000)
    },
    close: () => pool.end(),
  }
}
