/** A TCP proxy in front of one PostgreSQL cluster that can misbehave: reset, black hole, a lost acknowledgement. */
import { connect, createServer, type Server, type Socket } from 'node:net'
import type { AddressInfo } from 'node:net'

export interface Link extends AsyncDisposable {
  readonly port: number
  /** Every connection ends with a reset. */
  reset(): void
  /** Nothing passes in either direction, and nobody is told, until `restore`. */
  blackHole(): void
  restore(): void
  /** The next answer to a COMMIT, or to a statement that commits by itself, is lost with its connection. */
  loseNextAck(): void
  /** True once that has happened. */
  readonly lost: boolean
}

/** Statements whose effect is committed when they are answered, sent by themselves. */
const AUTOCOMMITTED = /banyan\.(fence|prepare|decide|set_gate)\(|pg_notify\('banyan'/

export async function openLink(target: { host: string; port: number }): Promise<Link> {
  const pairs = new Set<Pair>()
  let silent = false
  let losing = false
  let lost = false
  const server: Server = createServer(client => {
    const pair = new Pair(client, connect(target), {
      loses(tag, commits) {
        const ack = tag === 'COMMIT' || (commits && /^(SELECT|INSERT|UPDATE) /.test(tag))
        if (!losing || !ack) return false
        losing = false
        lost = true
        return true
      },
    })
    pairs.add(pair)
    pair.closed = () => pairs.delete(pair)
    if (silent) pair.pause()
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    reset() {
      for (const pair of pairs) pair.reset()
    },
    blackHole() {
      silent = true
      for (const pair of pairs) pair.pause()
    },
    restore() {
      silent = false
      losing = false
      for (const pair of pairs) pair.resume()
    },
    loseNextAck() {
      losing = true
      lost = false
    },
    get lost() {
      return lost
    },
    async [Symbol.asyncDispose]() {
      for (const pair of pairs) pair.reset()
      await new Promise(resolve => server.close(resolve))
    },
  }
}

interface Watch {
  /** Asked for each CommandComplete; true: it never arrives, and its connection ends. */
  loses(tag: string, commits: boolean): boolean
}

class Pair {
  readonly #client: Socket
  readonly #server: Socket
  readonly #watch: Watch
  #rest: Buffer = Buffer.alloc(0)
  /** The last statement that the client sent commits by itself. */
  #commits = false
  closed: () => void = () => undefined

  constructor(client: Socket, server: Socket, watch: Watch) {
    this.#client = client
    this.#server = server
    this.#watch = watch
    client.setNoDelay(true)
    server.setNoDelay(true)
    client.on('data', (chunk: Buffer) => {
      if (AUTOCOMMITTED.test(chunk.toString('latin1'))) this.#commits = true
      server.write(chunk)
    })
    server.on('data', (chunk: Buffer) => this.#answer(chunk))
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      from.on('end', () => to.end())
      from.on('error', () => undefined)
      from.on('close', () => {
        to.destroy()
        this.closed()
      })
    }
  }

  pause(): void {
    this.#client.pause()
    this.#server.pause()
  }

  resume(): void {
    this.#client.resume()
    this.#server.resume()
  }

  reset(): void {
    this.#client.resetAndDestroy()
    this.#server.resetAndDestroy()
  }

  /** Passes the server's messages on, whole: type, length, body. */
  #answer(chunk: Buffer): void {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    let at = 0
    while (this.#rest.length - at >= 5) {
      const end = at + 1 + this.#rest.readUInt32BE(at + 1)
      if (end > this.#rest.length) break
      if (this.#rest[at] === 0x43 /* C, CommandComplete */) {
        const tag = this.#rest.toString('latin1', at + 5, end - 1)
        if (this.#watch.loses(tag, this.#commits)) return this.reset()
        this.#commits = false
      }
      at = end
    }
    if (at > 0) this.#client.write(this.#rest.subarray(0, at))
    this.#rest = this.#rest.subarray(at)
  }
}
