/** A request's body on its way to the upstream: as it comes, with back-pressure and trailers. */
import type { ClientRequest, IncomingMessage } from 'node:http'
import type { Framing } from '../framing.ts'
import { trailerPairs } from '../headers.ts'

export interface Upload {
  /** Sends what was read ahead, then the rest as it comes; at once for a request without a body. */
  start(): void
  /** Reads and sends no further. */
  stop(): void
}

export function createUpload(deps: {
  readonly req: IncomingMessage
  readonly framing: Framing
  readonly ahead: readonly Buffer[]
  readonly request: ClientRequest
}): Upload {
  const { req, framing, ahead, request } = deps
  const onData = (chunk: Buffer): void => {
    if (!request.write(chunk)) req.pause()
  }
  const onDrain = (): void => {
    req.resume()
  }
  const finish = (): void => {
    if (framing.transferEncoding !== undefined && req.rawTrailers.length > 0) {
      request.addTrailers(trailerPairs(req.rawTrailers))
    }
    request.end()
  }
  return {
    start() {
      if (!framing.bodied) {
        request.end()
        return
      }
      for (const chunk of ahead) request.write(chunk)
      if (req.readableEnded) {
        finish()
        return
      }
      req.on('data', onData)
      req.once('end', finish)
      request.on('drain', onDrain)
      req.resume()
      // The head goes out even if the body takes its time; with the body's first bytes if they are here. Not by
      // flushHeaders(): it writes bytes above 0x7f as UTF-8.
      process.nextTick(() => {
        if (!request.destroyed && !request.writableEnded) request.write('', 'latin1')
      })
    },
    stop() {
      req.removeListener('data', onData)
      req.removeListener('end', finish)
      request.removeListener('drain', onDrain)
    },
  }
}
