import t from 'tap'
import { flip, inStep, until, verify } from '../support/flipping.ts'
import { Clients, movingSlice } from '../support/moving-slice.ts'

void t.test(
  'what waits counts as lag before it is applied, and keeps the owner where it is',
  async t => {
    const moving = await movingSlice(t, { delayMs: 1_500 })
    const clients = new Clients(t, moving, 2)
    await until(moving, 'writes', async () => clients.told.length > 5)
    t.match(await flip(moving, 'sync'), { outcome: 'done' })
    await inStep(moving)
    for (const stage of ['shadow', 'canary'] as const)
      t.match(await flip(moving, stage), { outcome: 'done' }, 'a late copy may be read at canary')
    t.match(await verify(moving), { differences: 0, error: null })
    const refused = await flip(moving, 'moved')
    t.equal(refused.outcome, 'refused')
    t.match(
      refused.error?.blockers?.map(each => each.code),
      ['LAG'],
    )
    await clients.stop()
    t.same(clients.failed, [])
  },
)
