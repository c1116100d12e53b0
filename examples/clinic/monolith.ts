/** The clinic's process: `monolith.js` serves, `monolith.js migrate` brings the schema up to date, `monolith.js seed` fills it. */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { parseArgs } from 'node:util'
import { openDatabase } from './database.ts'
import { migrate } from './migrate.ts'
import { seed } from './seed.ts'
import { createClinic } from './server.ts'

const STOP_TIMEOUT_MS = 10_000

const print = (line: unknown) => console.log(JSON.stringify(line))

async function main(): Promise<void> {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: {
      patients: { type: 'string', default: '1000' },
      appointments: { type: 'string', default: '10000' },
      seed: { type: 'string', default: '1' },
    },
  })
  const databaseUrl = process.env.DATABASE_URL
  if (databaseUrl === undefined) throw new Error('DATABASE_URL is not set')
  const [command = 'serve'] = positionals
  if (command === 'migrate' || process.env.MIGRATE === '1')
    print({ migrated: await migrate(databaseUrl) })
  if (command === 'seed') {
    const { patients, appointments } = values
    print({
      seeded: await seed(databaseUrl, {
        patients: Number(patients),
        appointments: Number(appointments),
        seed: Number(values.seed),
      }),
    })
  }
  if (command === 'serve') await serve(databaseUrl)
}

async function serve(databaseUrl: string): Promise<void> {
  const database = openDatabase(databaseUrl)
  const clinic = createClinic({ database, internalKey: process.env.INTERNAL_KEY })
  clinic.server.listen(Number(process.env.PORT ?? 3000), process.env.HOST ?? '127.0.0.1')
  await once(clinic.server, 'listening')
  print({ listening: (clinic.server.address() as AddressInfo).port })

  const stopped = new Promise<void>(resolve => {
    process.once('SIGTERM', resolve)
    process.once('SIGINT', resolve)
  })
  await stopped
  process.once('SIGTERM', () => process.exit(1))
  setTimeout(() => process.exit(1), STOP_TIMEOUT_MS).unref()
  await clinic.close()
  await database.close()
}

try {
  await main()
} catch (error) {
  console.error(JSON.stringify({ error: (error as Error).message }))
  process.exitCode = 1
}
