/** `banyan uninstall`: takes out of legacy, the services and, if asked, the control database all that Banyan has put there. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type pg from 'pg'
import { readLoosened } from '../control/crossing-facts.ts'
import { orphansError } from '../control/orphans.ts'
import { readController } from '../control/lease.ts'
import { readFlips } from '../control/store/flips.ts'
import { append } from '../control/store/journal.ts'
import { readSlices } from '../control/store/slices.ts'
import { claimStream, forgetStream, readStreams } from '../control/store/streams.ts'
import { controlMigrations } from '../migrations/control/control.ts'
import { migrateDown } from '../migrations/runner.ts'
import { BanyanError } from '../model/errors.ts'
import { CONTROL_ERRORS } from '../model/errors-control.ts'
import { pause } from '../model/pause.ts'
import { SYNC_ERRORS } from '../model/errors-sync.ts'
import { parseStream, slotOf } from '../model/stream.ts'
import type { DatabaseUrls } from '../model/wiring.ts'
import { connect } from '../postgres/connection.ts'
import { explain } from '../postgres/explain.ts'
import { dropSlot, listSlots } from '../postgres/slot.ts'
import type { UninstallOptions } from './banyan.ts'
import { type Context, type ExitCode, jsonText } from './context.ts'
import { askControl, type Opened, withControl } from './control-store.ts'
import { foldersOf } from './folders.ts'
import { migrationsOf } from './migrate-schema.ts'
import { brokenKeys } from './orphans-text.ts'
import { type TakenOut, uninstallScreen, writeDropFile } from './uninstall-text.ts'
import { openControlUrl, openProject } from './wiring.ts'

const CONNECT_MS = 5_000
/** How long a slot's reader may take to go, milliseconds. */
const DROP_MS = 10_000
const LOOK_MS = 250
/** A session that was ended, our own too, is seen for a moment longer. */
const LINGER_MS = 2_000
/** Taking a gate off takes its table's lock for a moment; who waits behind it waits no longer than this. */
const LOCK_MS = 2_000

export interface Taken {
  readonly database: string
  readonly slots: readonly string[]
  /** False where there was nothing. */
  readonly schema: boolean
  /** The three of Banyan, which a superuser takes out; none where the files name one role for everything. */
  readonly roles: readonly string[]
  /** Holds the statements for that. */
  readonly file: string | null
}

/**
 * Safe to repeat. Throws SLICES_AWAY, FILES_WANT_MORE, SLOT_BUSY, what a database that doesn't answer throws, and what `withControl`
 * throws; with the control database also OPTION_INVALID (it is embedded) and PARTS_RUN: then nothing was taken out.
 */
export async function runUninstall(
  context: Context,
  { withControl: control = false }: UninstallOptions = {},
): Promise<ExitCode> {
  if (control) await mustBeStill(context)
  const taken = await withControl(context, opened => takeAll(context, opened))
  if (control) await takeControl(context)
  context.write(
    context.json
      ? jsonText({ ...taken, control: control ? 'taken' : 'kept' })
      : uninstallScreen(context, { ...taken, control }),
  )
  return 0
}

async function takeAll(context: Context, opened: Opened): Promise<TakenOut> {
  const { wiring, store } = opened
  const databases = [
    ['legacy', wiring.legacy] as const,
    ...Object.entries(wiring.services).map(([name, urls]) => [name, urls] as const),
  ]
  await mustBeAtLegacy(opened)
  const loosened = await withClient(wiring.legacy.setup, readLoosened)
  const broken = await brokenAmong(opened)
  await using _held = await holdStreams(opened, context.signal)
  const taken: Taken[] = []
  for (const [name, urls] of databases) {
    const found = await takeOut(name, urls)
    taken.push({ ...found, ...(await writeDropFile(context, wiring, name)) })
  }
  // A stream that is still on record would be gone on with by a worker, without its slot.
  for (const { name } of await readStreams(store)) await forgetStream(store, name)
  const detail = { databases: taken.map(each => each.database) }
  await append(store.pool, { actor: context.actor, slice: null, kind: 'uninstalled', detail })
  const missing = loosened.map(({ table, name, definition }) => ({ table, name, definition }))
  return { databases: taken, missing, broken }
}

