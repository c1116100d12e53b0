/** Legacy and a service as two databases with their roles and gates, and what they know of a slice as one line of text. */
import pg from 'pg'
import type { Test } from 'tap'
import { legacyMigrations } from '../../migrations/legacy/ownership.ts'
import { migrateUp } from '../../migrations/runner.ts'
import { serviceMigrations } from '../../migrations/service/ownership.ts'
import { must } from '../../model/errors.ts'
import { formatLsn, type System } from '../../model/position.ts'
import type { Side } from '../../model/stage.ts'
import { formatStream } from '../../model/stream.ts'
import { connect, systemOf } from '../../postgres/connection.ts'
import { acceptFingerprint, type Preparation, readGate } from '../../postgres/gate.ts'
import { installGate } from '../../postgres/gate-install.ts'
import { rolesSql } from '../../postgres/roles.ts'
import type { Settlement } from '../../postgres/settle.ts'
import { query, testCluster, type TestCluster } from '../support/cluster.ts'

const SERVICE = 'rooms'
const ROLES = { apply: 'banyan_apply', capture: 'banyan_capture' }
/** Where a stream stands in a line of text: at the marker of a fence, or behind it. */
const PLACES: Readonly<Record<string, string>> = { A: '0/1000', B: '0/2000' }

export interface SideHandle {
  readonly side: Side
  /** A superuser: arranges what the case begins with. */
  readonly root: pg.Client
  /** The apply role: the one that calls the protocol's functions. */
  readonly apply: pg.Client
  /** Another session of the apply role. */
  session(): Promise<pg.Client>
  /** A session of the application, the tables' owner. */
  app(): Promise<pg.Client>
  readonly setupUrl: string
  readonly applyUrl: string
  readonly captureUrl: string
  readonly rootUrl: string
}

export interface TestSlice {
  readonly name: string
  readonly number: number
  /** The first of its tables in legacy, with schema. */
  readonly table: string
}

/** What the application makes on each side, and which of it is the slice's: `schema.table`. */
export interface SliceTables {
  readonly ddl: Readonly<Record<Side, string>>
  readonly relations: Readonly<Record<Side, readonly string[]>>
}

export interface Sides {
  readonly cluster: TestCluster
  readonly legacy: SideHandle
  readonly service: SideHandle
  readonly system: System
  /**
   * A new slice: its gate open in legacy and closed in the service, in epoch 0. Without `tables`: one table of its own
   * name on both sides, `(id bigserial PRIMARY KEY, note text)`.
   */
  slice(tables?: SliceTables): Promise<TestSlice>
}

/** `settings`: of the cluster. Everything goes with the test. */
export async function gateSides(t: Test, settings: Record<string, string> = {}): Promise<Sides> {
  const cluster = await testCluster(t, { settings })
  await cluster.createRole('app')
  const legacy = await makeSide(t, cluster, 'legacy')
  const service = await makeSide(t, cluster, 'service')
  let slices = 0
  return {
    cluster,
    legacy,
    service,
    system: await systemOf(legacy.root),
    async slice(wanted) {
      const number = (slices += 1)
      const tables = wanted ?? plainTable(`public.t${number}`)
      const name = `s${number}`
      const slice = { name, number, table: must(tables.relations.legacy[0], 'a table in legacy') }
      for (const side of [legacy, service]) await putUp(cluster, side, slice, tables)
      return slice
    },
  }
}

function plainTable(name: string): SliceTables {
  const ddl = `CREATE TABLE ${name} (id bigserial PRIMARY KEY, note text)`
  return {
    ddl: { legacy: ddl, service: ddl },
    relations: { legacy: [name], service: [name] },
  }
}

