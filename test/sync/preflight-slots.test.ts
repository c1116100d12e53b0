import t from 'tap'
import { Databases } from '../../control/databases.ts'
import { decideFlip } from '../../control/flip.ts'
import { gatherFacts } from '../../control/gather.ts'
import { readSlices } from '../../control/store/slices.ts'
import { must } from '../../model/errors.ts'
import { loadProject, type Project } from '../../model/project.ts'
import type { Stage } from '../../model/stage.ts'
import { connect } from '../../postgres/connection.ts'
import { readSlots, slotBlockers } from '../../sync/preflight-slots.ts'
import { query, testCluster } from '../support/cluster.ts'
import { until } from '../support/flipping.ts'
import { movingSlice } from '../support/moving-slice.ts'

/** Three slices of two services; the one of `people` has read copies. */
function projectOf(maxSlots: number): Project {
  const slice = (name: string, service: string) => ({
    file: `slices/${name}.yaml`,
    text: `{ service: ${service}, stage: legacy, routes: [GET /${name}], tables: { ${name}: true } }`,
  })
  const loaded = loadProject({
    banyan: {
      file: 'banyan.yaml',
      text: `version: 1
legacy: { url: http://127.0.0.1:1, database: env:A }
services:
  people: { url: http://127.0.0.1:2, database: env:B, copies: [rooms] }
  bookings: { url: http://127.0.0.1:3, database: env:C }
limits: { maxSlots: ${maxSlots} }
`,
    },
    slices: [slice('a', 'people'), slice('b', 'people'), slice('c', 'bookings')],
  })
  return must(loaded.project, JSON.stringify(loaded.diagnostics))
}

const slots = (legacy: string[], people: string[] = []) =>
  new Map([
    ['legacy', legacy],
    ['people', people],
  ])

void t.test('slots that a step would need are counted with those that are there', async t => {
  const needed = (
    maxSlots: number,
    stages: Record<string, Stage>,
    there: ReturnType<typeof slots>,
  ) =>
    slotBlockers({
      project: projectOf(maxSlots),
      stages: new Map(Object.entries(stages)),
      slots: there,
    }).map(each => each.message)

  t.strictSame(needed(2, { a: 'sync' }, slots([])), [], 'one forward, one for the copies')
  t.strictSame(needed(1, { a: 'sync' }, slots([])), [
    'legacy would have 2 replication slots of Banyan; limits.maxSlots is 1',
  ])
  const running = ['banyan_a_forward', 'banyan_copies_people']
  t.strictSame(
    needed(3, { a: 'moved', b: 'sync' }, slots(running, ['banyan_a_reverse'])),
    [],
    'what runs already is not counted twice, and copies are shared',
  )
  t.strictSame(
    needed(3, { a: 'moved', b: 'sync', c: 'canary' }, slots(running)),
    ['legacy would have 4 replication slots of Banyan; limits.maxSlots is 3'],
    'what another slice is about to make counts',
  )
  t.strictSame(
    needed(2, { a: 'sync' }, slots([], ['banyan_b_reverse', 'banyan_gone_reverse'])),
    ['people would have 3 replication slots of Banyan; limits.maxSlots is 2'],
    'so does what nobody has taken down yet',
  )
})

void t.test('only our own slots, of this database, are found', async t => {
  const cluster = await testCluster(t)
  const other = await cluster.createDatabase('other')
  const url = await cluster.createDatabase('here')
  const make = (name: string) => `SELECT pg_create_logical_replication_slot('${name}', 'pgoutput')`
  for (const name of ['banyan_b_forward', 'banyan_a_reverse', 'banyan_a_reverse_verify', 'theirs'])
    await query(url, make(name))
  await query(other, make('banyan_other_forward'))
  await query(url, `SELECT pg_create_physical_replication_slot('banyan_standby')`)
  const client = await connect({ url, applicationName: 'test' })
  t.teardown(() => client.end())
  t.strictSame(await readSlots(client), ['banyan_a_reverse', 'banyan_b_forward'])
})

void t.test('a slice does not go to sync past the limit', async t => {
  const moving = await movingSlice(t)
  const known = async () => (await readSlices(moving.store.pool)).length > 0
  await until(moving, 'the slice is known', known)
  const slice = must(moving.wiring.project.slices[0], 'the slice')
  const verdictAt = async (maxSlots: number) => {
    const { project } = moving.wiring
    const limits = { ...project.banyan.limits, maxSlots }
    const wiring = {
      ...moving.wiring,
      project: { ...project, banyan: { ...project.banyan, limits } },
    }
    await using databases = new Databases(() => wiring)
    const facts = await gatherFacts({ store: moving.store, wiring, databases }, slice, 'sync')
    return decideFlip(facts, 'sync')
  }
  t.match(await verdictAt(2), { go: true })
  t.match(await verdictAt(1), {
    go: false,
    blockers: [
      {
        code: 'SLOTS_LIMIT',
        message: 'legacy would have 2 replication slots of Banyan; limits.maxSlots is 1',
        hint: /limits\.maxSlots in banyan\.yaml/,
      },
    ],
  })
})
