/** `banyan doctor --rebuild-control`: makes a lost control database again from legacy and the services. */
import { takeLease } from '../control/lease.ts'
import { readRebuilt, type Rebuilt, type RebuiltSlice } from '../control/rebuild.ts'
import { mustRemember } from '../control/remembered.ts'
import { readFlips } from '../control/store/flips.ts'
import { readOwnFacts, storeRebuilt } from '../control/store/rebuilt.ts'
import { readSlices } from '../control/store/slices.ts'
import type { Store } from '../control/store/store.ts'
import { controlMigrations } from '../migrations/control/control.ts'
import { migrateUp } from '../migrations/runner.ts'
import { CONTROL_ERRORS } from '../model/errors-control.ts'
import { POSTGRES_ERRORS } from '../model/errors-postgres.ts'
import { BanyanError } from '../model/errors.ts'
import { STAGES } from '../model/stage.ts'
import type { Wiring } from '../model/wiring.ts'
import { connect } from '../postgres/connection.ts'
import type { Context, ExitCode } from './context.ts'
import { createDatabase, openControlDatabase } from './control-cluster.ts'
import { openStore } from './control-store.ts'
import { detailOf, needsPerson, writeNothing, writeRebuilt } from './doctor-rebuild-text.ts'
import { openControlUrl, openProject, openWiring } from './wiring.ts'

const CONNECT_MS = 5_000
/** A controller that is about to find out that its database was lost has the lease for a moment. */
const LEASE_MS = 5_000

/**
 * Throws CONTROL_NOT_EMPTY where the control database knows something else, what `readRebuilt` throws, and what keeps the
 * control database from being opened. An embedded one that doesn't run is started for as long as this takes.
 */
export async function rebuildControl(context: Context): Promise<ExitCode> {
  const loaded = await openProject(context.config)
  await using control = await reachControl(context.config, loaded)
  const wiring = await openWiring(context.config)
  await using opened = openStore(control.url)
  const { store } = opened
  if ((await readOwnFacts(store)).length > 0) {
    await mustBeTheSame(store, wiring)
    writeNothing(context, 'the control database says what the databases say')
    return 0
  }
  const signal = AbortSignal.any([context.signal, AbortSignal.timeout(LEASE_MS)])
  const lease = await takeLease(store, { configPath: wiring.configPath, wait: true, signal })
  if (!lease) throw notEmpty(['a controller works with it'])
  await using _lease = lease
  const own = await readOwnFacts(store)
  if (own.length > 0) throw notEmpty(own)
  const rebuilt = await readRebuilt(wiring, { settle: true })
  if (rebuilt.slices.length === 0) {
    writeNothing(context, 'no slice of the files ever left legacy')
    return 0
  }
  await storeRebuilt(store, {
    slices: rebuilt.slices.map(each => ({ ...each, detail: detailOf(each) })),
    streams: rebuilt.streams,
    highestNumber: rebuilt.highestNumber,
    actor: context.actor,
    detail: { from: rebuilt.asked, away: [...rebuilt.away.keys()] },
  })
  writeRebuilt(context, rebuilt, wiring.project)
  return rebuilt.slices.some(needsPerson) ? 5 : 0
}

type Loaded = Awaited<ReturnType<typeof openProject>>

/** Whatever is there of it: started, made and brought up to date. */
async function reachControl(
  config: string,
  loaded: Loaded,
): Promise<{ readonly url: string } & AsyncDisposable> {
  const { project } = loaded
  const stays = async (url: string) => {
    await migrateUp(url, controlMigrations())
    return { url, async [Symbol.asyncDispose]() {} }
  }
  if (project.banyan.control.database === 'embedded') {
    const running = await runningControl(config, loaded)
    return running === undefined ? openControlDatabase(config, project) : stays(running)
  }
  const url = await openControlUrl(config, loaded)
  await ask(url).catch((error: unknown) => {
    const missing = error instanceof BanyanError && error.rule === POSTGRES_ERRORS.DATABASE_MISSING
    if (!missing) throw error
    return make(url, error)
  })
  return stays(url)
}

/** The URL of the embedded one, where it runs. */
async function runningControl(config: string, loaded: Loaded): Promise<string | undefined> {
  try {
    const url = await openControlUrl(config, loaded)
    await ask(url)
    return url
  } catch {
    return undefined
  }
}

async function ask(url: string): Promise<void> {
  const wanted = { url, applicationName: 'banyan doctor', connectTimeoutMs: CONNECT_MS }
  await (await connect(wanted)).end()
}

/** Its role may not make databases: then whoever may is asked to, by the first error. */
async function make(url: string, missing: BanyanError): Promise<void> {
  const server = new URL(url)
  const name = decodeURIComponent(server.pathname.slice(1))
  server.pathname = '/postgres'
  await createDatabase(server.href, name).catch(() => {
    throw missing
  })
}

/** Nothing is settled here: a flip may be under way. */
async function mustBeTheSame(store: Store, wiring: Wiring): Promise<void> {
  await mustRemember(store, wiring).catch((error: unknown) => {
    if (!(error instanceof BanyanError) || error.rule !== CONTROL_ERRORS.CONTROL_LOST) throw error
    throw notEmpty([`it lacks ${error.details.join(', ')}`])
  })
  const { slices }: Rebuilt = await readRebuilt(wiring, { settle: false })
  const facts = await readSlices(store.pool)
  const flips = await readFlips(store, { open: true, limit: 1000 })
  const others = slices.flatMap((found: RebuiltSlice) => {
    const fact = facts.find(each => each.name === found.name)
    if (!fact || flips.some(flip => flip.slice === found.name)) return []
    if (found.number !== fact.number) return [`${found.name} has another number`]
    if (found.unsettled !== undefined || STAGES[fact.stage].owner === found.owner) return []
    return [
      `${found.name} at ${fact.stage}, and ${found.owner === 'legacy' ? 'legacy' : found.service} owns it`,
    ]
  })
  if (others.length > 0) throw notEmpty(others)
}

function notEmpty(facts: readonly string[]): BanyanError {
  return new BanyanError(CONTROL_ERRORS.CONTROL_NOT_EMPTY, [facts.join('; ')])
}
