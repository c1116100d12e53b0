/** Messages to patients: queued in the booking's own transaction, sent afterwards to whoever delivers them. */
import type { Database, Queries, Row } from './database.ts'

export interface Message {
  /** The receiver stores a key once, so sending again is harmless. */
  readonly dedupe: string
  readonly patientId: number
  readonly body: string
}

export interface OutboxOptions {
  readonly database: Database
  /** Messages go to `POST <deliveryUrl>/internal/messages`. */
  readonly deliveryUrl: string
  readonly internalKey?: string | undefined
  readonly warn: (details: object, message: string) => void
}

export interface Outbox {
  /**
   * Sends until the signal, then ends what it has begun. Several may run, in several processes: each message has one
   * sender at a time.
   */
  run(signal: AbortSignal): Promise<void>
  /** There is something to send: look now. */
  wake(): void
}

const BATCH = 20
const LOOK_INTERVAL_MS = 1_000
const SEND_TIMEOUT_MS = 3_000
/** A claim outlives the time-out, so that nobody takes over a message that is still being sent. */
const CLAIM_SECONDS = 10
const RETRY_SECONDS_MAX = 60
/** The receiver has understood and says no: asking again changes nothing. */
const REFUSALS: ReadonlySet<number> = new Set([400, 409, 413, 422])

export async function queueMessage(tx: Queries, message: Message): Promise<void> {
  await tx.rows('insert into outbox (dedupe, patient_id, body) values ($1, $2, $3)', [
    message.dedupe,
    message.patientId,
    message.body,
  ])
}

export function createOutbox(options: OutboxOptions): Outbox {
  let isAwake = false
  let endRest = () => {}
  const wake = () => {
    isAwake = true
    endRest()
  }
  const rest = () =>
    new Promise<void>(resolve => {
      const timer = setTimeout(resolve, LOOK_INTERVAL_MS)
      endRest = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  return {
    wake,
    async run(signal) {
      signal.addEventListener('abort', wake, { once: true })
      while (!signal.aborted) {
        isAwake = false
        const sent = await sendBatch(options).catch((error: Error) => {
          options.warn({ reason: error.message }, 'outbox is stuck')
          return 0
        })
        if (sent === 0 && !isAwake) await rest()
      }
    },
  }
}

/** Returns how many messages left the outbox. */
async function sendBatch(options: OutboxOptions): Promise<number> {
  const claimed = await claim(options.database)
  const results = await Promise.all(claimed.map(message => sendOne(options, message)))
  return results.filter(left => left).length
}

/** Takes what is due and puts its next turn past our own time-out; no transaction stays open while sending. */
function claim(database: Database): Promise<Row[]> {
  return database.rows(
    `update outbox set attempts = attempts + 1, due_at = now() + $1 * interval '1 second'
     where id in (
       select id from outbox where refused is null and due_at <= now()
       order by id limit $2 for update skip locked
     )
     returning id, dedupe, patient_id, body, attempts`,
    [CLAIM_SECONDS, BATCH],
  )
}

async function sendOne(options: OutboxOptions, message: Row): Promise<boolean> {
  const { database, warn } = options
  const outcome = await post(options, message)
  if (outcome === 'delivered') {
    await database.rows('delete from outbox where id = $1', [message.id])
    return true
  }
  if (typeof outcome === 'number' && REFUSALS.has(outcome)) {
    await database.rows('update outbox set refused = $2 where id = $1', [
      message.id,
      String(outcome),
    ])
    warn({ dedupe: message.dedupe, outcome }, 'message refused')
    return true
  }
  const waitSeconds = Math.min(2 ** Number(message.attempts), RETRY_SECONDS_MAX)
  await database.rows(`update outbox set due_at = now() + $2 * interval '1 second' where id = $1`, [
    message.id,
    waitSeconds,
  ])
  warn(
    { dedupe: message.dedupe, outcome: String(outcome), waitSeconds },
    'message not delivered yet',
  )
  return false
}

/** A status, or why there was none. */
type Failure = number | Error

async function post(
  { deliveryUrl, internalKey }: OutboxOptions,
  message: Row,
): Promise<'delivered' | Failure> {
  const { dedupe, patient_id, body } = message
  try {
    const response = await fetch(new URL('/internal/messages', deliveryUrl), {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...(internalKey === undefined ? {} : { 'x-internal-key': internalKey }),
      },
      body: JSON.stringify({ dedupe, patient_id, body }),
      signal: AbortSignal.timeout(SEND_TIMEOUT_MS),
    })
    await response.arrayBuffer()
    return response.ok ? 'delivered' : response.status
  } catch (error) {
    return error as Error
  }
}
