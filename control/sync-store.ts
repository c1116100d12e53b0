/** The workers' line to the control database (the port is sync/store.ts). */
import { crossingKeys, onDeleteOf } from '../model/crossings.ts'
import { formatLsn } from '../model/position.ts'
import { qualified, type Wiring } from '../model/wiring.ts'
import { connect } from '../postgres/connection.ts'
import { quote } from '../postgres/sql.ts'
import type { Cascade } from '../sync/apply/table.ts'
import type { StreamProgress } from '../sync/ports.ts'
import type { SyncStore } from '../sync/store.ts'
import { type KeyInDatabase, readForeignKeys, readLoosened } from './crossing-facts.ts'
import { endSilent, speak } from './silent.ts'
import { lost } from './remembered.ts'
import { recordCopied, recordReturned } from './store/abandoned.ts'
import { addCensus, listRefused, listRogue } from './store/findings.ts'
import { append } from './store/journal.ts'
import { readSlices } from './store/slices.ts'
import type { Store } from './store/store.ts'
import {
  CLAIM_CLASS,
  claimStream,
  forgetStream,
  readStreams,
  updateStream,
} from './store/streams.ts'
import { endVerification, openVerifications, outdateVerifications } from './store/verifications.ts'
import type pg from 'pg'

/** Progress is written this often for each stream: routers and `status` read it. */
const PROGRESS_MS = 40
/** How often a worker that waits for claims looks whether their holder is silent. */
const SILENT_LOOK_MS = 150
const SILENT_ENDED = 'silent worker ended'
/** After this long the databases have ended the sessions of a worker that stands still by themselves (wal_sender_timeout). */
const LEFT_OPEN_MS = 90_000

export function createSyncStore(store: Store, wiring: Wiring): SyncStore & AsyncDisposable {
  let claims: Promise<pg.Client> | undefined
  /** A write that is under way, or until when the next one waits. */
  const pending = new Map<string, NodeJS.Timeout | Promise<void>>()
  const latest = new Map<string, StreamProgress>()
  const seen = new Set<string>()
  const session = (): Promise<pg.Client> => {
    if (claims) return claims
    const gone = (): void => void (claims === opened && (claims = undefined))
    const opened = connect({ url: store.url, applicationName: 'banyan sync', onLost: gone })
    opened.then(client => speak(client, gone, () => alone(() => client.query('SELECT'))), gone)
    claims = opened
    return opened
  }
  let last: Promise<unknown> = Promise.resolve()
  /** The session takes one statement at a time. */
  const alone = <T>(work: () => Promise<T>): Promise<T> => {
    const next = last.then(work)
    last = next.catch(() => undefined)
    return next
  }
  let lookedAt = 0
  const claim = async (stream: string): Promise<boolean> => {
    const client = await session()
    if (await claimStream(client, stream)) return true
    if (performance.now() - lookedAt < SILENT_LOOK_MS) return false
    lookedAt = performance.now()
    if (await endSilent(client, { classId: CLAIM_CLASS }))
      await append(client, { actor: 'worker', slice: null, kind: SILENT_ENDED })
    return false
  }
  const write = (stream: string, slice: string | null): void => {
    const progress = latest.get(stream)
    if (!progress) return
    latest.delete(stream)
    const update = {
      position: formatLsn(progress.position),
      watermark: formatLsn(progress.watermark),
      lagMs: progress.lagMs,
    }
    const written = updateStream(store, stream, slice, update).catch(() => undefined)
    pending.set(stream, written)
    void written.finally(() => {
      pending.set(
        stream,
        setTimeout(() => {
          pending.delete(stream)
          write(stream, slice)
        }, PROGRESS_MS),
      )
    })
  }
  // While it has a file nobody takes a slice off the record: an empty database in its place says nothing of any stream.
  const stages = async () => {
    const known = new Map((await readSlices(store.pool)).map(({ name, stage }) => [name, stage]))
    const forgotten = [...seen].filter(name => !known.has(name))
    if (forgotten.length > 0) throw lost(forgotten)
    for (const { name } of wiring.project.slices) if (known.has(name)) seen.add(name)
    return known
  }
  return {
    stages,
    claim: stream => alone(() => claim(stream)),
    predecessorSilent: () => endedSilent(store),
    async state(stream, slice, state, detail = {}) {
      // What was said before must not be written after it: a stream that has failed would seem to have come further.
      latest.delete(stream)
      const under = pending.get(stream)
      if (under instanceof Promise) await under
      await updateStream(store, stream, slice, {
        state,
        rowsCopied: detail.copied,
        rowsTotal: detail.total,
        error: detail.problem ?? null,
      })
    },
    progress(stream, slice, progress) {
      latest.set(stream, progress)
      if (!pending.has(stream)) write(stream, slice)
    },
    async streaming(stream) {
      // One that begins anew empties its target.
      await stages()
      const row = (await readStreams(store)).find(each => each.name === stream)
      return row !== undefined && row.position !== null
    },
    known: async () => (await readStreams(store)).map(each => each.name),
    forget: stream => forgetStream(store, stream),
    rogue: (slice, side, writes) => listRogue(store, slice, side, writes),
    refused: (side, message) => listRefused(store, side, message),
    census: (slice, census) => void addCensus(store, slice, census).catch(() => undefined),
    verifications: slice => openVerifications(store, slice),
    verified: (id, result) => endVerification(store, id, result),
    outdate: (slice, why) =>
      outdateVerifications(store.pool, slice, {
        code: 'VERIFY_STALE',
        message: why,
        hint: `compare again: banyan verify ${slice}`,
      }),
    cascades: (database, tables) => cascades(wiring, database, tables),
    returned: (slice, closed) => recordReturned(store, slice, closed),
    copied: slice => recordCopied(store, slice),
    async [Symbol.asyncDispose]() {
      for (const timer of pending.values()) if (!(timer instanceof Promise)) clearTimeout(timer)
      await (await claims?.catch(() => undefined))?.end()
    },
  }
}

