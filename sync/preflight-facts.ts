/** Reads what preflight judges: both databases, each as the two roles that will work there. */
import type pg from 'pg'
import type { TableRenames } from '../model/mapping.ts'
import { type Catalog, readCatalog, readTableNames } from '../postgres/catalog.ts'
import { probe, type ServerFacts } from '../postgres/probes.ts'

export interface RoleView {
  /** `server.role` is the role that looked. */
  readonly server: ServerFacts
  readonly catalog: Catalog
  /** All tables of the database; read only where one that was asked for is missing. */
  readonly known: readonly string[]
}

/** A session's view of these tables (`schema.table`). */
export async function readView(
  client: pg.ClientBase,
  tables: readonly string[],
): Promise<RoleView> {
  const server = await probe(client)
  const catalog = await readCatalog(client, tables)
  const known = catalog.size < new Set(tables).size ? await readTableNames(client) : []
  return { server, catalog, known }
}

export interface SideFacts {
  /** How messages name the database: `legacy`, or a service's name. */
  readonly name: string
  /** Host and port, or the URL: for what is wrong with the server. */
  readonly where: string
  readonly capture: RoleView
  readonly apply: RoleView
}

export interface PreflightFacts {
  readonly source: SideFacts
  readonly target: SideFacts
  readonly tables: readonly TableRenames[]
  /** `back`: a reverse stream will run as well (not for read copies). */
  readonly direction: 'forward' | 'back'
  /** The publications of partitioned tables carry publish_via_partition_root. */
  readonly viaRoot: boolean
}

export interface SideSessions {
  readonly name: string
  readonly where: string
  /** Pinned sessions (`connect`). */
  readonly capture: pg.ClientBase
  readonly apply: pg.ClientBase
}

/** Reads only; four catalogs and four probes. */
export async function readPreflight(
  wanted: Omit<PreflightFacts, 'source' | 'target'> & {
    readonly source: SideSessions
    readonly target: SideSessions
  },
): Promise<PreflightFacts> {
  const { tables } = wanted
  const names = { source: tables.map(each => each.table), target: tables.map(each => each.to) }
  const source = await readSide(wanted.source, names.source)
  return { ...wanted, source, target: await readSide(wanted.target, names.target) }
}

async function readSide(side: SideSessions, tables: readonly string[]): Promise<SideFacts> {
  const capture = await readView(side.capture, tables)
  const apply = await readView(side.apply, tables)
  return { name: side.name, where: side.where, capture, apply }
}
