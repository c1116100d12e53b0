/** New orders lose no request; bad orders, or none, change nothing. */
import http from 'node:http'
import t from 'tap'
import type { Orders } from '../../model/orders.ts'
import { newIdentityKey } from '../../router/identity.ts'
import { SILENT } from '../../router/log.ts'
import { createRouter } from '../../router/server.ts'
import { staticControl } from '../../router/static-control.ts'
import { ask, dial, facade, origin, rawOrigin } from '../support/facade.ts'
import { memoryFreshness, ordersOf, sliceOrder } from '../support/router-control.ts'

const PATH = '/api/appointments/1'

const echo =
  (name: string): http.RequestListener =>
  (req, res) => {
    let body = ''
    req.on('data', (chunk: Buffer) => (body += chunk.toString()))
    req.on('end', () => res.end(`${name} ${body}`))
  }

void t.test(
  'two hundred reloads under load: nothing failed, nothing reset, nothing twice',
  async t => {
    const legacy = await origin(t, echo('legacy'))
    const service = await origin(t, echo('service'))
    const stages = ['legacy', 'canary', 'moved', 'shadow'] as const
    const orders = (version: number): Orders =>
      ordersOf(
        legacy.url,
        service.url,
        [sliceOrder(stages[version % 4] ?? 'legacy', { percent: version % 100 })],
        { version },
      )
    const f = await facade(t, orders(1))
    f.freshness.watermarks.set('appointments', 0n)
    const agent = new http.Agent({ keepAlive: true, maxSockets: 8 })
    t.teardown(() => agent.destroy())
    let done = false
    const failures: string[] = []
    let count = 0
    const client = async (id: number): Promise<void> => {
      for (let i = 0; !done; i++) {
        const method = i % 2 ? 'PATCH' : 'GET'
        const token = `c${id}-${i}`
        const body = method === 'PATCH' ? token : undefined
        const reply = await send(agent, f.port, method, body).catch((err: unknown) => String(err))
        const expected = new RegExp(`^(?:legacy|service) ${body ?? ''}$`)
        if (!expected.test(reply)) failures.push(`${token}: ${reply}`)
        count++
      }
    }
    const clients = Array.from({ length: 8 }, (_, id) => client(id))
    for (let version = 2; version <= 201; version++) {
      await f.order(orders(version))
      // By its ack every request is decided by these orders.
      if (version % 20 !== 0) continue
      const owner = stages[version % 4] === 'moved' ? 'service' : 'legacy'
      t.match(await ask(f.port, 'PATCH', PATH, { body: 'x' }), { body: `${owner} x` })
    }
    done = true
    await Promise.all(clients)
    t.strictSame(failures, [])
    const writes = [...legacy.seen, ...service.seen].filter(req => req.method === 'PATCH').length
    t.equal(writes, Math.floor(count / 2) + 10 - unevenness(count, writes), `${count} requests`)
  },
)

/** Each client may have ended on a GET: up to eight fewer writes than half of all. */
function unevenness(count: number, writes: number): number {
  const missing = Math.floor(count / 2) + 10 - writes
  return missing >= 0 && missing <= 8 ? missing : 0
}

function send(agent: http.Agent, port: number, method: string, body?: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const headers = { 'x-tenant-id': 'acme' }
    const request = http.request({ port, host: '127.0.0.1', method, path: PATH, headers, agent })
    request.on('error', reject)
    request.on('response', res => {
      let text = ''
      res.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
      res.on('error', reject)
      res.on('end', () => (res.statusCode === 200 ? resolve(text) : reject(new Error(text))))
    })
    request.end(body)
  })
}

