/** Verifies a slice while both sides change: two snapshots of one position, the target's taken where the stream stands still for a moment. */
import type pg from 'pg'
import { Closers } from '../../model/closers.ts'
import { type Lsn, LSN_ZERO } from '../../model/position.ts'
import type { DatabaseUrls } from '../../model/wiring.ts'
import { connect } from '../../postgres/connection.ts'
import { explain } from '../../postgres/explain.ts'
import { createSlotWithSnapshot, dropSlot } from '../../postgres/slot.ts'
import { literal } from '../../postgres/sql.ts'
import { compareTable, type TableResult } from './full.ts'
import type { ComparedTable } from './table.ts'
import { writersOver } from './writers.ts'

/** Where the applier stops between two transactions: everything that committed before `at` is applied, nothing later. */
export interface Barrier {
  readonly at: Lsn
  readonly reached: () => Promise<void>
}

export interface VerifyOptions {
  readonly sides: { readonly source: DatabaseUrls; readonly target: DatabaseUrls }
  readonly tables: readonly ComparedTable[]
  /** A slot that lives as long as the source's snapshot is taken. */
  readonly slot: string
  readonly signal: AbortSignal
  /** Called while the applier stands at the position that is compared. */
  readonly atPosition: () => void
  /** Gives the applier its barrier, or takes it away. */
  readonly set: (barrier: Barrier | undefined) => void
}

/** The slot of a stream's verifications. */
export function verificationSlot(slot: string): string {
  return `${slot}_verify`
}

/** How long the slot may be in the way of its own end, milliseconds. */
const DROP_MS = 10_000

/** How long the stream stands still for the slot: a transaction that began meanwhile is in its way. */
const PIN_MS = 1_000
/** Where such transactions overlap all the time, no shorter stop would ever do. */
const PIN_MAX_MS = 8_000

const BEGIN = 'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY'

export async function verifySlice(
  options: VerifyOptions,
): Promise<
  { tables: TableResult[]; ms: number } | { error: { code: string; message: string; hint: string } }
> {
  const started = performance.now()
  const { sides, signal } = options
  const url = sides.source.capture
  await using opened = new Closers()
  try {
    const session = async (at: string) => {
      const client = await connect({
        url: at,
        applicationName: 'banyan verify',
        rawText: true,
        signal,
      })
      opened.defer(() => client.end().catch(() => undefined))
      return client
    }
    const source = await session(sides.source.capture)
    const target = await session(sides.target.capture)
    // However it ends: a slot that nobody reads holds the source's WAL for ever.
    const dropped = () =>
      dropSlot({ url, slot: options.slot, signal: AbortSignal.timeout(DROP_MS) })
    await dropped()
    opened.defer(dropped)
    for (let limitMs = PIN_MS; ; limitMs = Math.min(2 * limitMs, PIN_MAX_MS)) {
      await writersOver(source, signal)
      const snapshots = await takeSnapshots(options, { source, target, limitMs })
      await dropped()
      if (snapshots) break
    }
    const tables: TableResult[] = []
    for (const table of options.tables) tables.push(await compareTable(source, target, table))
    return { tables, ms: performance.now() - started }
  } catch (error) {
    options.set(undefined)
    const { message } = explain(error)
    return {
      error: { code: 'VERIFY_FAILED', message, hint: 'run it again: banyan verify <slice>' },
    }
  }
}

/**
 * Both snapshots, of one position; false where the slot wasn't there within the limit. The stream stands still first: were
 * it running, it could be past the position before anybody knows it.
 */
async function takeSnapshots(
  options: VerifyOptions,
  { source, target, limitMs }: { source: pg.Client; target: pg.Client; limitMs: number },
): Promise<boolean> {
  const stopped = await stop(options, LSN_ZERO, async () => {
    const at = await pinSource(options, source, limitMs)
    if (at === undefined) return undefined
    // Here, while it stands: let go it would run past the position.
    const done = stop(options, at, async () => {
      await target.query(BEGIN)
      await target.query('SELECT count(*) FROM pg_catalog.pg_class') // takes the snapshot
      options.atPosition()
    })
    // Awaited only once the applier goes on; until then an abort is nobody's rejection.
    done.catch(() => undefined)
    return { done }
  })
  await stopped?.done
  return stopped !== undefined
}

/** The position of the source's snapshot; undefined where somebody's transaction kept the slot from being made in time. */
async function pinSource(
  { sides, slot, signal }: VerifyOptions,
  source: pg.Client,
  limitMs: number,
): Promise<Lsn | undefined> {
  const late = AbortSignal.timeout(limitMs)
  try {
    const { capture: url } = sides.source
    const pin = await createSlotWithSnapshot({ url, slot, signal: AbortSignal.any([signal, late]) })
    await source.query(BEGIN)
    await source.query(`SET TRANSACTION SNAPSHOT ${literal(pin.snapshot)}`)
    await source.query('SELECT 1')
    await pin.release()
    return pin.consistentPoint
  } catch (error) {
    if (error === late.reason && !signal.aborted) return undefined
    throw error
  }
}

/** Lets the applier come to `at`, and does `work` while it stands there. Rejects when the signal aborts, before or after. */
function stop<T>(options: VerifyOptions, at: Lsn, work: () => Promise<T>): Promise<T> {
  const { signal, set } = options
  return new Promise((resolve, reject) => {
    const abort = () => reject(new Error('the stream ended'))
    if (signal.aborted) return abort()
    signal.addEventListener('abort', abort, { once: true })
    set({
      at,
      async reached() {
        // Taken away first: whoever waits for `work` may set the next stop before the applier goes on.
        set(undefined)
        await work().then(resolve, reject)
        signal.removeEventListener('abort', abort)
      },
    })
  })
}
