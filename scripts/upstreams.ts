/** Whether the processes that requests are sent to are there. */
import { connect } from 'node:net'
import { ready } from '../control/gather.ts'
import type { BanyanFile } from '../model/banyan-file.ts'
import { must } from '../model/errors.ts'

export interface UpstreamLook {
  /** `legacy`, or a service. */
  readonly name: string
  readonly url: string
  /** Why nothing can be sent there; null: it answers. */
  readonly why: string | null
}

const CONNECT_MS = 1_000

/** Legacy, and those services; a service says by `GET /ready` that it is. */
export async function readUpstreams(
  { legacy, services }: BanyanFile,
  asked: readonly string[],
): Promise<UpstreamLook[]> {
  return Promise.all([
    monolithGone(legacy.url).then(why => ({ name: 'legacy', url: legacy.url, why })),
    ...[...new Set(asked)].map(async name => {
      const { url } = must(services[name], name)
      const answer = await ready(url)
      return { name, url, why: answer.ok ? null : answer.why }
    }),
  ])
}

/** Why the monolith can't be reached; null where it can. No request is made: nobody knows what one would do there. */
export function monolithGone(url: string): Promise<string | null> {
  const { hostname, port, protocol } = new URL(url)
  return new Promise(resolve => {
    const socket = connect({
      host: hostname.replace(/^\[(.*)\]$/, '$1'),
      port: Number(port || (protocol === 'https:' ? 443 : 80)),
      timeout: CONNECT_MS,
    })
    const end = (why: string | null): void => {
      socket.destroy()
      resolve(why)
    }
    socket.once('connect', () => end(null))
    socket.once('timeout', () => end(`no connection within ${CONNECT_MS} ms`))
    socket.once('error', error => end((error as { code?: string }).code ?? error.message))
  })
}
