/**
 * Does the control database know what legacy knows? One that was lost and made anew, or restored from before a flip, would
 * have every slice where it is no longer: whoever acts on it asks here first.
 */
import type pg from 'pg'
import { BanyanError } from '../model/errors.ts'
import { CONTROL_ERRORS } from '../model/errors-control.ts'
import type { Project } from '../model/project.ts'
import type { Wiring } from '../model/wiring.ts'
import { connect } from '../postgres/connection.ts'
import { hasTables } from './in-databases.ts'
import type { Store } from './store/store.ts'

const CONNECT_MS = 3_000

interface Memory {
  readonly name: string
  /** It was moved, or asked to, by this control database; or rebuilt in it. */
  readonly known: boolean
  /** The highest epoch that was issued here. */
  readonly epoch: number
}

/**
 * Throws CONTROL_LOST where legacy knows a slice of the files that the control database doesn't, or has decided an epoch
 * that was never issued here; and what `connect` throws where nothing is known here and legacy can't be asked.
 */
export async function mustRemember(
  store: Store,
  wiring: Pick<Wiring, 'legacy'> & { readonly project: Pick<Project, 'slices'> },
): Promise<void> {
  const memories = await readMemories(store, wiring.project)
  if (memories.length === 0) return
  let legacy: pg.Client
  try {
    legacy = await ask(wiring.legacy.apply)
  } catch (error) {
    if (memories.some(each => each.known)) return
    throw error
  }
  try {
    const forgotten = await compare(legacy, memories)
    if (forgotten.length > 0) throw lost(forgotten)
  } finally {
    await legacy.end()
  }
}

/** The same for a command that only asks: a control database that knows any slice is believed, and legacy may be away. */
export async function mustNotBeEmpty(
  store: Store,
  wiring: Parameters<typeof mustRemember>[1],
): Promise<void> {
  const memories = await readMemories(store, wiring.project)
  if (memories.some(each => each.known)) return
  await mustRemember(store, wiring).catch((error: unknown) => {
    if (error instanceof BanyanError && error.code === CONTROL_ERRORS.CONTROL_LOST.code) throw error
  })
}

/** `slices`: what was forgotten, in words. */
export function lost(slices: readonly string[]): BanyanError {
  return new BanyanError(CONTROL_ERRORS.CONTROL_LOST, [slices.join(', ')])
}

/** Of the slices that leave a trace in the databases. */
async function readMemories(store: Store, project: Pick<Project, 'slices'>): Promise<Memory[]> {
  const names = project.slices
    .filter(slice => Object.keys(slice.tables).length > 0)
    .map(slice => slice.name)
  const { rows } = await store.pool.query<Memory>(
    `SELECT n.name, coalesce(s.stage <> 'legacy' OR s.epoch > 0, false)
       OR EXISTS (SELECT 1 FROM banyan.journal j WHERE j.slice = n.name) AS known,
       greatest(s.epoch, (SELECT max(f.epoch) FROM banyan.flip f WHERE f.slice = n.name), 0)::int AS epoch
     FROM unnest($1::text[]) n (name) LEFT JOIN banyan.slice s USING (name)`,
    [names],
  )
  return rows
}

async function compare(legacy: pg.Client, memories: readonly Memory[]): Promise<string[]> {
  if (!(await hasTables(legacy))) return []
  const { rows } = await legacy.query<{ name: string; epoch: number }>(
    `SELECT s.name, coalesce((SELECT max(d.epoch) FROM banyan.decision d WHERE d.slice = s.name), 0)::int AS epoch
     FROM banyan.slice s ORDER BY s.name`,
  )
  return rows.flatMap(({ name, epoch }) => {
    const memory = memories.find(each => each.name === name)
    if (!memory || (memory.known && epoch <= memory.epoch)) return []
    return [memory.known ? `${name} (epoch ${epoch} there, ${memory.epoch} here)` : name]
  })
}

function ask(url: string): Promise<pg.Client> {
  const applicationName = 'banyan'
  return connect({ url, applicationName, connectTimeoutMs: CONNECT_MS })
}
