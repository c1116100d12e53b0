/** The service's process: `server.js` serves, `server.js migrate` brings the schema up to date. */
import type { AddressInfo } from 'node:net'
import { createApp } from './app.ts'
import { openDatabase } from './database.ts'
import { createVerifyIdentity } from './identity.ts'
import { migrate } from './migrate.ts'
import { createOutbox } from './outbox.ts'

const NAME = 'scheduling'
const DEFAULT_PORT = 4001
const STOP_TIMEOUT_MS = 10_000

const print = (line: unknown) => console.log(JSON.stringify(line))

function setting(name: string): string {
  const value = process.env[name]
  if (value === undefined || value === '') throw new Error(`${name} is not set`)
  return value
}

async function main(): Promise<void> {
  const databaseUrl = setting('DATABASE_URL')
  const command = process.argv[2] ?? 'serve'
  if (command === 'migrate' || process.env.MIGRATE === '1')
    print({ migrated: await migrate(databaseUrl) })
  if (command === 'serve') await serve(databaseUrl)
}

async function serve(databaseUrl: string): Promise<void> {
  const verifyIdentity = createVerifyIdentity({
    jwksUrl: setting('IDENTITY_JWKS_URL'),
    audience: NAME,
  })
  const deliveryUrl = setting('LEGACY_URL')
  const database = openDatabase(databaseUrl, NAME)
  const app = createApp({
    database,
    verifyIdentity,
    onBooked: () => outbox.wake(),
    logger: { level: 'warn', stream: process.stderr },
  })
  const outbox = createOutbox({
    database,
    deliveryUrl,
    internalKey: process.env.INTERNAL_KEY,
    warn: (details, message) => app.log.warn(details, message),
  })
  await app.listen({
    port: Number(process.env.PORT ?? DEFAULT_PORT),
    host: process.env.HOST ?? '127.0.0.1',
  })
  const stop = new AbortController()
  const sending = outbox.run(stop.signal)
  print({ listening: (app.server.address() as AddressInfo).port })

  await new Promise<void>(resolve => {
    process.once('SIGTERM', resolve)
    process.once('SIGINT', resolve)
  })
  process.once('SIGTERM', () => process.exit(1))
  setTimeout(() => process.exit(1), STOP_TIMEOUT_MS).unref()
  await app.close()
  stop.abort()
  await sending
  await database.close()
}

try {
  await main()
} catch (error) {
  console.error(JSON.stringify({ error: (error as Error).message }))
  process.exitCode = 1
}
