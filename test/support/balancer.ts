/** A load balancer for routers that don't die: by session cookie as docs/deploy/haproxy.cfg has it, or by turns. */
import http from 'node:http'
import type { Test } from 'tap'

export interface Balancer {
  /** Requests that each router has answered, by its URL. */
  readonly answered: ReadonlyMap<string, number>
}

/** Listens on `port` of 127.0.0.1 until the test ends. `cookie`: whose value decides; none: every request by turns. */
export async function balancer(
  t: Test,
  { port, routers, cookie }: { port: number; routers: readonly string[]; cookie?: string },
): Promise<Balancer> {
  const answered = new Map(routers.map(url => [url, 0]))
  const agent = new http.Agent({ keepAlive: true })
  let turn = 0
  const chosen = ({ headers }: http.IncomingMessage): string => {
    const value = cookie && new RegExp(`${cookie}=([^;]+)`).exec(headers.cookie ?? '')?.[1]
    return routers[(value ? hash(value) : turn++) % routers.length]!
  }
  const server = http.createServer((request, answer) => {
    const router = chosen(request)
    const { method, rawHeaders: headers } = request
    const onward = http.request(`${router}${request.url}`, { method, agent, headers })
    onward.on('response', response => {
      answered.set(router, (answered.get(router) ?? 0) + 1)
      answer.writeHead(response.statusCode!, response.rawHeaders)
      response.pipe(answer).on('error', () => response.destroy())
    })
    onward.on('error', () => answer.destroy())
    answer.once('close', () => void (answer.writableFinished || onward.destroy()))
    request.pipe(onward)
  })
  server.listen(port, '127.0.0.1')
  await new Promise<void>(resolve => server.once('listening', resolve))
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
    agent.destroy()
  })
  return { answered }
}

/** FNV-1a. */
function hash(text: string): number {
  let value = 0x811c9dc5
  for (const letter of text) value = Math.imul(value ^ letter.codePointAt(0)!, 0x01000193) >>> 0
  return value
}