async function makeSide(t: Test, cluster: TestCluster, side: Side): Promise<SideHandle> {
  const database = side === 'legacy' ? 'legacy' : SERVICE
  const rootUrl = await cluster.createDatabase(database, { owner: 'app' })
  const role = (name: string) => ({ name, password: 'secret' })
  const roles = {
    setup: role('banyan_setup'),
    apply: role(ROLES.apply),
    capture: role(ROLES.capture),
  }
  for (const statement of rolesSql({ database, owner: 'app', schema: 'public', ...roles })) {
    await query(rootUrl, statement)
  }
  const urlOf = (name: string) => `postgres://${name}:secret@127.0.0.1:${cluster.port}/${database}`
  const migrations = side === 'legacy' ? legacyMigrations(ROLES) : serviceMigrations(ROLES)
  await migrateUp(urlOf('banyan_setup'), migrations)
  const open = async (url: string, applicationName: string) => {
    const client = await connect({ url, applicationName })
    t.teardown(() => client.end().catch(() => undefined))
    return client
  }
  const session = () => open(urlOf(ROLES.apply), 'test apply')
  return {
    side,
    root: await open(rootUrl, 'test root'),
    apply: await session(),
    session,
    app: () => appSession(t, cluster.url(database, 'app')),
    setupUrl: urlOf('banyan_setup'),
    applyUrl: urlOf(ROLES.apply),
    captureUrl: urlOf(ROLES.capture),
    rootUrl,
  }
}

/** Not one of ours, so it isn't pinned. */
async function appSession(t: Test, connectionString: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString, application_name: 'clinic' })
  client.on('error', () => undefined)
  await client.connect()
  t.teardown(() => client.end().catch(() => undefined))
  return client
}

async function putUp(
  cluster: TestCluster,
  handle: SideHandle,
  slice: TestSlice,
  { ddl, relations }: SliceTables,
): Promise<void> {
  const { side } = handle
  await query(cluster.url(side === 'legacy' ? 'legacy' : SERVICE, 'app'), ddl[side])
  const setup = await connect({ url: handle.setupUrl, applicationName: 'test setup' })
  await installGate(setup, {
    slice: slice.name,
    number: slice.number,
    side,
    relations: relations[side],
    applyRole: ROLES.apply,
    goTo: side === 'legacy' ? 'the service' : 'legacy',
    publication: `banyan_${slice.name}`,
  })
  await setup.end()
  await acceptFingerprint(handle.apply, slice.name)
}

/** The stream whose target is `side`. */
export function streamInto(side: Side, slice: TestSlice): string {
  const [from, to] = side === 'service' ? ['legacy', SERVICE] : [SERVICE, 'legacy']
  return formatStream({ from: must(from, 'from'), to: must(to, 'to'), what: slice.name })
}

export function preparation(side: Side, slice: TestSlice, epoch: number): Preparation {
  const stream = streamInto(side, slice)
  return { slice: slice.name, epoch, stream, sequences: [], headroom: 100 }
}

/** As the apply role's sessions, with the preparation of a slice without sequences. */
export function settlementOf(
  slice: TestSlice,
  legacy: pg.Client,
  service: pg.Client | undefined,
): Settlement {
  return {
    slice: slice.name,
    legacy,
    service,
    preparation: async (epoch, newOwner) => preparation(newOwner, slice, epoch),
  }
}

/**
 * Makes a side know exactly this of a slice: its word, then its rows, as `closed 1, FENCED 1, REACHED 2@A, progress 0@A`.
 * A FENCED or REACHED may be `late` (its deadline has passed), `foreign` or `forked` (another system, another timeline).
 */
