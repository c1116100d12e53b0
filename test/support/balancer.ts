/** A load balancer for routers that don't die: every request goes to the next one, whoever asks. */
import http from 'node:http'
import type { Test } from 'tap'

export interface Balancer {
  /** Requests that each router has answered, by its URL. */
  readonly answered: ReadonlyMap<string, number>
}

/** Listens on `port` of 127.0.0.1 until the test ends. */
export async function balancer(
  t: Test,
  { port, routers }: { port: number; routers: readonly string[] },
): Promise<Balancer> {
  const answered = new Map(routers.map(url => [url, 0]))
  const agent = new http.Agent({ keepAlive: true })
  let turn = 0
  const server = http.createServer((request, answer) => {
    const router = routers[turn++ % routers.length]!
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
