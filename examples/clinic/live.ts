/** The live board: everybody who has it open sees the day's counts each second, and hears back what they say. */
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Database } from './database.ts'
import {
  CLOSE,
  FrameError,
  OPCODES,
  acceptUpgrade,
  closeFrame,
  encodeFrame,
  frameReader,
  refuseUpgrade,
  textFrame,
} from './websocket.ts'
import type { Frame } from './websocket.ts'

const PUSH_INTERVAL_MS = 1_000
const MAX_WATCHERS = 1_000

export interface LiveBoard {
  /** Takes over the socket of an upgrade request; `early` are bytes that came with its head. */
  join(request: IncomingMessage, socket: Duplex, early: Buffer): void
  close(): void
}

export function openLiveBoard(database: Database): LiveBoard {
  const watchers = new Set<Duplex>()
  let timer: NodeJS.Timeout | undefined
  let counting = false

  // One query for all watchers, none while nobody watches, and never two at once.
  const push = async () => {
    if (counting) return
    counting = true
    try {
      const frame = textFrame(await count(database, watchers.size))
      for (const watcher of watchers) if (!watcher.writableNeedDrain) watcher.write(frame)
    } catch (error) {
      console.error(JSON.stringify({ warning: (error as Error).message }))
    } finally {
      counting = false
    }
  }
  const stop = () => {
    clearInterval(timer)
    timer = undefined
  }
  const leave = (socket: Duplex) => {
    socket.destroy()
    watchers.delete(socket)
    if (watchers.size === 0) stop()
  }

  return {
    join(request, socket, early) {
      if (watchers.size >= MAX_WATCHERS) return refuseUpgrade(socket, '503 Service Unavailable')
      if (!acceptUpgrade(request, socket)) return
      watchers.add(socket)
      listen(socket, early, () => leave(socket))
      void push()
      timer ??= setInterval(() => void push(), PUSH_INTERVAL_MS)
    },
    close() {
      stop()
      for (const watcher of watchers) hangUp(watcher, closeFrame(CLOSE.goingAway))
    },
  }
}

function listen(socket: Duplex, early: Buffer, leave: () => void): void {
  const read = frameReader()
  const receive = (bytes: Buffer) => {
    try {
      for (const frame of read(bytes)) answer(socket, frame)
    } catch (error) {
      if (!(error instanceof FrameError)) throw error
      hangUp(socket, closeFrame(error.closeCode))
    }
  }
  socket.on('data', receive)
  socket.on('close', leave)
  socket.on('error', leave)
  socket.on('end', leave)
  if (early.length > 0) receive(early)
}

/** Text and bytes go back as they came. */
function answer(socket: Duplex, frame: Frame): void {
  if (frame.opcode === OPCODES.pong || socket.writableEnded) return
  if (frame.opcode === OPCODES.close) {
    hangUp(socket, encodeFrame(frame))
    return
  }
  const opcode = frame.opcode === OPCODES.ping ? OPCODES.pong : frame.opcode
  socket.write(encodeFrame({ ...frame, opcode }))
}

/** The last frame, and the end: a client that never closes its side must not keep the process alive. */
function hangUp(socket: Duplex, frame: Buffer): void {
  if (!socket.writableEnded) socket.end(frame, () => socket.destroy())
}

async function count(database: Database, watchers: number): Promise<string> {
  const counts = await database.row(
    `select coalesce(sum(s.taken), 0) as taken, coalesce(sum(s.capacity), 0) as capacity,
       (select coalesce(sum(waiting), 0) from waitlist) as waiting
     from slots s`,
  )
  return JSON.stringify({ ...counts, watchers })
}