/** By whichever worker: another one may have got the stream. */
async function endedSilent(store: Store): Promise<boolean> {
  const { rowCount } = await store.pool.query(
    `SELECT 1 FROM banyan.journal WHERE kind = $1 AND at > clock_timestamp() - $2 * interval '1 ms' LIMIT 1`,
    [SILENT_ENDED, LEFT_OPEN_MS],
  )
  return (rowCount ?? 0) > 0
}

/** Keys whose child the stream doesn't carry: what they did on delete, apply does in their place. */
async function cascades(
  wiring: Wiring,
  database: string,
  tables: readonly string[],
): Promise<Map<string, Cascade[]>> {
  const urls = database === 'legacy' ? wiring.legacy : wiring.services[database]!
  const client = await connect({ url: urls.apply, applicationName: 'banyan sync' })
  const found = new Map<string, Cascade[]>()
  try {
    const keys = await readForeignKeys(client)
    if (database === 'legacy') keys.push(...(await readLoosened(client)))
    for (const key of keys) {
      const parent = qualified(key.parentTable)
      const child = qualified(key.table)
      if (!tables.includes(parent) || tables.includes(child)) continue
      const owner = wiring.project.slices.find(slice => owns(slice, database, child))
      const asking = wiring.project.slices.find(slice => owns(slice, database, parent))
      const crossing = asking && database === 'legacy' ? crossingKeys(asking, [key])[0] : undefined
      const onDelete = crossing
        ? onDeleteOf(asking!, crossing)
        : key.onDelete === 'cascade'
          ? 'cascade'
          : key.onDelete === 'set null'
            ? 'null'
            : 'keep'
      if (onDelete === 'keep') continue
      const list = found.get(parent) ?? []
      list.push({
        child,
        columns: key.columns,
        parentColumns: key.parentColumns,
        cut: cutColumns(key),
        onDelete,
        whileOpen: owner?.name,
      })
      found.set(parent, list)
    }
  } finally {
    await client.end()
  }
  return found
}

/** `ON DELETE SET NULL (…)` may name some of the key's columns (PostgreSQL 15). */
function cutColumns({ columns, definition }: KeyInDatabase): readonly string[] | undefined {
  const named = /ON DELETE SET NULL \((.*?)\)/.exec(definition)?.[1]?.split(', ')
  return named && columns.filter(name => named.includes(name) || named.includes(quote(name)))
}

function owns(
  slice: Wiring['project']['slices'][number],
  database: string,
  relation: string,
): boolean {
  if (database === 'legacy') return Object.keys(slice.tables).map(qualified).includes(relation)
  return (
    slice.service === database &&
    Object.values(slice.tables).some(({ to }) => qualified(to) === relation)
  )
}
