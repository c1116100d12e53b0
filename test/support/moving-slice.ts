/** A small monolith and service on real clusters, with controller and worker at work: a slice that can really move. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import pg from 'pg'
import type { Test } from 'tap'
import { runController } from '../../control/controller.ts'
import { settlementOf } from '../../control/cutover-runner.ts'
import { RouterLink } from '../../control/router-link.ts'
import { Ear, type Store } from '../../control/store/store.ts'
import { createSyncStore } from '../../control/sync-store.ts'
import { must } from '../../model/errors.ts'
import type { Orders } from '../../model/orders.ts'
import { loadProject } from '../../model/project.ts'
import type { WantedStage } from '../../model/slice-file.ts'
import type { Wiring } from '../../model/wiring.ts'
import type { StreamContext } from '../../sync/stream-run.ts'
import { runWorker } from '../../sync/worker.ts'
import { query, testCluster, type TestCluster } from './cluster.ts'
import { type Part, partOf } from './part.ts'
import { controlDatabase, threeRoles } from './three-roles.ts'

const LEGACY_SQL = `
  CREATE TABLE doctors (id bigint PRIMARY KEY, name text NOT NULL);
  CREATE TABLE visits (id bigserial PRIMARY KEY, op uuid NOT NULL, doctor_id bigint NOT NULL REFERENCES doctors,
    note text, version int NOT NULL DEFAULT 1);
  CREATE TABLE seats (room int, at text, taken int NOT NULL DEFAULT 0, PRIMARY KEY (room, at));
  CREATE TABLE bills (id bigserial PRIMARY KEY, visit_id bigint REFERENCES visits, amount numeric(10,2));
  INSERT INTO doctors SELECT g, 'doctor ' || g FROM generate_series(1, 20) g;
  INSERT INTO visits (op, doctor_id, note) SELECT gen_random_uuid(), 1 + g % 20, repeat('x', g % 50) FROM generate_series(1, 2000) g;
  INSERT INTO seats SELECT r, 'h' || h, 0 FROM generate_series(1, 5) r, generate_series(1, 5) h;`

const SERVICE_SQL = `
  CREATE TABLE doctors (id bigint PRIMARY KEY, name text NOT NULL);
  CREATE TABLE visit (id bigserial PRIMARY KEY, op uuid NOT NULL, physician_id bigint NOT NULL REFERENCES doctors,
    note text, version int NOT NULL DEFAULT 1);
  CREATE TABLE seats (room int, at text, taken int NOT NULL DEFAULT 0, PRIMARY KEY (room, at));`

export interface MovingSlice {
  readonly store: Store
  readonly ear: Ear
  readonly wiring: Wiring
  /** Superuser URLs. */
  readonly legacy: string
  readonly service: string
  /** Of both databases, to stop and start again. */
  readonly clusters: { readonly legacy: TestCluster; readonly service: TestCluster }
  /** The application's own sessions, by side. */
  readonly legacyApp: pg.Pool
  readonly serviceApp: pg.Pool
  /** Writes the stage into the slice's file, as `banyan flip` does. */
  readonly want: (stage: WantedStage) => void
  readonly worker: Part
  readonly controller: Part
  /** The control database dies with its cluster. An empty cluster takes its place, with the database or without. */
  readonly loseControl: (options: { readonly database: boolean }) => Promise<void>
  /** Ends controller, worker, and whatever else has a session in the control database. Safe to repeat. */
  readonly stop: () => Promise<void>
}

