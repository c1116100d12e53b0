/** Streams that are over are taken down, each on its own: one that can't be doesn't keep the others. */
import t from 'tap'
import { pause } from '../../model/pause.ts'
import type { Stage } from '../../model/stage.ts'
import { connect } from '../../postgres/connection.ts'
import { createSlot, listSlots } from '../../postgres/slot.ts'
import type { StreamContext } from '../../sync/stream-run.ts'
import { runWorker } from '../../sync/worker.ts'
import { query, testCluster } from '../support/cluster.ts'
import { threeRoles } from '../support/three-roles.ts'

const never = new AbortController().signal

await t.test('one stream that can not be ended keeps no other', async t => {
  const cluster = await testCluster(t)
  await cluster.createRole('app')
  const database = async (name: string) => {
    await cluster.createDatabase(name)
    const urls = await threeRoles(cluster, name, 'app')
    await query(
      urls.setup,
      `CREATE SCHEMA banyan; CREATE TABLE banyan.progress (stream text);
       GRANT USAGE ON SCHEMA banyan TO banyan_apply; GRANT ALL ON banyan.progress TO banyan_apply`,
    )
    return urls
  }
  const [legacy, rooms] = [await database('legacy'), await database('rooms')]
  // The second is what a worker leaves that is killed in a verification.
  for (const slot of ['banyan_visits_reverse', 'banyan_visits_reverse_verify']) {
    await createSlot({ url: rooms.capture, slot, signal: never })
  }
  await query(legacy.apply, `INSERT INTO banyan.progress VALUES ('rooms>legacy:visits')`)
  const known = new Set(['gone>legacy:seats', 'rooms>legacy:visits'])
  const phrases: [unknown, string][] = []
  const store: Partial<StreamContext['store']> = {
    stages: async () =>
      new Map<string, Stage>([
        ['seats', 'legacy'],
        ['visits', 'legacy'],
      ]),
    claim: async () => true,
    predecessorSilent: async () => false,
    known: async () => [...known],
    forget: async name => void known.delete(name),
  }
  const stop = new AbortController()
  const worker = runWorker(
    {
      wiring: {
        project: { slices: [], banyan: { services: { rooms: { copies: [] } } } },
        ...{ legacy, services: { rooms } },
      },
      store,
      log: {
        info: () => undefined,
        warn: (fields: object, phrase: string) =>
          void phrases.push([(fields as { stream?: string }).stream, phrase]),
      },
      delayMs: 0,
    } as unknown as StreamContext,
    stop.signal,
  )
  t.teardown(async () => {
    stop.abort()
    await worker
  })
  const late = performance.now() + 10_000
  while (known.has('rooms>legacy:visits') && performance.now() < late) await pause(5, never)
  t.strictSame([...known], ['gone>legacy:seats'], 'the other one is over')
  const client = await connect({ url: rooms.capture, applicationName: 'test' })
  t.teardown(() => client.end())
  t.strictSame(await listSlots(client), [], 'with every slot of its own')
  t.strictSame(await query(legacy.apply, 'SELECT * FROM banyan.progress'), [])
  t.strictSame(phrases[0], ['gone>legacy:seats', 'stream not ended'])
  t.notOk(
    phrases.some(([, phrase]) => phrase === 'stages not readable'),
    'and nobody blames the control database',
  )
})
