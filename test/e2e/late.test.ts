/** What comes late is said, and never taken for something else. */
import t from 'tap'
import { readSlices } from '../../control/store/slices.ts'
import { ackRouter } from '../../control/store/routers.ts'
import { query } from '../support/cluster.ts'
import { flip, inStep, until, verify } from '../support/flipping.ts'
import { Clients, movingSlice } from '../support/moving-slice.ts'

void t.test(
  'a router that is late is named; the stage has moved, and that is what is said',
  async t => {
    const moving = await movingSlice(t)
    const late = { id: crypto.randomUUID(), address: 'the late one' }
    const live = () => ackRouter(moving.store, late, { version: 0, drained: [], waiting: [] })
    await live()
    const beat = setInterval(() => void live().catch(() => undefined), 500)
    t.teardown(() => clearInterval(beat))
    await until(moving, 'the slice', async () => (await readSlices(moving.store.pool)).length > 0)
    const flipped = await flip(moving, 'sync')
    t.match(flipped, { outcome: 'done', error: { code: 'ROUTERS_LATE', message: /the late one/ } })
    t.equal((await readSlices(moving.store.pool))[0]?.stage, 'sync')
  },
)

void t.test(
  'keys that were forgotten stop a move to the service, though nobody said so before',
  async t => {
    const moving = await movingSlice(t, { limits: 'comparedKeys: 1' })
    const clients = new Clients(t, moving, 2)
    await until(moving, 'writes', async () => clients.told.length > 5)
    t.match(await flip(moving, 'sync'), { outcome: 'done' })
    await inStep(moving)
    for (const stage of ['shadow', 'canary'] as const)
      t.match(await flip(moving, stage), { outcome: 'done' })
    t.match(await verify(moving), { differences: 0 })
    const before = clients.told.length
    await until(moving, 'writes', async () => clients.told.length > before + 10)
    const outdated = async () =>
      (await query(moving.store.url, 'SELECT FROM banyan.verification WHERE error IS NOT NULL'))
        .length > 0
    await until(moving, 'the word of the verification to be taken', outdated)
    const refused = await flip(moving, 'moved')
    t.match(refused, { outcome: 'refused', error: { blockers: [{ code: 'VERIFY_STALE' }] } })
    // As if the control database had been away when the worker said so.
    await query(moving.store.url, 'UPDATE banyan.verification SET error = NULL')
    const undone = await flip(moving, 'moved')
    t.match(undone, { outcome: 'undone', error: { message: /forgotten/ } })
    await clients.stop()
    t.same(clients.failed, [])
  },
)