export async function movingSlice(
  t: Test,
  options: {
    delayMs?: number
    settings?: Readonly<Record<string, string>>
    /** Lines of `limits:` in banyan.yaml. */
    limits?: string
    /** More of `cutover:` in the slice's file. */
    cutover?: string
    /** The control database has a cluster of its own. */
    ownControl?: boolean
    /** Changes slices/visits.yaml. */
    slice?: (text: string) => string
    /** `services.rooms.copies` in banyan.yaml. */
    copies?: readonly string[]
    /** When the application's tables are there, and nothing of Banyan's but the control database's role. */
    made?: (url: string, side: 'legacy' | 'service') => Promise<unknown>
  } = {},
): Promise<MovingSlice> {
  const { settings = {} } = options
  const cluster = () => testCluster(t, { settings })
  const [legacyCluster, serviceCluster] = [await cluster(), await cluster()]
  const health = createServer((_, response) => response.end('ok'))
  await new Promise<void>(resolve => health.listen(0, '127.0.0.1', resolve))
  t.teardown(() => health.close())
  let controlCluster = options.ownControl ? await testCluster(t) : legacyCluster
  const controlUrl = await controlDatabase(controlCluster)
  const side = async (cluster: typeof legacyCluster, database: string, sql: string) => {
    await cluster.createRole('app')
    await cluster.createDatabase(database, { owner: 'app' })
    await query(cluster.url(database, 'app'), sql)
    await options.made?.(cluster.url(database), database === 'legacy' ? 'legacy' : 'service')
    const urls = await threeRoles(cluster, database, 'app')
    const app = new pg.Pool({ connectionString: cluster.url(database, 'app'), max: 8 })
    app.on('error', () => undefined)
    t.teardown(() => app.end())
    return { urls, app, url: cluster.url(database) }
  }
  const legacy = await side(legacyCluster, 'legacy', LEGACY_SQL)
  const service = await side(serviceCluster, 'rooms', SERVICE_SQL)
  const url = `http://127.0.0.1:${(health.address() as AddressInfo).port}`
  const loaded = loadProject({
    banyan: {
      file: 'banyan.yaml',
      text: `version: 1
legacy: { url: ${url}, database: env:A }
services: { rooms: { url: ${url}, database: env:B, copies: [${(options.copies ?? ['doctors']).join(', ')}] } }
limits: { ${options.limits ?? ''} }
`,
    },
    slices: [
      {
        file: 'slices/visits.yaml',
        text: (options.slice ?? (text => text))(`service: rooms
stage: legacy
routes: ['* /visits/**']
tables:
  visits: { to: visit, columns: { doctor_id: physician_id } }
  seats: true
foreignKeys: { visits.doctor_id: copy, bills.visit_id: loose }
cutover: { quietMs: 20ms ${options.cutover ?? ''} }
`),
      },
    ],
  })
  const wiring: Wiring = {
    project: must(loaded.project, JSON.stringify(loaded.diagnostics)),
    sources: loaded.sources,
    legacy: legacy.urls,
    services: { rooms: service.urls },
    control: controlUrl,
    configPath: 'banyan.yaml',
  }
  const store: Store = {
    url: controlUrl,
    pool: new pg.Pool({ connectionString: controlUrl, max: 8 }),
  }
  store.pool.on('error', () => undefined)
  const ear = new Ear(controlUrl)
  let wanted: WantedStage = 'legacy'
  const log = {
    info: () => undefined,
    warn: (fields: object, phrase: string) => {
      t.comment(phrase, fields)
    },
  }
  const worker = partOf(async signal => {
    await using syncStore = createSyncStore(store, wiring)
    const settlement = (...[task, sessions]: Parameters<StreamContext['settlement']>) =>
      settlementOf(must(task.slice, 'slice'), sessions, 1000)
    const delayMs = options.delayMs ?? 0
    await runWorker({ wiring, store: syncStore, log, delayMs, settlement }, signal)
  })
  const controller = partOf(signal =>
    runController({
      ...{ store, ear, wiring, log, signal },
      load: async () => ({ wiring: wanting(wiring, wanted), diagnostics: [] }),
      now: () => performance.now(),
      standby: true,
    }),
  )
  worker.start()
  controller.start()
  let stopping: Promise<void> | undefined
  const end = async (): Promise<void> => {
    await Promise.all([worker.stop(), controller.stop()])
    await ear[Symbol.asyncDispose]()
    await store.pool.end()
  }
  const stopAll = () => (stopping ??= end())
  t.teardown(stopAll)
  return {
    store,
    ear,
    wiring,
    legacy: legacy.url,
    service: service.url,
    clusters: { legacy: legacyCluster, service: serviceCluster },
    legacyApp: legacy.app,
    serviceApp: service.app,
    want: stage => (wanted = stage),
    worker,
    controller,
    async loseControl({ database }) {
      const { port } = controlCluster
      await controlCluster.stop('immediate')
      controlCluster = await testCluster(t, { port })
      if (database) await controlDatabase(controlCluster, { migrated: false })
      else await controlCluster.createRole('control', { traits: 'CREATEDB', password: 'secret' })
    },
    stop: stopAll,
  }
}

