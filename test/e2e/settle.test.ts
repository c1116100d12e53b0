import t from 'tap'
import { readStreams } from '../../control/store/streams.ts'
import { query } from '../support/cluster.ts'
import { cutSessions, flip, same, toCanary, until } from '../support/flipping.ts'
import { Clients, movingSlice, type MovingSlice } from '../support/moving-slice.ts'

/** The controller's sessions, or those of one stream, end at once. */
async function cutBoth(moving: MovingSlice, name: string): Promise<void> {
  for (const url of [moving.legacy, moving.service]) await cutSessions(url, name)
}

void t.test('a flip whose sessions die behind the fence is undone, and the hold ends', async t => {
  // The stream lags, so there is a moment between the fence and its arrival.
  const moving = await movingSlice(t, { delayMs: 400 })
  const clients = new Clients(t, moving, 2)
  await until(moving, 'writes', async () => clients.told.length > 5)
  await toCanary(t, moving)

  const flipped = flip(moving, 'moved')
  await until(moving, 'the fence', async () => {
    const [row] = await query(moving.legacy, 'SELECT count(*)::int AS fences FROM banyan.fence')
    return row!.fences > 0
  })
  await cutBoth(moving, 'banyan control')
  t.match(await flipped, { outcome: 'undone' })
  const [decision] = await query(moving.legacy, 'SELECT verdict FROM banyan.decision')
  t.equal(decision!.verdict, 'ABORTED')
  const before = clients.told.length
  await until(moving, 'writes go on at the old owner', async () => clients.told.length > before + 5)

  t.match(await flip(moving, 'moved'), { outcome: 'done' }, 'and the next one goes through')
  await clients.stop()
  t.same(clients.failed, [])
  await until(moving, 'both sides are equal', () => same(moving))
})

void t.test('a stream that nobody remembers never copies over the owner', async t => {
  const moving = await movingSlice(t)
  const clients = new Clients(t, moving, 1)
  await until(moving, 'writes', async () => clients.told.length > 5)
  await toCanary(t, moving)
  t.match(await flip(moving, 'moved'), { outcome: 'done' })
  const before = clients.told.length
  await until(moving, 'writes at the service', async () => clients.told.length > before + 5)
  await clients.stop()

  const forward = 'legacy>rooms:visits'
  const count =
    'SELECT count(*)::int AS rows, (SELECT last_value FROM visit_id_seq) AS last FROM visit'
  const [owned] = await query(moving.service, count)
  await until(moving, 'refused', async () => {
    const stream = (await readStreams(moving.store)).find(each => each.name === forward)
    if (stream?.error?.code === 'SERVICE_OWNS') return true
    // A stream that runs writes its position again and again: forget it between two attempts.
    if (stream?.state === 'failed') {
      await moving.store.pool.query('UPDATE banyan.stream SET position = NULL WHERE name = $1', [
        forward,
      ])
    } else await cutBoth(moving, 'banyan%visits%')
    return false
  })
  t.same((await query(moving.service, count))[0], owned, 'not a row of the owner is gone')
})
