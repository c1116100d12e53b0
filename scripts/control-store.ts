/** The control database as commands use it: opened, looked at, closed. It works while controller and routers are dead. */
import { wantedOf } from '../control/reconcile.ts'
import { HOLDER_SILENT_MS } from '../control/silent.ts'
import { mustNotBeEmpty } from '../control/remembered.ts'
import { Ear, type Store } from '../control/store/store.ts'
import { readSlices, wantSlices, type SliceFact } from '../control/store/slices.ts'
import { controlMigrations } from '../migrations/control/control.ts'
import { migrationsPending } from '../migrations/runner.ts'
import { CONTROL_ERRORS } from '../model/errors-control.ts'
import { BanyanError } from '../model/errors.ts'
import { placed } from '../model/diagnostic.ts'
import type { Slice } from '../model/project.ts'
import type { Wiring } from '../model/wiring.ts'
import { connect, pool } from '../postgres/connection.ts'
import type { Context, FilesInvalid } from './context.ts'
import { fit } from './fit.ts'
import { paintOf } from './paint.ts'
import { openGoodWiring, openWiring } from './wiring.ts'

const CONNECT_MS = 3_000

export interface Opened {
  readonly wiring: Wiring
  readonly store: Store
  readonly ear: Ear
}

/** A store and an ear of this process. Connects when first used. */
export function openStore(url: string): { store: Store; ear: Ear } & AsyncDisposable {
  // Whoever stands still in a transaction would keep its successor waiting.
  const timeouts = { idleInTransactionMs: HOLDER_SILENT_MS }
  const store = { url, pool: pool({ url, applicationName: 'banyan', max: 8, timeouts }) }
  const ear = new Ear(url)
  return {
    store,
    ear,
    async [Symbol.asyncDispose]() {
      await ear[Symbol.asyncDispose]()
      await store.pool.end()
    },
  }
}

/**
 * Opens the project and its control database for one command. Throws what `openWiring` throws, CONTROL_AWAY, CONTROL_OLD,
 * CONTROL_LOST.
 */
export async function withControl<T>(
  context: Context,
  work: (opened: Opened) => Promise<T>,
): Promise<T> {
  return await withWiring(await openWiring(context.config), work)
}

/**
 * The same for what must work whatever state the files are in: where they are broken it goes by those that a controller
 * took up last. `say`: whether that is printed first.
 */
export async function withGoodFiles<T>(
  context: Context,
  work: (opened: Opened) => Promise<T>,
  say = true,
): Promise<T> {
  const { wiring, broken } = await openGoodWiring(context.config)
  if (broken && say && !context.json) context.write(brokenText(context, broken))
  return await withWiring(wiring, work)
}

async function withWiring<T>(wiring: Wiring, work: (opened: Opened) => Promise<T>): Promise<T> {
  await askControl(wiring.control)
  await using opened = openStore(wiring.control)
  const { store, ear } = opened
  await mustNotBeEmpty(store, wiring)
  return await work({ wiring, store, ear })
}

/** What is wrong with the files, for a command that goes on all the same. */
function brokenText(context: Context, { diagnostics }: FilesInvalid): string {
  const { colors } = paintOf(context)
  const lines = fit(context, [
    `${colors.yellow('!')} the files have problems; going by those that a controller took up last`,
    ...diagnostics.map(each => `  ${placed(each)}`),
  ])
  return `${lines.join('\n')}\n`
}

/** Throws CONTROL_AWAY where it doesn't answer, CONTROL_OLD where its schema isn't this version's. */
export async function askControl(url: string): Promise<void> {
  try {
    const applicationName = 'banyan'
    const client = await connect({ url, applicationName, connectTimeoutMs: CONNECT_MS })
    await client.end()
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new BanyanError(CONTROL_ERRORS.CONTROL_AWAY, [why], { cause })
  }
  const pending = await migrationsPending(url, controlMigrations())
  if (pending.length > 0) throw new BanyanError(CONTROL_ERRORS.CONTROL_OLD, [pending.length])
}

/** The slice as its file says, and as it stands. Throws SLICE_UNKNOWN. */
export async function findSlice(
  { wiring, store }: { readonly wiring: Pick<Wiring, 'project'>; readonly store: Store },
  name: string,
): Promise<{ slice: Slice; fact: SliceFact }> {
  const slices = wiring.project.slices
  const slice = slices.find(each => each.name === name)
  if (!slice) {
    const known = slices.map(each => each.name).join(', ') || 'none yet'
    throw new BanyanError(CONTROL_ERRORS.SLICE_UNKNOWN, [name, known])
  }
  const read = async () => (await readSlices(store.pool)).find(each => each.name === name)
  let fact = await read()
  if (!fact) {
    // No controller has seen this file yet: what it wants is written down for it.
    await wantSlices(store, wantedOf(wiring.project))
    fact = await read()
  }
  return { slice, fact: fact! }
}