void t.test('a request keeps the promise of the table that it was decided by', async t => {
  const legacy = await rawOrigin(t)
  const orders = (version: number, url: string) =>
    ordersOf(url, url, [sliceOrder('legacy')], { version })
  const f = await facade(t, orders(1, legacy.url))
  const client = await dial(t, f.port)
  client.write(`PATCH ${PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nhalf`)
  const origin = await legacy.connection(0)
  await origin.until('half')
  await f.order(orders(2, 'http://127.0.0.1:1'))
  client.write('rest')
  await origin.until('halfrest')
  origin.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
  await client.until('ok')
  await origin.end()
  t.pass('and its socket isn’t kept for an upstream that nobody names any more')
  t.match(await ask(f.port, 'PATCH', PATH), { status: 502 })
})

void t.test('orders that can’t be obeyed leave the last ones in force, unacknowledged', async t => {
  const legacy = await origin(t, echo('legacy'))
  const good = (version: number): Orders =>
    ordersOf(legacy.url, legacy.url, [sliceOrder('legacy')], { version })
  const f = await facade(t, good(1))
  const bad: readonly Partial<Orders>[] = [
    { slices: [sliceOrder('moved', { service: 'nobody' })] },
    { slices: [sliceOrder('moved', { routes: [{ methods: [], pattern: 'x' }] })] },
    { slices: [sliceOrder('moved'), sliceOrder('moved', { name: 'twin' })] },
    { slices: [sliceOrder('moved', { by: ['body:x'] })] },
    { services: { scheduling: { url: 'ftp://x', insecure: false } } },
    { services: { scheduling: { url: 'http://x/path', insecure: false } } },
    { identity: { cookie: 'c', whoami: 'whoami' } },
  ]
  for (const [i, changes] of bad.entries()) {
    f.control.push({ ...good(2 + i), ...changes })
    t.match(await ask(f.port, 'PATCH', PATH), { body: 'legacy ' })
  }
  await f.order(good(100))
  t.strictSame(
    f.control.acks.map(ack => ack.version),
    [1, 100],
  )
})

void t.test('without control the last orders stay in force', async t => {
  const legacy = await origin(t, echo('legacy'))
  const f = await facade(t, ordersOf(legacy.url, legacy.url, [sliceOrder('legacy')]))
  f.control.away = true
  t.match(await ask(f.port, 'PATCH', PATH), { status: 200 })
})

void t.test('a façade alone needs no control plane', async t => {
  const legacy = await origin(t, echo('legacy'))
  const stop = new AbortController()
  const orders = ordersOf(legacy.url, legacy.url, [])
  await using router = await createRouter({
    control: staticControl(orders),
    first: orders,
    freshness: memoryFreshness(),
    identityKey: await newIdentityKey(),
    log: SILENT,
    listen: { host: '127.0.0.1', port: 0 },
  })
  const { port } = router.address
  t.match(await ask(port, 'GET', '/'), { status: 200 }, 'from the first request on')
  const running = router.run(stop.signal)
  t.match(await ask(port, 'POST', '/', { body: 'x' }), { status: 200, body: 'legacy x' })
  stop.abort()
  await running
  await t.rejects(ask(port, 'GET', '/'))
})

void t.test('a router that stops finishes what is under way, and closes what is idle', async t => {
  const legacy = await rawOrigin(t)
  const orders = ordersOf(legacy.url, legacy.url, [])
  const f = await facade(t, orders, { limits: { graceMs: 60_000 } })
  const client = await dial(t, f.port)
  const idle = await dial(t, f.port)
  client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  const origin = await legacy.connection(0)
  await origin.until('\r\n\r\n')
  const stopped = f.stop()
  await idle.end()
  origin.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
  t.match((await client.end()).text, /^HTTP\/1.1 200 [^]*ok$/)
  await stopped
})

void t.test('and cuts what doesn’t end in time', async t => {
  const legacy = await rawOrigin(t)
  const orders = ordersOf(legacy.url, legacy.url, [])
  const f = await facade(t, orders, { limits: { graceMs: 50 } })
  const client = await dial(t, f.port)
  client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  const origin = await legacy.connection(0)
  await origin.until('\r\n\r\n')
  await f.stop()
  t.equal((await client.end()).text, '')
  await origin.end()
})
