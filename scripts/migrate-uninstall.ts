/** `banyan migrate --uninstall`: takes out of legacy and the services all that Banyan has put there. The control database stays. */
import type pg from 'pg'
import pc from 'picocolors'
import { readLoosened } from '../control/crossing-facts.ts'
import { nextStep } from '../control/reconcile.ts'
import { readController } from '../control/lease.ts'
import { readFlips } from '../control/store/flips.ts'
import { append } from '../control/store/journal.ts'
import { readSlices } from '../control/store/slices.ts'
import { claimStream, forgetStream, readStreams } from '../control/store/streams.ts'
import { migrateDown } from '../migrations/runner.ts'
import { BanyanError } from '../model/errors.ts'
import { CONTROL_ERRORS } from '../model/errors-control.ts'
import { SYNC_ERRORS } from '../model/errors-sync.ts'
import { parseStream, slotOf } from '../model/stream.ts'
import { type DatabaseUrls, roleOf } from '../model/wiring.ts'
import { connect } from '../postgres/connection.ts'
import { explain } from '../postgres/explain.ts'
import { dropSlot, listSlots } from '../postgres/slot.ts'
import { countOf } from './amounts.ts'
import { commandLine, type Context, type ExitCode, jsonText } from './context.ts'
import { type Opened, withControl } from './control-store.ts'
import { fit } from './fit.ts'
import { migrationsOf } from './migrate-schema.ts'
import { layOut, printable, widthOf } from './table.ts'

const CONNECT_MS = 5_000
/** How long a slot's reader may take to go, milliseconds. */
const DROP_MS = 10_000
const LOOK_MS = 250
/** Taking a gate off takes its table's lock for a moment; who waits behind it waits no longer than this. */
const LOCK_MS = 2_000

interface Taken {
  readonly database: string
  readonly slots: readonly string[]
  /** False where there was nothing. */
  readonly schema: boolean
  readonly roles: readonly string[]
}

/** Throws SLICES_AWAY, SLOT_BUSY, what a database that doesn't answer throws, and what `withControl` throws. Safe to repeat. */
export async function uninstall(context: Context): Promise<ExitCode> {
  return withControl<ExitCode>(context, async opened => {
    const { wiring, store } = opened
    const databases = [
      ['legacy', wiring.legacy] as const,
      ...Object.entries(wiring.services).map(([name, urls]) => [name, urls] as const),
    ]
    await mustBeAtLegacy(opened)
    const loosened = await withClient(wiring.legacy.setup, readLoosened)
    await using _held = await holdStreams(opened, context.signal)
    const taken: Taken[] = []
    for (const [name, urls] of databases) taken.push(await takeOut(name, urls))
    // A stream that is still on record would be gone on with by a worker, without its slot.
    for (const { name } of await readStreams(store)) await forgetStream(store, name)
    const detail = { databases: taken.map(each => each.database) }
    await append(store.pool, { actor: context.actor, slice: null, kind: 'uninstalled', detail })
    const missing = loosened.map(({ table, name, definition }) => ({ table, name, definition }))
    context.write(
      context.json
        ? jsonText({ databases: taken, control: 'kept', missing })
        : screen(context, taken, missing),
    )
    return 0
  })
}

/**
 * By the control database, and by the gates themselves: a control database that was lost and made anew believes every
 * slice at legacy, also one that its service owns.
 */
async function mustBeAtLegacy({ wiring, store }: Opened): Promise<void> {
  const away: string[] = []
  const controller = await readController(store)
  for (const fact of await readSlices(store.pool)) {
    const file = wiring.project.slices.find(each => each.name === fact.name)
    // What a controller has read is what it will do; without one, it will begin with the file.
    const wantedStage = controller?.alive ? fact.wantedStage : (file?.stage ?? fact.wantedStage)
    if (fact.stage !== 'legacy') away.push(`${fact.name} is at ${fact.stage}`)
    else if (nextStep({ ...fact, wantedStage })) {
      away.push(`${fact.name} is wanted at ${wantedStage} by its file`)
    }
  }
  for (const flip of await readFlips(store, { open: true, limit: 100 })) {
    away.push(`${flip.slice} is on its way to ${flip.to}`)
  }
  for (const name of await closedGates(wiring.legacy)) {
    const said = away.some(each => each.startsWith(`${name} is`))
    if (!said) away.push(`${name} is closed in legacy: its service owns it`)
  }
  if (away.length > 0) throw new BanyanError(CONTROL_ERRORS.SLICES_AWAY, [away.join('; ')])
}

/**
 * A worker ends the streams of a slice at legacy by itself, and needs our schema for it: nothing is taken out under its
 * hands. Streams that no worker has are held here, so that none takes them up. Throws SLOT_BUSY.
 */
