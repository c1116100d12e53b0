/** What `banyan plan` measures in the two databases of a slice; one that is away leaves its figures out. Reads only. */
import type pg from 'pg'
import { type KeyInDatabase, readForeignKeys, readLoosened } from '../control/crossing-facts.ts'
import { nextEpoch, settlementOf } from '../control/cutover-runner.ts'
import { readSlices, type SliceFact } from '../control/store/slices.ts'
import { crossingKeys, type ForeignKeyFact, unenforcedKeys } from '../model/crossings.ts'
import type { Slice } from '../model/project.ts'
import { foreignKeyName } from '../model/slice-file.ts'
import { movesOwner, type Stage, STAGES } from '../model/stage.ts'
import { qualified } from '../model/wiring.ts'
import { readGate, writersOf } from '../postgres/gate.ts'
import { timeText } from './amounts.ts'
import { type Asked, problemOf } from './checks-now.ts'
import type { Problem } from './context.ts'
import { unenforcedText } from './orphans-text.ts'

export interface InDatabases {
  /** Null: not asked, or the database is away. */
  readonly epoch: { readonly now: number; readonly next: number } | null
  readonly openWriters: readonly string[] | null
  readonly sequences: readonly string[] | null
  /** Keys of legacy that the flip drops (on the way to the service) or puts back (on the way home). */
  readonly keys:
    | readonly {
        readonly key: string
        readonly name: string
        readonly table: string
        /** An earlier try has dropped it already. */
        readonly dropped: boolean
      }[]
    | null
  /** Keys of legacy that stay there and refuse no delete of the service, in words; null on the way home too. */
  readonly unenforced: readonly string[] | null
  /** By the planner's estimate; `rows` null where it has none. */
  readonly sizes: readonly { table: string; rows: number | null; bytes: number }[] | null
  /** Databases that don't answer, each with its coded error. */
  readonly away: readonly Problem[]
}

export const NOTHING: InDatabases = {
  epoch: null,
  openWriters: null,
  sequences: null,
  keys: null,
  unenforced: null,
  sizes: null,
  away: [],
}

export async function readDatabases(
  asked: Asked,
  slice: Slice,
  fact: Pick<SliceFact, 'stage' | 'epoch'>,
  to: Stage,
): Promise<InDatabases> {
  const { databases } = asked
  const away: Problem[] = []
  const opened = async (session: Promise<pg.Client>): Promise<pg.Client | undefined> => {
    try {
      return await session
    } catch (error) {
      away.push(problemOf(error))
      return undefined
    }
  }
  const [legacy, service] = await Promise.all([
    opened(databases.legacy(slice.name)),
    opened(databases.service(slice)),
  ])
  const known = async <T>(ask: Promise<T> | undefined): Promise<T | null> => {
    try {
      return (await ask) ?? null
    } catch (error) {
      away.push(problemOf(error))
      return null
    }
  }
  if (!movesOwner(fact.stage, to)) {
    const copies = fact.stage === 'legacy' && to !== 'legacy'
    const sizes = await known(copies && legacy ? sizesOf(legacy, slice) : undefined)
    return { ...NOTHING, sizes, away }
  }
  const forward = STAGES[to].owner === 'service'
  const roles = databases.applyRoles(slice)
  const [old, role] = forward ? [legacy, roles.legacy] : [service, roles.service]
  const both = legacy && service ? { legacy, service } : undefined
  return {
    openWriters: await known(old && openWriters(old, slice, role)),
    epoch: await known(both && epochOf(both, slice, fact, forward)),
    sequences: await known(both && sequencesOf(asked, slice, both, forward)),
    keys: await known(
      legacy && (forward ? keysDropped(legacy, slice) : keysRestored(asked, legacy, slice)),
    ),
    unenforced: await known(legacy && forward ? unenforcedIn(legacy, slice) : undefined),
    sizes: null,
    away,
  }
}

/** Without what they run: a statement holds values. */
async function openWriters(client: pg.Client, slice: Slice, role: string): Promise<string[]> {
  const writers = await writersOf(client, slice.name, role)
  return writers.map(about => {
    const known = /^pid (\d+), (.*) as (.*?), transaction open for (.*?): /s.exec(about)
    if (!known) return about.replace(/: [\s\S]*$/, '')
    const [, pid, application, role, open = ''] = known
    const who = application === '' ? `role ${role}` : `${application} (role ${role})`
    return `${who}, pid ${pid}${forText(open)}`
  })
}