export async function put(
  { side, root }: SideHandle,
  slice: TestSlice,
  system: System,
  text: string,
): Promise<void> {
  const [word, ...rows] = text.split(', ')
  const [state, epoch] = must(word, 'word').split(' ')
  const stream = streamInto(side, slice)
  const name = slice.name
  await root.query(
    `SELECT setval('banyan.gate_${slice.number}', ${2 * Number(epoch) + (state === 'open' ? 1 : 0)});
     DELETE FROM banyan.fence WHERE slice = '${name}'; DELETE FROM banyan.evidence WHERE slice = '${name}';
     DELETE FROM banyan.decision WHERE slice = '${name}'; DELETE FROM banyan.progress WHERE stream = '${stream}'`,
  )
  for (const row of rows) {
    const [kind, what, ...marks] = row.split(' ')
    const [epochOf, place] = must(what, row).split('@')
    const position = place === undefined ? null : must(PLACES[place], place)
    const fence = fenceColumns(system, marks)
    if (kind === 'FENCED') {
      await root.query(
        `INSERT INTO banyan.fence (slice, epoch, id, deadline, legacy_identifier, legacy_timeline, service_identifier, service_timeline)
         VALUES ($1, $2, gen_random_uuid(), $3, $4, $5, $4, $5)`,
        [name, epochOf, fence.deadline, fence.legacy_identifier, fence.legacy_timeline],
      )
    } else if (kind === 'progress') {
      await root.query(
        'INSERT INTO banyan.progress (stream, epoch, worker, position) VALUES ($1, $2, gen_random_uuid(), $3)',
        [stream, epochOf, position],
      )
    } else if (kind === 'PROMOTED' || kind === 'ABORTED') {
      await root.query('INSERT INTO banyan.decision (slice, epoch, verdict) VALUES ($1, $2, $3)', [
        name,
        epochOf,
        kind,
      ])
    } else {
      const detail = kind === 'REACHED' ? JSON.stringify(fence) : '{}'
      await root.query(
        'INSERT INTO banyan.evidence (slice, epoch, kind, position, detail) VALUES ($1, $2, $3, $4, $5)',
        [name, epochOf, kind, position, detail],
      )
    }
  }
}

/** As the stream brings a fence row: text. */
function fenceColumns(system: System, marks: readonly string[]): Record<string, string> {
  return {
    deadline: marks.includes('late') ? '2020-01-01 00:00:00+00' : '2100-01-01 00:00:00+00',
    legacy_identifier: marks.includes('foreign') ? '42' : system.identifier,
    legacy_timeline: String(system.timeline + (marks.includes('forked') ? 1 : 0)),
  }
}

/** What a side knows of a slice, in the order that `known` gives such a text. */
export async function read({ side, root }: SideHandle, slice: TestSlice): Promise<string> {
  const gate = must(await readGate(root, slice.name), slice.name)
  const progress = await root.query<{ epoch: string; position: string }>(
    'SELECT epoch::text, position::text FROM banyan.progress WHERE stream = $1',
    [streamInto(side, slice)],
  )
  const at = (position: string) =>
    Object.keys(PLACES).find(place => PLACES[place] === position) ?? position
  return known(
    [
      `${gate.open ? 'open' : 'closed'} ${gate.epoch}`,
      ...gate.fences.map(row => `FENCED ${row.epoch}`),
      ...gate.evidence.map(({ kind, epoch, position }) =>
        position === null ? `${kind} ${epoch}` : `${kind} ${epoch}@${at(formatLsn(position))}`,
      ),
      ...gate.decisions.map(row => `${row.verdict} ${row.epoch}`),
      ...progress.rows.map(row => `progress ${row.epoch}@${at(row.position)}`),
    ].join(', '),
  )
}

/** The same knowledge as the same text: the word first, the rows sorted, without the marks of fences. */
export function known(text: string): string {
  const [word, ...rows] = text.split(', ')
  const plain = rows.map(row => row.replace(/ (late|foreign|forked)$/, '')).sort()
  return [word, ...plain].join(', ')
}

/** What came of a call: what it answered, or the code of its error. */
export async function outcome(call: Promise<unknown>): Promise<string> {
  return call.then(
    answer => (typeof answer === 'string' ? answer : 'done'),
    (error: unknown) => (error as { code?: string }).code ?? String(error),
  )
}
