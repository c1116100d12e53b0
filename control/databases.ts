/** A slice's two databases as the controller talks to them: the apply role's sessions, kept while they live. */
import type pg from 'pg'
import type { Slice } from '../model/project.ts'
import { roleOf, type Wiring } from '../model/wiring.ts'
import { connect, cut } from '../postgres/connection.ts'

export interface SliceSessions {
  readonly legacy: pg.Client
  readonly service: pg.Client
}

/** Who hasn't answered by then is away. Milliseconds. */
const ANSWER_MS = 3_000

/** No statement of a flip takes so long; a database that is gone must not keep the controller waiting for ever. */
const STATEMENT_MS = 60_000

/** Opens sessions as they are asked for and keeps them; a lost one is opened again the next time. */
export class Databases implements AsyncDisposable {
  readonly #wiring: () => Wiring
  readonly #open = new Map<string, Promise<pg.Client>>()

  constructor(wiring: () => Wiring) {
    this.#wiring = wiring
  }

  /** One session of the apply role in legacy, for this slice alone. Throws what `connect` throws. */
  legacy(slice: string): Promise<pg.Client> {
    return this.#session(`${slice} legacy`, this.#wiring().legacy.apply)
  }

  service(slice: Pick<Slice, 'name' | 'service'>): Promise<pg.Client> {
    const urls = this.#wiring().services[slice.service]
    return this.#session(`${slice.name} ${slice.service}`, urls!.apply)
  }

  async both(slice: Slice): Promise<SliceSessions> {
    const [legacy, service] = await Promise.all([this.legacy(slice.name), this.service(slice)])
    return { legacy, service }
  }

  applyRoles(slice: Slice): { legacy: string; service: string } {
    const wiring = this.#wiring()
    return {
      legacy: roleOf(wiring.legacy.apply),
      service: roleOf(wiring.services[slice.service]!.apply),
    }
  }

  async #session(key: string, url: string): Promise<pg.Client> {
    const known = this.#open.get(key)
    if (known) {
      const client = await known
      if (await answers(client)) return client
      // A machine that is gone says nothing, not even that: whoever asks again must not wait for it again.
      cut(client)
      if (this.#open.get(key) === known) this.#open.delete(key)
      return this.#session(key, url)
    }
    const opened = connect({
      url,
      applicationName: 'banyan control',
      connectTimeoutMs: ANSWER_MS,
      answerMs: STATEMENT_MS,
      onLost: () => this.#open.delete(key),
    }).then(async client => {
      // Evidence is pushed by the databases (sync/apply).
      await client.query('LISTEN banyan')
      return client
    })
    this.#open.set(key, opened)
    opened.catch(() => this.#open.delete(key))
    return opened
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const clients = await Promise.allSettled([...this.#open.values()])
    for (const each of clients) {
      if (each.status === 'fulfilled') await each.value.end().catch(() => undefined)
    }
  }
}

async function answers(client: pg.Client): Promise<boolean> {
  const asked = client.query('SELECT 1').then(
    () => true,
    () => false,
  )
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<boolean>(resolve => {
    timer = setTimeout(() => resolve(false), ANSWER_MS)
  })
  return Promise.race([asked, late]).finally(() => clearTimeout(timer))
}

/** A session that may change what a database is made of, closed with its scope. `lockMs`: its longest wait for a lock. */
export async function setupSession(url: string, lockMs = 0) {
  const client = await connect({ url, applicationName: 'banyan setup', timeouts: { lockMs } })
  return { client, [Symbol.asyncDispose]: () => client.end().catch(() => undefined) }
}
