/** What is made of a slice's facts, from every state that its databases can be found in. */
import pg from 'pg'
import t from 'tap'
import { readRebuilt } from '../../control/rebuild.ts'
import { mustRemember } from '../../control/remembered.ts'
import { readOwnFacts, storeRebuilt } from '../../control/store/rebuilt.ts'
import { readSlices, wantSlices } from '../../control/store/slices.ts'
import { controlMigrations } from '../../migrations/control/control.ts'
import { migrateUp } from '../../migrations/runner.ts'
import { must } from '../../model/errors.ts'
import { pause } from '../../model/pause.ts'
import { loadProject } from '../../model/project.ts'
import type { Wiring } from '../../model/wiring.ts'
import { gateSides, put, read, type SideHandle, type TestSlice } from '../postgres/gate-sides.ts'
import { query } from '../support/cluster.ts'

const sides = await gateSides(t)
const { legacy, service, system } = sides
/** The second has no file. */
const slice = await sides.slice()
const other = await sides.slice()

const AWAY = 'postgres://nobody@127.0.0.1:1/nothing'
const WAITING = `SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`

function wiringOf(slices: readonly TestSlice[], serviceUrl = service.applyUrl): Wiring {
  const loaded = loadProject({
    banyan: {
      file: 'banyan.yaml',
      text: `version: 1
legacy: { url: http://127.0.0.1:1, database: env:A }
services: { rooms: { url: http://127.0.0.1:2, database: env:B } }
`,
    },
    slices: slices.map(({ name, number }) => ({
      file: `slices/${name}.yaml`,
      text: `service: rooms\nstage: sync\nroutes: ['* /${name}/**']\ntables: { t${number}: true }\n`,
    })),
  })
  const urls = (side: SideHandle, apply: string) => ({
    setup: side.setupUrl,
    apply,
    capture: side.captureUrl,
  })
  return {
    project: must(loaded.project, JSON.stringify(loaded.diagnostics)),
    sources: loaded.sources,
    legacy: urls(legacy, legacy.applyUrl),
    services: { rooms: urls(service, serviceUrl) },
    control: 'postgres://nowhere',
    configPath: 'banyan.yaml',
  }
}

interface Case {
  readonly what: string
  readonly legacy: string
  /** Undefined: away. */
  readonly service: string | undefined
  readonly is: object
  /** The word of legacy afterwards. */
  readonly word?: string
}

const MOVED = 'closed 3, FENCED 3, PROMOTED 3'
const HOME = 'FENCED 3, PROMOTED 3, REACHED 4@A, PREPARED 4, PROMOTED 4'

