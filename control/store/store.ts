/** The control database: one pool, and one channel by which everybody hears that something changed. */
import pg from 'pg'

/** What was changed, in a NOTIFY on the channel `banyan`: whoever listens reads the rows themselves. */
export type Topic = 'orders' | 'router' | 'flip' | 'step' | 'stream' | 'slice' | 'verification'

export interface Store {
  readonly pool: pg.Pool
  readonly url: string
}

/** Runs `work` in one transaction and tells the topics when it commits. */
export async function transact<T>(
  store: Store,
  topics: readonly Topic[],
  work: (client: pg.PoolClient) => Promise<T>,
): Promise<T> {
  const client = await store.pool.connect()
  try {
    await client.query('BEGIN')
    const result = await work(client)
    for (const topic of topics) await client.query(`SELECT pg_notify('banyan', $1)`, [topic])
    await client.query('COMMIT')
    return result
  } catch (error) {
    await client.query('ROLLBACK').catch(() => undefined)
    throw error
  } finally {
    client.release()
  }
}

const RETRY_MS = 250

/** Hears topics until disposed. A lost connection is opened again, and then every topic counts as changed. */
export class Ear implements AsyncDisposable {
  readonly #url: string
  readonly #listeners = new Set<(topic: Topic | 'all') => void>()
  #client: pg.Client | undefined
  #closed = false
  #retry: NodeJS.Timeout | undefined

  constructor(url: string) {
    this.#url = url
    void this.#open()
  }

  on(listener: (topic: Topic | 'all') => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Resolves at the next change of one of the topics, or after `timeoutMs`, or when the signal aborts. */
  heard(topics: readonly Topic[], timeoutMs: number, signal: AbortSignal): Promise<void> {
    return new Promise(resolve => {
      const off = this.on(topic => {
        if (topic === 'all' || topics.includes(topic)) done()
      })
      const timer = setTimeout(done, timeoutMs)
      signal.addEventListener('abort', done, { once: true })
      if (signal.aborted) done()
      function done() {
        off()
        clearTimeout(timer)
        signal.removeEventListener('abort', done)
        resolve()
      }
    })
  }

  async #open(): Promise<void> {
    if (this.#closed) return
    const client = new pg.Client({
      connectionString: this.#url,
      application_name: 'banyan ear',
      keepAlive: true,
    })
    this.#client = client
    client.on('error', () => undefined)
    client.on('end', () => this.#again())
    client.on('notification', message => this.#tell(message.payload as Topic))
    try {
      await client.connect()
      await client.query('LISTEN banyan')
      this.#tell('all')
    } catch {
      await client.end().catch(() => undefined)
      this.#again() // a connection that never was may not say that it ended
    }
  }

  /** Once, however many events say that the connection is gone. */
  #again(): void {
    if (this.#closed || this.#retry !== undefined) return
    this.#retry = setTimeout(() => {
      this.#retry = undefined
      void this.#open()
    }, RETRY_MS)
  }

  #tell(topic: Topic | 'all'): void {
    for (const listener of [...this.#listeners]) listener(topic)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    clearTimeout(this.#retry)
    await this.#client?.end().catch(() => undefined)
  }
}
