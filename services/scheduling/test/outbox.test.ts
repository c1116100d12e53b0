/** Messages leave the outbox once they are delivered, whatever the receiver does in between. */
import { EventEmitter, once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import t from 'tap'
import type { Test } from 'tap'
import { createOutbox, queueMessage } from '../outbox.ts'
import { startService } from './support/service.ts'
import type { Json } from './support/service.ts'

interface Receiver {
  readonly url: string
  readonly received: { key: string | undefined; path: string | undefined; body: Json }[]
  /** Emits `message` after each request. */
  readonly events: EventEmitter
  /** Statuses for the next requests, in order; then 201. */
  readonly script: number[]
}

async function startReceiver(t: Test): Promise<Receiver> {
  const received: Receiver['received'] = []
  const script: number[] = []
  const events = new EventEmitter()
  const server = createServer((request, response) => {
    void text(request).then(body => {
      const key = request.headers['x-internal-key']
      received.push({ key: key?.toString(), path: request.url, body: JSON.parse(body) })
      response.writeHead(script.shift() ?? 201, { connection: 'close' }).end('{}')
      events.emit('message')
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    received,
    events,
    script,
  }
}

await t.test('outbox', async t => {
  const { database } = await startService(t)
  const left = () => database.rows('select dedupe, attempts, refused from outbox order by id')
  const queue = (dedupe: string) =>
    database.transaction(tx => queueMessage(tx, { dedupe, patientId: 1, body: `hello ${dedupe}` }))
  const run = (t: Test, deliveryUrl: string) => {
    const warnings = new EventEmitter()
    const outbox = createOutbox({
      database,
      deliveryUrl,
      internalKey: 'secret',
      warn: (details, message) => warnings.emit(message, details),
    })
    const stop = new AbortController()
    const running = outbox.run(stop.signal)
    const end = async () => {
      stop.abort()
      await running
    }
    t.teardown(end)
    return { outbox, warnings, end }
  }
  t.afterEach(() => database.rows('truncate outbox'))

  await t.test(
    'delivers what was queued before it started and what is queued while it runs',
    async t => {
      const receiver = await startReceiver(t)
      await queue('a')
      const { outbox, end } = run(t, receiver.url)
      await once(receiver.events, 'message')
      await queue('b')
      const second = once(receiver.events, 'message')
      outbox.wake()
      await second
      await end()
      t.strictSame(receiver.received, [
        {
          key: 'secret',
          path: '/internal/messages',
          body: { dedupe: 'a', patient_id: 1, body: 'hello a' },
        },
        {
          key: 'secret',
          path: '/internal/messages',
          body: { dedupe: 'b', patient_id: 1, body: 'hello b' },
        },
      ])
      t.strictSame(await left(), [], 'nothing is left once the sender has ended')
    },
  )

  await t.test(
    'keeps a message that could not be delivered, and sends it again with the same key',
    async t => {
      const receiver = await startReceiver(t)
      receiver.script.push(503)
      await queue('c')
      const { outbox, warnings, end } = run(t, receiver.url)
      const [details] = (await once(warnings, 'message not delivered yet')) as [{ outcome: string }]
      t.equal(details.outcome, '503')
      t.strictSame(await left(), [{ dedupe: 'c', attempts: 1, refused: null }])
      await database.rows('update outbox set due_at = now()')
      const again = once(receiver.events, 'message')
      outbox.wake()
      await again
      await end()
      t.strictSame(
        receiver.received.map(({ body }) => body.dedupe),
        ['c', 'c'],
      )
      t.strictSame(await left(), [])
    },
  )

  await t.test('keeps it too when nobody listens', async t => {
    await queue('d')
    const { warnings, end } = run(t, 'http://127.0.0.1:9')
    await once(warnings, 'message not delivered yet')
    await end()
    t.strictSame(await left(), [{ dedupe: 'd', attempts: 1, refused: null }])
  })

  await t.test('sets aside what the receiver will never take', async t => {
    const receiver = await startReceiver(t)
    receiver.script.push(409)
    await queue('e')
    const { warnings, end } = run(t, receiver.url)
    await once(warnings, 'message refused')
    await end()
    t.strictSame(await left(), [{ dedupe: 'e', attempts: 1, refused: '409' }])
  })

  await t.test('two senders share the work: each message is sent once', async t => {
    const receiver = await startReceiver(t)
    const names = Array.from({ length: 60 }, (_, index) => `m${index}`)
    for (const name of names) await queue(name)
    const senders = [run(t, receiver.url), run(t, receiver.url)]
    while (receiver.received.length < names.length) await once(receiver.events, 'message')
    await Promise.all(senders.map(sender => sender.end()))
    t.strictSame(receiver.received.map(({ body }) => body.dedupe).sort(), [...names].sort())
    t.strictSame(await left(), [])
  })
})