// prettier-ignore
const CASES: readonly Case[] = [
  { what: 'it never moved', legacy: 'open 0', service: 'closed 0',
    is: { owner: 'legacy', epoch: 0, settled: null } },
  { what: 'its service owns it', legacy: MOVED, service: 'open 3, PREPARED 3, PROMOTED 3',
    is: { owner: 'service', stage: 'moved', epoch: 3, settled: null } },
  { what: 'it came back', legacy: `open 4, ${HOME}`, service: 'closed 4, FENCED 4, PROMOTED 3, PROMOTED 4',
    is: { owner: 'legacy', epoch: 4, settled: null } },
  { what: 'the highest epoch is in a progress row', legacy: 'open 2, ABORTED 2', service: 'closed 0, progress 7@A',
    is: { owner: 'legacy', epoch: 7 } },
  { what: 'or in a fence of the other side', legacy: 'open 4', service: 'closed 9, FENCED 9',
    is: { owner: 'legacy', epoch: 9, settled: null } },
  { what: 'closed and undecided', legacy: 'closed 5, FENCED 5', service: 'closed 0', word: 'open 5',
    is: { owner: 'legacy', epoch: 5, settled: { epoch: 5, verdict: 'ABORTED', complete: true } } },
  { what: 'a fence that died', legacy: 'closed 6', service: 'closed 0', word: 'open 6',
    is: { owner: 'legacy', epoch: 6, settled: { epoch: 6, verdict: 'ABORTED' } } },
  { what: 'decided, and not opened', legacy: 'closed 3, FENCED 3, PROMOTED 3', service: 'closed 0, REACHED 3@A, PREPARED 3', word: 'closed 3',
    is: { owner: 'service', stage: 'moved', epoch: 3, settled: { epoch: 3, verdict: 'PROMOTED', complete: true }, open: { service: true } } },
  { what: 'the way back, undecided', legacy: `${MOVED}, REACHED 8@A`, service: 'closed 8, FENCED 8', word: 'closed 3',
    is: { owner: 'service', stage: 'moved', epoch: 8, settled: { epoch: 8, verdict: 'ABORTED' }, open: { service: true } } },
  { what: 'the service is away: legacy opens without it', legacy: 'closed 5, FENCED 5', service: undefined, word: 'open 5',
    is: { owner: 'legacy', settled: { epoch: 5, verdict: 'ABORTED', complete: false }, open: { service: null } } },
  { what: 'away on the way home, decided', legacy: `closed 3, ${HOME}`, service: undefined, word: 'open 4',
    is: { owner: 'legacy', epoch: 4, settled: { epoch: 4, verdict: 'PROMOTED', complete: false } } },
  { what: 'away, and it owns: nothing is touched', legacy: MOVED, service: undefined, word: 'closed 3',
    is: { owner: 'service', stage: 'moved', settled: null } },
  { what: 'legacy is another system than the one that was fenced', legacy: 'closed 5, FENCED 5 foreign', service: 'closed 0', word: 'closed 5',
    is: { owner: 'legacy', settled: { epoch: 5, why: { code: 'SYSTEM_CHANGED' } } } },
]

for (const each of CASES) {
  void t.test(each.what, async t => {
    await put(legacy, slice, system, each.legacy)
    await put(service, slice, system, each.service ?? 'closed 0')
    const wiring = wiringOf([slice], each.service === undefined ? AWAY : undefined)
    const [found] = (await readRebuilt(wiring, { settle: true })).slices
    t.match(found, { number: slice.number, ...each.is })
    if (each.word !== undefined) t.match(await read(legacy, slice), each.word)
  })
}

void t.test('words that contradict the decisions are nobody’s to interpret', async t => {
  for (const [here, there] of [
    ['open 3', 'open 3'],
    ['open 4, FENCED 3, PROMOTED 3', 'closed 0'],
    ['open 4, FENCED 3, PROMOTED 3', 'open 3, PREPARED 3, PROMOTED 3'],
  ] as const) {
    await put(legacy, slice, system, here)
    await put(service, slice, system, there)
    await t.rejects(readRebuilt(wiringOf([slice]), { settle: true }), { code: 'GATES_DISAGREE' })
  }
})

void t.test('a slice in motion without a file is nobody’s to route', async t => {
  await put(legacy, slice, system, 'open 0')
  await put(service, slice, system, 'closed 0')
  await put(legacy, other, system, 'open 0, progress 0@A')
  const gone = { code: 'SLICE_FILE_GONE', message: /s2/ }
  await t.rejects(readRebuilt(wiringOf([slice]), { settle: true }), gone)
  await put(legacy, other, system, 'open 0')
  t.match(await readRebuilt(wiringOf([slice]), { settle: true }), { highestNumber: 2 })
})

