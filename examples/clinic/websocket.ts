/** As much of RFC 6455 as the live board needs: the server's handshake, and frames in both directions. */
import { createHash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'

export interface Frame {
  readonly final: boolean
  readonly opcode: number
  readonly payload: Buffer
}

export const OPCODES = {
  continuation: 0x0,
  text: 0x1,
  binary: 0x2,
  close: 0x8,
  ping: 0x9,
  pong: 0xa,
} as const
const KNOWN: ReadonlySet<number> = new Set(Object.values(OPCODES))
/** Close codes of RFC 6455 §7.4.1. */
export const CLOSE = { goingAway: 1001, protocolError: 1002, tooBig: 1009 } as const

const ACCEPT_SUFFIX = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
const MAX_PAYLOAD_BYTES = 65_536

/** Answers 101 and returns true, or refuses with 400 and closes. */
export function acceptUpgrade(request: IncomingMessage, socket: Duplex): boolean {
  const key = request.headers['sec-websocket-key']
  const asked =
    request.headers.upgrade?.toLowerCase() === 'websocket' &&
    request.headers['sec-websocket-version'] === '13'
  if (!asked || key === undefined) {
    refuseUpgrade(socket, '400 Bad Request')
    return false
  }
  const accept = createHash('sha1')
    .update(key + ACCEPT_SUFFIX)
    .digest('base64')
  socket.write(
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
      `Sec-WebSocket-Accept: ${accept}\r\n\r\n`,
  )
  return true
}

export function refuseUpgrade(socket: Duplex, status: string): void {
  const head = `HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`
  socket.end(head, () => socket.destroy())
}

/** A frame as a server sends it: never masked. */
export function encodeFrame({ final, opcode, payload }: Frame): Buffer {
  const first = (final ? 0x80 : 0) | opcode
  if (payload.length < 126) return Buffer.concat([Buffer.from([first, payload.length]), payload])
  if (payload.length <= 0xffff) {
    const head = Buffer.from([first, 126, 0, 0])
    head.writeUInt16BE(payload.length, 2)
    return Buffer.concat([head, payload])
  }
  const head = Buffer.alloc(10)
  head.writeUInt8(first, 0)
  head.writeUInt8(127, 1)
  head.writeBigUInt64BE(BigInt(payload.length), 2)
  return Buffer.concat([head, payload])
}

export const textFrame = (text: string): Buffer =>
  encodeFrame({ final: true, opcode: OPCODES.text, payload: Buffer.from(text) })

export function closeFrame(code: number): Buffer {
  const payload = Buffer.alloc(2)
  payload.writeUInt16BE(code)
  return encodeFrame({ final: true, opcode: OPCODES.close, payload })
}

/** What a client must not send; `closeCode` is what to tell it. */
export class FrameError extends Error {
  readonly closeCode: number

  constructor(closeCode: number) {
    super(`a frame that closes the connection with ${closeCode}`)
    this.name = 'FrameError'
    this.closeCode = closeCode
  }
}

/** Takes bytes as they come, gives the client's frames, unmasked, fragments joined. Throws FrameError. */
export function frameReader(): (bytes: Buffer) => Frame[] {
  const join = fragmentJoiner()
  let rest: Buffer = Buffer.alloc(0)
  return bytes => {
    rest = rest.length === 0 ? bytes : Buffer.concat([rest, bytes])
    const frames: Frame[] = []
    for (let head = readHead(rest); head && rest.length >= head.end; head = readHead(rest)) {
      const payload = unmask(rest.subarray(head.start, head.end), head.mask)
      const whole = join({ final: head.final, opcode: head.opcode, payload })
      if (whole) frames.push(whole)
      rest = rest.subarray(head.end)
    }
    return frames
  }
}

/** Only control frames may stand between the fragments of a message (RFC 6455 §5.4). */
function fragmentJoiner(): (frame: Frame) => Frame | undefined {
  let begun: Frame | undefined
  return frame => {
    if ((frame.opcode & 0x08) !== 0) return frame
    if ((frame.opcode === OPCODES.continuation) !== (begun !== undefined)) {
      throw new FrameError(CLOSE.protocolError)
    }
    const whole = begun
      ? { ...begun, payload: Buffer.concat([begun.payload, frame.payload]) }
      : frame
    if (whole.payload.length > MAX_PAYLOAD_BYTES) throw new FrameError(CLOSE.tooBig)
    begun = frame.final ? undefined : whole
    return frame.final ? { ...whole, final: true } : undefined
  }
}

interface Head {
  readonly final: boolean
  readonly opcode: number
  readonly mask: Buffer
  readonly start: number
  readonly end: number
}

const LENGTH_BYTES: Readonly<Record<number, number>> = { 126: 2, 127: 8 }

/** Undefined while the head itself isn't whole. */
function readHead(bytes: Buffer): Head | undefined {
  if (bytes.length < 2) return undefined
  const [first, second] = [bytes.readUInt8(0), bytes.readUInt8(1)]
  // No extension was agreed, so the reserved bits are zero; a client's frames are always masked (§5.1, §5.2).
  if ((first & 0x70) !== 0 || (second & 0x80) === 0) throw new FrameError(CLOSE.protocolError)
  const short = second & 0x7f
  const extra = LENGTH_BYTES[short] ?? 0
  if (bytes.length < 2 + extra + 4) return undefined
  const length = extra === 0 ? short : Number(`0x${bytes.toString('hex', 2, 2 + extra)}`)
  if (!KNOWN.has(first & 0x0f)) throw new FrameError(CLOSE.protocolError)
  const isControl = (first & 0x08) !== 0
  if (isControl && (length > 125 || (first & 0x80) === 0)) throw new FrameError(CLOSE.protocolError)
  if (length > MAX_PAYLOAD_BYTES) throw new FrameError(CLOSE.tooBig)
  const start = 2 + extra + 4
  return {
    final: (first & 0x80) !== 0,
    opcode: first & 0x0f,
    mask: bytes.subarray(start - 4, start),
    start,
    end: start + length,
  }
}

function unmask(payload: Buffer, mask: Buffer): Buffer {
  return Buffer.from(payload.map((byte, index) => byte ^ (mask[index % 4] ?? 0)))
}
