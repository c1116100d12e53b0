/** The process as its image runs it: migrates, says that it listens, and ends calmly when told to. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import type { Test } from 'tap'
import { startEdge } from './support/identity.ts'
import { startPostgres } from './support/postgres.ts'

const SERVER = fileURLToPath(new URL('../server.js', import.meta.url))

function start(t: Test, env: Record<string, string>, ...args: string[]) {
  const child = spawn(process.execPath, [SERVER, ...args], {
    env: { PATH: process.env.PATH ?? '', PORT: '0', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return {
    child,
    exit: once(child, 'exit'),
    line: async () => JSON.parse(String((await lines.next()).value)) as Record<string, unknown>,
  }
}

await t.test('the process', async t => {
  const [DATABASE_URL, edge] = await Promise.all([startPostgres(t), startEdge(t, 'scheduling')])
  const env = { DATABASE_URL, IDENTITY_JWKS_URL: edge.jwksUrl, LEGACY_URL: 'http://127.0.0.1:9' }

  await t.test('migrates and ends', async t => {
    const first = start(t, { DATABASE_URL }, 'migrate')
    t.strictSame(await first.line(), { migrated: ['001-copies', '002-scheduling', '003-outbox'] })
    t.strictSame(await first.exit, [0, null])
    const second = start(t, { DATABASE_URL }, 'migrate')
    t.strictSame(await second.line(), { migrated: [] })
  })

  await t.test('serves, answers, and ends with what it had begun', async t => {
    const service = start(t, { ...env, MIGRATE: '1' })
    t.strictSame(await service.line(), { migrated: [] })
    const { listening } = await service.line()
    const headers = { 'x-banyan-identity': await edge.token() }
    const response = await fetch(`http://127.0.0.1:${Number(listening)}/api/appointments`, {
      headers,
    })
    t.equal(response.status, 200)
    t.equal(await response.text(), '[]')
    service.child.kill('SIGTERM')
    t.strictSame(await service.exit, [0, null])
  })

  await t.test('says which setting is missing', async t => {
    for (const missing of Object.keys(env)) {
      const service = start(t, { ...env, [missing]: '' })
      service.child.stderr.setEncoding('utf8')
      const [said] = (await once(service.child.stderr, 'data')) as [string]
      t.match(said, `${missing} is not set`)
      t.strictSame(await service.exit, [1, null])
    }
  })
})