function wanting(wiring: Wiring, stage: WantedStage): Wiring {
  const slices = wiring.project.slices.map(slice => ({ ...slice, stage }))
  return { ...wiring, project: { ...wiring.project, slices } }
}

/** From one write of a client to its next: enough are under way at any moment, and the machine has other work. */
const WRITE_MS = 20

/** Clients and their router in one: writes go to the owner that the newest orders name; a hold is obeyed and drained. */
export class Clients {
  readonly #moving: MovingSlice
  readonly #stop = new AbortController()
  readonly #link: RouterLink
  #orders: Orders | undefined
  #underWay = 0
  #wake: (() => void)[] = []
  readonly told: { op: string }[] = []
  readonly failed: string[] = []
  taken = 0
  readonly #done: Promise<unknown>

  constructor(t: Test, moving: MovingSlice, writers: number) {
    this.#moving = moving
    this.#link = new RouterLink({ store: moving.store, ear: moving.ear, address: () => 'test' })
    this.#done = Promise.all([
      this.#follow(),
      this.#beat(),
      ...Array.from({ length: writers }, (_, n) => this.#write(n)),
    ])
    t.teardown(() => this.stop())
  }

  async stop(): Promise<void> {
    if (this.#stop.signal.aborted) return
    this.#stop.abort()
    for (const wake of this.#wake) wake()
    await this.#done
    await this.#link[Symbol.asyncDispose]()
  }

  async #follow(): Promise<void> {
    for await (const orders of this.#link.orders(this.#stop.signal)) {
      this.#orders = orders
      if (!orders.slices[0]?.hold) for (const wake of this.#wake.splice(0)) wake()
      await this.#ack()
    }
  }

  async #ack(): Promise<void> {
    const hold = this.#orders?.slices[0]?.hold
    const drained = hold && this.#underWay === 0 ? [{ slice: 'visits', epoch: hold.epoch }] : []
    await this.#link
      .ack({ version: this.#orders?.version ?? 0, drained, waiting: [] })
      .catch(() => undefined)
  }

  async #beat(): Promise<void> {
    const { setTimeout: wait } = await import('node:timers/promises')
    while (!this.#stop.signal.aborted) {
      await this.#ack()
      await wait(500, undefined, { signal: this.#stop.signal }).catch(() => undefined)
    }
  }

  async #write(n: number): Promise<void> {
    const { setTimeout: wait } = await import('node:timers/promises')
    while (!this.#stop.signal.aborted) {
      const slice = this.#orders?.slices[0]
      if (!slice || slice.hold) {
        await new Promise<void>(resolve => this.#wake.push(resolve))
        continue
      }
      this.#underWay += 1
      try {
        await this.#operation(slice.owner === 'service', n)
      } catch (error) {
        this.failed.push((error as Error).message)
      } finally {
        this.#underWay -= 1
        if (this.#underWay === 0 && this.#orders?.slices[0]?.hold) await this.#ack()
      }
      await wait(WRITE_MS, undefined, { signal: this.#stop.signal }).catch(() => undefined)
    }
  }

  async #operation(atService: boolean, n: number): Promise<void> {
    const client = await (atService ? this.#moving.serviceApp : this.#moving.legacyApp).connect()
    try {
      const op = crypto.randomUUID()
      const [table, doctor] = atService ? ['visit', 'physician_id'] : ['visits', 'doctor_id']
      await client.query('BEGIN')
      await client.query(`INSERT INTO ${table} (op, ${doctor}, note) VALUES ($1, $2, $3)`, [
        op,
        1 + (n % 20),
        'new',
      ])
      await client.query('UPDATE seats SET taken = taken + 1 WHERE room = $1 AND at = $2', [
        1 + (n % 5),
        'h1',
      ])
      await client.query('COMMIT')
      this.told.push({ op })
      this.taken += 1
    } catch (error) {
      await client.query('ROLLBACK').catch(() => undefined)
      throw error
    } finally {
      client.release()
    }
  }
}