async function holdStreams({ store, ear }: Opened, signal: AbortSignal): Promise<AsyncDisposable> {
  const session = await connect({ url: store.url, applicationName: 'banyan uninstall' })
  const until = performance.now() + DROP_MS
  try {
    for (;;) {
      const heard = ear.heard(['stream'], LOOK_MS, signal)
      const busy: string[] = []
      for (const { name } of await readStreams(store)) {
        if (!(await claimStream(session, name))) busy.push(name)
      }
      if (busy.length === 0) return { [Symbol.asyncDispose]: () => session.end() }
      if (signal.aborted || performance.now() > until) {
        const stream = parseStream(busy[0]!)
        const slot = stream ? slotOf(stream) : busy[0]!
        throw new BanyanError(SYNC_ERRORS.SLOT_BUSY, [slot, 'a worker that has not ended it yet'])
      }
      await heard
    }
  } catch (error) {
    await session.end()
    throw error
  }
}

async function closedGates(legacy: DatabaseUrls): Promise<string[]> {
  return withClient(legacy.setup, async client => {
    const there = await client.query<{ there: boolean }>(
      `SELECT pg_catalog.to_regclass('banyan.slice') IS NOT NULL AS there`,
    )
    if (!there.rows[0]?.there) return []
    const closed: string[] = []
    const { rows } = await client.query<{ name: string; number: number }>(
      'SELECT name, number FROM banyan.slice ORDER BY name',
    )
    for (const { name, number } of rows) {
      const word = await client.query<{ open: boolean }>(
        `SELECT last_value % 2 = 1 AS open FROM banyan.gate_${Number(number)}`,
      )
      if (!word.rows[0]?.open) closed.push(name)
    }
    return closed
  })
}

async function hasSchema(client: pg.Client): Promise<boolean> {
  const { rowCount } = await client.query(
    `SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = 'banyan'`,
  )
  return rowCount === 1
}

/** Slots first: one that nobody reads holds the database's WAL for ever. */
async function takeOut(database: string, urls: DatabaseUrls): Promise<Taken> {
  const slots = await withClient(urls.capture, async client => {
    const { rows } = await client.query<{ name: string }>('SELECT current_database() AS name')
    const all = await listSlots(client, 'banyan_')
    return all.filter(each => each.database === rows[0]?.name).map(each => each.slot)
  })
  for (const slot of slots) {
    await dropSlot({ url: urls.capture, slot, signal: AbortSignal.timeout(DROP_MS) })
  }
  const schema = await withClient(urls.setup, hasSchema)
  try {
    if (schema) await migrateDown(impatient(urls.setup), migrationsOf(database, urls))
  } catch (error) {
    throw explain(error, urls.setup)
  }
  const roles = [...new Set([urls.setup, urls.apply, urls.capture].map(roleOf))]
  return { database, slots, schema, roles }
}

/** The same URL with a lock_timeout, which the migrations' own connections don't set. */
function impatient(text: string): string {
  const url = new URL(text)
  const options = url.searchParams.get('options')
  const limit = `-c lock_timeout=${LOCK_MS}ms`
  url.searchParams.set('options', options === null ? limit : `${options} ${limit}`)
  return url.href
}

async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const applicationName = 'banyan uninstall'
  const client = await connect({ url, applicationName, connectTimeoutMs: CONNECT_MS })
  try {
    return await work(client)
  } catch (error) {
    throw explain(error, url)
  } finally {
    await client.end()
  }
}

function screen(
  context: Context,
  taken: readonly Taken[],
  missing: readonly { table: string; name: string; definition: string }[],
): string {
  const colors = pc.createColors(context.color)
  const rows = taken.map(({ database, slots, schema }) => {
    const what = [
      schema ? 'gates, publications and the schema banyan' : 'no schema banyan was there',
      ...(slots.length > 0 ? [countOf(slots.length, 'slot')] : []),
    ]
    return [colors.green('✔'), database, what.join(', ')]
  })
  const more = [
    '– control stays: it has the journal and where every slice stood',
    ...printable(taken).map(
      ({ database, roles }) =>
        `– ${database}: the roles ${roles.join(', ')} stay; a superuser takes them out`,
    ),
    ...printable(missing).map(({ table, name, definition }) => {
      const ddl = `ALTER TABLE ${table} ADD CONSTRAINT ${name} ${definition}`
      return `! legacy still lacks a foreign key that was dropped: ${ddl};`
    }),
  ]
  const lines = [...layOut(rows, widthOf(context)), ...fit(context, more)]
  return `${[...lines, `next: ${commandLine(context, 'migrate --check')}`].join('\n')}\n`
}