/** Of all slices; a key between two of them is named once. */
async function brokenAmong(opened: Opened): Promise<TakenOut['broken']> {
  const found = new Map<string, TakenOut['broken'][number]>()
  for (const slice of opened.wiring.project.slices) {
    for (const orphans of await brokenKeys(opened, slice)) {
      const { message, hint } = orphansError(orphans, slice.name)
      found.set(orphans.key, { message, hint })
    }
  }
  return [...found.values()]
}

/** Whoever works with the control database would make it anew, or fall. */
async function mustBeStill(context: Context): Promise<void> {
  const loaded = await openProject(context.config)
  if (loaded.project.banyan.control.database === 'embedded') {
    const { controlData } = foldersOf(context.config)
    const moved = await readFile(join(controlData, 'moved-to'), 'utf8').catch(() => controlData)
    const how = `run \`banyan uninstall\` while it runs, then stop \`banyan up\` and remove ${moved.trim()}`
    const details = ['--with-control', 'embedded', how, 'uninstall']
    throw new BanyanError(CONTROL_ERRORS.OPTION_INVALID, details)
  }
  const url = await openControlUrl(context.config, loaded)
  await askControl(url)
  await withClient(url, async client => {
    const until = performance.now() + LINGER_MS
    for (;;) {
      const { rows } = await client.query<{ name: string }>(
        `SELECT DISTINCT application_name AS name FROM pg_catalog.pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend' ORDER BY 1`,
      )
      if (rows.length === 0) return
      const names = rows.map(row => row.name || 'a session without a name').join(', ')
      const late = performance.now() > until || context.signal.aborted
      if (late) throw new BanyanError(CONTROL_ERRORS.PARTS_RUN, [names])
      await pause(LOOK_MS, context.signal)
    }
  })
}

async function takeControl(context: Context): Promise<void> {
  await mustBeStill(context)
  const url = await openControlUrl(context.config, await openProject(context.config))
  await migrateDown(impatient(url), controlMigrations())
}

/**
 * By the control database, and by the gates themselves: a control database that was lost and made anew believes every
 * slice at legacy, also one that its service owns.
 */
async function mustBeAtLegacy({ wiring, store }: Opened): Promise<void> {
  const away: { readonly slice: string; readonly text: string }[] = []
  const controller = await readController(store)
  const facts = await readSlices(store.pool)
  for (const { name, stage } of facts.filter(each => each.stage !== 'legacy')) {
    away.push({ slice: name, text: `${name} is at ${stage}` })
  }
  for (const flip of await readFlips(store, { open: true, limit: 100 })) {
    away.push({ slice: flip.slice, text: `${flip.slice} is on its way to ${flip.to}` })
  }
  for (const name of await closedGates(wiring.legacy)) {
    const said = away.some(each => each.slice === name)
    if (!said) away.push({ slice: name, text: `${name} is closed in legacy: its service owns it` })
  }
  const [first] = away
  if (first) {
    const details = [away.map(each => each.text).join('; '), first.slice]
    throw new BanyanError(CONTROL_ERRORS.SLICES_AWAY, details)
  }
  const wanted: string[] = []
  // What a controller has read is what it does; the next one begins with the files. A brake may be released.
  for (const { name, file, stage } of wiring.project.slices) {
    const known = facts.find(each => each.name === name)?.wantedStage
    const read = controller?.alive ? (known ?? stage) : stage
    if (stage !== 'legacy') wanted.push(`${file} (${stage})`)
    else if (read !== 'legacy') wanted.push(`${file}, as the controller has read it (${read})`)
  }
  if (wanted.length > 0) {
    throw new BanyanError(CONTROL_ERRORS.FILES_WANT_MORE, [wanted.join(', ')])
  }
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
async function takeOut(
  database: string,
  urls: DatabaseUrls,
): Promise<Pick<Taken, 'database' | 'slots' | 'schema'>> {
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
  return { database, slots, schema }
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
