/** The façade and what else can stand in front of an origin in Node, each as bare as its manual starts it. */
import { once } from 'node:events'
import http from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { setImmediate } from 'node:timers/promises'
import proxy from '@fastify/http-proxy'
import type { FastifyHttpProxyOptions } from '@fastify/http-proxy'
import fastify from 'fastify'
import { createProxyServer } from 'httpxy'
import { facade, rawOrigin } from '../test/support/facade.ts'
import type { Teardown } from '../test/support/facade.ts'
import { ordersOf, sliceOrder } from '../test/support/router-control.ts'
import { arrivals, comparable, pass } from '../test/support/wire.ts'
import type { Comparable } from '../test/support/wire.ts'
import type { WireCase } from '../test/support/wire-cases.ts'

export interface Contestant {
  readonly name: string
  /** Starts it in front of this origin; resolves with its port. */
  start(t: Teardown, origin: string): Promise<number>
}

export interface Score {
  /** Cases whose bytes are the same, save what may differ. */
  readonly exact: number
  /** Cases that are the same once the case and the order of header names are forgiven. */
  readonly lenient: number
  /** The cases that are not, with that forgiven. */
  readonly failed: readonly WireCase[]
}

export const FACADE: Contestant = {
  name: 'banyan',
  async start(t, origin) {
    return (await facade(t, ordersOf(origin, origin, [sliceOrder('legacy')]))).port
  },
}

// http-proxy has no types of its own.
interface HttpProxy {
  on(event: 'error', listener: (error: Error, req: unknown, res: http.ServerResponse) => void): void
  web(req: http.IncomingMessage, res: http.ServerResponse): void
}
const httpProxy = createRequire(import.meta.url)('http-proxy') as {
  createProxyServer(options: { target: string }): HttpProxy
}

export const OTHERS: readonly Contestant[] = [
  { name: '@fastify/http-proxy', start: (t, upstream) => mount(t, { upstream }) },
  {
    // Its one edit that touches every case, undone by its own option, so that the others show.
    name: '… with Host kept',
    start: (t, upstream) =>
      mount(t, {
        upstream,
        replyOptions: {
          rewriteRequestHeaders: ({ headers: { host } }, headers) =>
            host === undefined ? headers : { ...headers, host },
        },
      }),
  },
  {
    name: 'http-proxy',
    start(t, origin) {
      const forward = httpProxy.createProxyServer({ target: origin })
      forward.on('error', (_error, _req, res) => res.writeHead(502).end())
      return listen(t, (req, res) => forward.web(req, res))
    },
  },
  {
    name: 'httpxy',
    start(t, origin) {
      const forward = createProxyServer({ target: origin })
      return listen(t, (req, res) => {
        forward.web(req, res).catch(() => res.writeHead(502).end())
      })
    },
  },
]

async function mount(t: Teardown, options: FastifyHttpProxyOptions): Promise<number> {
  const app = fastify()
  await app.register(proxy, options)
  await app.listen({ host: '127.0.0.1', port: 0 })
  t.teardown(() => {
    app.server.closeAllConnections()
    return app.close()
  })
  return portOf(app.server)
}

async function listen(t: Teardown, handler: http.RequestListener): Promise<number> {
  const server = http.createServer(handler)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return portOf(server)
}

function portOf(server: http.Server): number {
  return (server.address() as AddressInfo).port
}

/** Silence for this long is an outcome of its own. */
const PATIENCE_MS = 1_500

/** Each case before a host and an origin of its own, so that none is counted for what another left behind. */
export async function score(contestant: Contestant, cases: readonly WireCase[]): Promise<Score> {
  let [exact, lenient] = [0, 0]
  const failed: WireCase[] = []
  for (const which of cases) {
    const { direct, through } = await both(contestant, which)
    if (isSame(direct, through)) exact++
    if (isSame(forgiven(direct), forgiven(through))) lenient++
    else failed.push(which)
  }
  return { exact, lenient, failed }
}

async function both(contestant: Contestant, which: WireCase) {
  const ends: (() => unknown)[] = []
  const t = { teardown: (end: () => unknown) => void ends.unshift(end) }
  try {
    const origins = arrivals()
    const origin = await rawOrigin(t, origins.at('origin'))
    const port = await contestant.start(t, origin.url)
    const run = async (to: number) =>
      comparable(await pass(t, to, which, origins, AbortSignal.timeout(PATIENCE_MS)))
    const direct = await run(origin.port)
    return { direct, through: await run(port) }
  } finally {
    for (const end of ends) await end()
    await setImmediate()
  }
}

function isSame(direct: Comparable, through: Comparable): boolean {
  return JSON.stringify(direct) === JSON.stringify(undated(direct, through))
}

/** A proxy may say the time where the origin doesn't (RFC 9110 §6.6.1). */
function undated(direct: Comparable, through: Comparable): Comparable {
  const { got } = through
  const dated = (of: Comparable['got']): boolean =>
    typeof of !== 'string' && of.headers.some(isDate)
  if (typeof got === 'string' || dated(direct.got)) return through
  return { ...through, got: { ...got, headers: got.headers.filter(line => !isDate(line)) } }
}

function isDate(line: string): boolean {
  return /^date:/i.test(line)
}

function forgiven({ seen, got }: Comparable): Comparable {
  return { seen: sorted(seen), got: sorted(got) }
}

// Fields of one name keep their order (RFC 9110 §5.3).
function sorted(parts: Comparable['got']): Comparable['got'] {
  if (typeof parts === 'string') return parts
  const name = (line: string): string => line.slice(0, line.indexOf(':')).toLowerCase()
  const fold = (lines: readonly string[]): string[] =>
    lines
      .map(line => name(line) + line.slice(line.indexOf(':')))
      .sort((a, b) => (name(a) < name(b) ? -1 : name(a) > name(b) ? 1 : 0))
  return {
    ...parts,
    headers: fold(parts.headers),
    framing: fold(parts.framing),
    trailers: fold(parts.trailers),
  }
}