/** An interval as PostgreSQL prints it: `1 day 02:03:04.5`; empty where the transaction has just ended. */
function forText(interval: string): string {
  const parts = /^(?:(\d+) days? )?(\d+):(\d+):([\d.]+)$/.exec(interval)
  if (!parts) return ''
  const [days, hours, minutes, seconds] = parts.slice(1).map(each => Number(each ?? 0))
  return `, for ${timeText((((days! * 24 + hours!) * 60 + minutes!) * 60 + seconds!) * 1000)}`
}

interface Both {
  readonly legacy: pg.Client
  readonly service: pg.Client
}

async function epochOf(
  { legacy, service }: Both,
  slice: Slice,
  fact: Pick<SliceFact, 'epoch'>,
  forward: boolean,
): Promise<{ now: number; next: number }> {
  const gates = [await readGate(legacy, slice.name), await readGate(service, slice.name)] as const
  const now = (forward ? gates[0] : gates[1])?.epoch ?? fact.epoch
  return { now, next: nextEpoch(fact.epoch, ...gates) }
}

async function sequencesOf(
  { wiring }: Asked,
  slice: Slice,
  both: Both,
  forward: boolean,
): Promise<string[]> {
  const settlement = settlementOf(slice, both, wiring.project.banyan.limits.sequenceHeadroom)
  const { sequences } = await settlement.preparation(0, forward ? 'service' : 'legacy')
  return sequences.map(each => each.sequence)
}

/** Those that the flip drops before its hold, and those that an earlier try has dropped. */
async function keysDropped(legacy: pg.Client, slice: Slice): Promise<InDatabases['keys']> {
  const loosened = await readLoosened(legacy)
  const there = await readForeignKeys(legacy)
  const both = [...there, ...loosened.filter(key => !there.some(each => same(each, key)))]
  return crossingKeys(slice, both)
    .filter(({ key }) => ['loose', 'copy'].includes(slice.foreignKeys[key]?.answer ?? ''))
    .map(({ key, fact }) => ({
      ...{ key, name: fact.name, table: fact.table },
      dropped: !there.some(each => same(each, fact)),
    }))
}

async function unenforcedIn(legacy: pg.Client, slice: Slice): Promise<string[]> {
  const found = unenforcedKeys(slice, await readForeignKeys(legacy))
  return found.map(each => unenforcedText(each, slice.service))
}

function same(a: ForeignKeyFact, b: ForeignKeyFact): boolean {
  return a.table === b.table && a.name === b.name
}

/** Those that no other moved slice needs loose. */
async function keysRestored(
  { store, wiring }: Asked,
  legacy: pg.Client,
  slice: Slice,
): Promise<InDatabases['keys']> {
  const facts = await readSlices(store.pool)
  const away = wiring.project.slices.filter(each => {
    const stage = facts.find(fact => fact.name === each.name)?.stage ?? 'legacy'
    return each.name !== slice.name && STAGES[stage].owner === 'service'
  })
  const needed = (key: KeyInDatabase): boolean =>
    away.some(each => crossingKeys(each, [key]).length > 0)
  return (await readLoosened(legacy))
    .filter(key => !needed(key))
    .map(key => ({ key: foreignKeyName(key), name: key.name, table: key.table, dropped: true }))
}

async function sizesOf(legacy: pg.Client, slice: Slice): Promise<InDatabases['sizes']> {
  const tables = Object.keys(slice.tables)
  const { rows } = await legacy.query<{ table: string; rows: number | null; bytes: number }>(
    `SELECT t.name AS table, nullif(greatest(c.reltuples, -1), -1)::float8 AS rows,
       pg_catalog.pg_table_size(c.oid)::float8 AS bytes
     FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS t (name, relation, n)
     JOIN pg_catalog.pg_class c ON c.oid = pg_catalog.to_regclass(t.relation) ORDER BY t.n`,
    [tables, tables.map(qualified)],
  )
  return rows
}
