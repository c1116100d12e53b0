/** What a client still sends when nobody wants its body any more. */
import type { IncomingMessage } from 'node:http'
import type { Clock } from '../clock.ts'
import type { RouterLimits } from '../limits.ts'

/**
 * Reads and forgets the rest of a body, so that a response that was sent early isn't lost in a reset and the connection
 * stays usable; but only so much of it and for so long, then closes the connection.
 */
export function linger(
  req: IncomingMessage,
  deps: { readonly limits: RouterLimits; readonly clock: Clock },
): void {
  if (req.readableEnded || req.destroyed) return
  const { socket } = req
  let left = deps.limits.lingerBytes
  const stop = deps.clock.timer(deps.limits.lingerMs, () => socket.destroy())
  req.on('data', (chunk: Buffer) => {
    left -= chunk.length
    if (left < 0) socket.destroy()
  })
  req.once('end', stop)
  req.once('close', stop)
  req.resume()
}
