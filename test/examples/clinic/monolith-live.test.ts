/** The live board, spoken to by a client that knows WebSocket better than it does. */
import { once } from 'node:events'
import { connect } from 'node:net'
import t from 'tap'
import { WebSocket } from 'ws'
import { CLOSE, FrameError, encodeFrame, frameReader } from '../../../examples/clinic/websocket.ts'
import { AT, OP, startMonolith } from './platform.ts'

const { ask, database, url } = await startMonolith(t)
await database.rows(`insert into practitioners (code) values ('P1')`)
const live = `${url.replace('http', 'ws')}/live`

const open = async (t: { teardown(action: () => void): void }) => {
  const socket = new WebSocket(live)
  t.teardown(() => socket.terminate())
  const first = once(socket, 'message')
  await once(socket, 'open')
  return { socket, first }
}

/** The board's own news stand between the echoes. Listen before you speak: several may come at once. */
const echo = (socket: WebSocket, isEcho: (data: Buffer) => boolean): Promise<Buffer> =>
  new Promise(resolve => {
    const hear = (data: Buffer) => {
      if (!isEcho(data)) return
      socket.off('message', hear)
      resolve(data)
    }
    socket.on('message', hear)
  })

await t.test(
  'everybody who watches is sent the counts at once, and again when they change',
  async t => {
    await ask('POST', `/api/slots/1/${AT}/take`, { op_id: OP })
    const { socket, first } = await open(t)
    const [data] = (await first) as [Buffer]
    t.match(JSON.parse(data.toString()), { taken: 1, capacity: 1000, waiting: 0 })
    await ask('POST', `/api/slots/1/${AT}/take`, { op_id: OP })
    const next = await echo(socket, data => data.includes('"taken":2'))
    t.match(JSON.parse(next.toString()), { taken: 2 })
  },
)

await t.test('what is said comes back: text, bytes, long, in pieces', async t => {
  const { socket } = await open(t)
  for (const size of [0, 125, 126, 65_535, 65_536]) {
    const back = echo(socket, data => data.length === size)
    socket.send('x'.repeat(size))
    t.equal((await back).length, size)
  }
  const [whole, pong] = [echo(socket, data => data.toString() === 'pieces'), once(socket, 'pong')]
  socket.send('pie', { fin: false })
  socket.ping('still here')
  t.equal(String((await pong)[0]), 'still here')
  // The next news must not come between the pieces of an echo.
  await once(socket, 'message')
  socket.send('ces', { fin: true })
  t.equal(String(await whole), 'pieces')
})

await t.test('a client that ends gets its own code back', async t => {
  const { socket } = await open(t)
  socket.close(4001, 'enough')
  t.equal((await once(socket, 'close'))[0], 4001)
})

await t.test('a frame that is too long ends the connection, and no other', async t => {
  const [{ socket: other }, { socket }] = [await open(t), await open(t)]
  socket.send('x'.repeat(65_537))
  t.equal((await once(socket, 'close'))[0], 1009)
  const back = echo(other, data => data.toString() === 'well?')
  other.send('well?')
  t.equal(String(await back), 'well?')
})

await t.test('what no client may send is refused: unmasked, unknown, out of turn', async t => {
  const masked = (first: number) => Buffer.from([first, 0x80, 0, 0, 0, 0])
  const unmasked = encodeFrame({ final: true, opcode: 1, payload: Buffer.from('hello') })
  const frames = [unmasked, masked(0x83), masked(0xc1), masked(0x80), masked(0x09)]
  frames.push(Buffer.concat([masked(0x01), masked(0x81)]))
  for (const frame of frames) {
    t.throws(() => frameReader()(frame), new FrameError(CLOSE.protocolError), frame.toString('hex'))
  }
  t.equal(frameReader()(Buffer.concat([masked(0x01), masked(0x89), masked(0x80)])).length, 2)
})

await t.test('what is no WebSocket request is refused', async t => {
  for (const [path, status] of [
    ['/live', '400 Bad Request'],
    ['/elsewhere', '404 Not Found'],
  ] as const) {
    const socket = connect(Number(new URL(url).port), '127.0.0.1')
    socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n`)
    const [head] = (await once(socket, 'data')) as [Buffer]
    t.match(head.toString(), `HTTP/1.1 ${status}\r\n`)
    if (!socket.closed) await once(socket, 'close')
  }
})