void t.test('streams go on from where they were, where slot and progress fit together', async t => {
  await put(legacy, slice, system, 'open 1, ABORTED 1')
  await put(service, slice, system, 'closed 0, progress 0@A')
  const look = async (url?: string) => readRebuilt(wiringOf([slice], url), { settle: true })
  const name = 'legacy>rooms:s1'
  t.match(await look(), {
    slices: [
      { stage: 'legacy', streams: { forward: { kind: 'stuck', why: { code: 'SLOT_MISSING' } } } },
    ],
    streams: [{ name, position: null }],
  })
  const { rows } = await legacy.root.query<{ lsn: string }>(
    `SELECT lsn::text FROM pg_create_logical_replication_slot('banyan_s1_forward', 'pgoutput')`,
  )
  t.teardown(() => legacy.root.query(`SELECT pg_drop_replication_slot('banyan_s1_forward')`))
  t.match(await look(), {
    slices: [
      { stage: 'legacy', streams: { forward: { kind: 'stuck', why: { code: 'SLOT_AHEAD' } } } },
    ],
  })
  await service.root.query('UPDATE banyan.progress SET position = $1', [rows[0]!.lsn])
  const found = await look()
  t.match(found, {
    slices: [
      {
        stage: 'sync',
        streams: { forward: { kind: 'goes on', seen: true }, reverse: { kind: 'none' } },
      },
    ],
  })
  // The reverse stream isn't on record, so its worker makes it anew.
  t.match(found.streams, [{ name, slice: 's1', error: null }])
  t.equal(found.streams.length, 1)
  t.match(await look(AWAY), {
    away: new Map([['rooms', { code: 'UNREACHABLE' }]]),
    slices: [{ stage: 'sync', streams: { forward: { kind: 'goes on', seen: false } } }],
  })
})

void t.test('the control database is written once, and remembers', async t => {
  const control = await sides.cluster.createDatabase('control')
  await migrateUp(control, controlMigrations())
  const store = { url: control, pool: new pg.Pool({ connectionString: control }) }
  t.teardown(() => store.pool.end())
  const wiring = wiringOf([slice, other])
  await put(legacy, slice, system, MOVED)
  await put(service, slice, system, 'open 3, PREPARED 3, PROMOTED 3')
  await t.rejects(mustRemember(store, wiring), { code: 'CONTROL_LOST', message: /s1, s2/ })
  await t.rejects(mustRemember(store, { ...wiring, legacy: { ...wiring.legacy, apply: AWAY } }), {
    code: 'UNREACHABLE',
  })
  // A file that some command has written down in the meantime, under the number of another.
  await wantSlices(store, [{ name: 's2', service: 'rooms', stage: 'canary', percent: 5 }])
  t.same(await readOwnFacts(store), [])
  const { slices, highestNumber } = await readRebuilt(wiring, { settle: true })
  const streams = [{ name: 'rooms>legacy:s1', slice: 's1', position: null, error: null }]
  // A worker that goes on all the while says so of its stream, in this very moment.
  const worker = await store.pool.connect()
  await worker.query('BEGIN')
  await worker.query('INSERT INTO banyan.stream (name) VALUES ($1)', [streams[0]!.name])
  const stored = storeRebuilt(store, {
    ...{ streams, highestNumber, actor: 'tester', detail: {} },
    slices: slices.map(each => ({ ...each, detail: {} })),
  })
  while ((await query(control, WAITING)).length === 0) await pause(10)
  await worker.query('COMMIT')
  worker.release()
  await stored
  t.match(await query(control, 'SELECT name, slice FROM banyan.stream'), [
    { name: 'rooms>legacy:s1', slice: 's1' },
  ])
  t.match(await readSlices(store.pool), [
    { name: 's1', number: 1, stage: 'moved', epoch: 3 },
    { name: 's2', number: 2, stage: 'legacy', epoch: 0 },
  ])
  await mustRemember(store, wiring)
  await wantSlices(store, [{ name: 's9', service: 'rooms', stage: 'canary', percent: 5 }])
  t.match((await readSlices(store.pool))[2], { name: 's9', number: 3 }, 'a number of its own')
  t.match(await readOwnFacts(store), ['s1 at moved', /journal/])

  await query(legacy.rootUrl, `INSERT INTO banyan.decision VALUES ('s1', 4, 'ABORTED')`)
  await t.rejects(mustRemember(store, wiring), {
    code: 'CONTROL_LOST',
    message: /s1 \(epoch 4 there, 3 here\)/,
  })
})
