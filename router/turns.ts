/**
 * One request at a time per connection. Node hands over pipelined requests as fast as it reads them; the origin must see
 * them in the client's order, and what stands behind a parked request waits with it.
 */
import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

interface Line {
  current: ServerResponse | undefined
  readonly waiting: (() => void)[]
}

export interface Turns {
  /** Undefined: it is this request's turn now. Otherwise resolves when it is. The turn ends when the response closes. */
  take(socket: Socket, res: ServerResponse): Promise<void> | undefined
  /** The response of the request whose turn it is. */
  current(socket: Socket): ServerResponse | undefined
}

/** `most`: requests that may wait before the connection isn't read any more. */
export function createTurns(most: number): Turns {
  const lines = new WeakMap<Socket, Line>()

  const begin = (socket: Socket, line: Line, res: ServerResponse): void => {
    line.current = res
    res.once('close', () => {
      line.current = undefined
      const next = line.waiting.shift()
      if (line.waiting.length === most - 1) socket.resume()
      next?.()
    })
  }

  return {
    take(socket, res) {
      const line = lines.get(socket) ?? { current: undefined, waiting: [] }
      lines.set(socket, line)
      if (!line.current && line.waiting.length === 0) {
        begin(socket, line, res)
        return undefined
      }
      if (line.waiting.length === most) socket.pause()
      return new Promise(resolve => {
        line.waiting.push(() => {
          begin(socket, line, res)
          resolve()
        })
      })
    },
    current: socket => lines.get(socket)?.current,
  }
}
