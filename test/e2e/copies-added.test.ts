/** `services.<name>.copies` that grows while a slice is in motion: the first copies come by themselves, later ones are refused. */
import t from 'tap'
import { installSlice } from '../../control/install.ts'
import { settlementOf } from '../../control/cutover-runner.ts'
import { readStreams } from '../../control/store/streams.ts'
import { createSyncStore } from '../../control/sync-store.ts'
import { must } from '../../model/errors.ts'
import { parseStream, publicationOf } from '../../model/stream.ts'
import type { Wiring } from '../../model/wiring.ts'
import { runWorker } from '../../sync/worker.ts'
import { query } from '../support/cluster.ts'
import { flip, until } from '../support/flipping.ts'
import { movingSlice, type MovingSlice } from '../support/moving-slice.ts'
import { partOf } from '../support/part.ts'

const COPIES = 'legacy>rooms:@copies'

/** As after an edit of banyan.yaml. */
function wiringWith({ wiring }: MovingSlice, copies: string[]): Wiring {
  const { project } = wiring
  const rooms = { ...must(project.banyan.services['rooms'], 'rooms'), copies }
  const banyan = { ...project.banyan, services: { rooms } }
  return { ...wiring, project: { ...project, banyan } }
}

function workerWith(moving: MovingSlice, copies: string[]) {
  const wiring = wiringWith(moving, copies)
  return partOf(async signal => {
    await using store = createSyncStore(moving.store, wiring)
    const log = { info: () => undefined, warn: () => undefined }
    await runWorker(
      {
        ...{ wiring, store, log, delayMs: 0 },
        settlement: (task, sessions) => settlementOf(must(task.slice, 'slice'), sessions, 1000),
      },
      signal,
    )
  })
}

await t.test('copies that come into the files while a slice is in motion', async t => {
  const moving = await movingSlice(t, {
    copies: [],
    made: (url, side) =>
      side === 'legacy' ? Promise.resolve() : query(url, 'DROP TABLE doctors CASCADE'),
  })
  t.match(await flip(moving, 'sync'), { outcome: 'done', error: null })
  const stream = async (name: string) =>
    (await readStreams(moving.store)).find(each => each.name === name)
  const forward = async () => (await stream('legacy>rooms:visits'))?.position != null
  await until(moving, 'the slice in step', forward)
  await moving.worker.stop()
  const failed = (code: string) => async () => (await stream(COPIES))?.error?.code === code

  const first = workerWith(moving, ['doctors'])
  t.teardown(() => first.stop())
  first.start()
  await t.test('a table that is not there is named', async t => {
    await until(moving, 'TABLE_MISSING', failed('TABLE_MISSING'))
    const { error } = (await stream(COPIES))!
    t.match(error?.message, 'rooms has no table public.doctors')
  })
  await t.test('once it is, it is copied, kept in step and closed', async t => {
    await query(
      moving.service,
      'SET ROLE app; CREATE TABLE doctors (id bigint PRIMARY KEY, name text NOT NULL)',
    )
    await until(moving, 'the copies', async () => (await stream(COPIES))?.state === 'streaming')
    await query(moving.legacy, `INSERT INTO doctors VALUES (21, 'new')`)
    const count = async () => (await query(moving.service, 'SELECT FROM doctors')).length
    await until(moving, 'all of them', async () => (await count()) === 21)
    await t.rejects(moving.serviceApp.query('DELETE FROM doctors'), { code: 'BNY01' })
  })
  await first.stop()
  await t.test('a later one would be there without its rows', async t => {
    await query(moving.service, 'SET ROLE app; CREATE TABLE bills (LIKE doctors INCLUDING ALL)')
    const second = workerWith(moving, ['doctors', 'bills'])
    t.teardown(() => second.stop())
    second.start()
    await until(moving, 'COPY_ADDED', failed('COPY_ADDED'))
    t.match((await stream(COPIES))?.error?.message, 'public.bills came into services.rooms.copies')
    await second.stop()
  })
  await t.test(
    'another slice of the service, on its way into sync, makes it no less so',
    async t => {
      const wiring = wiringWith(moving, ['doctors', 'bills'])
      const slice = must(wiring.project.slices[0], 'the slice')
      await installSlice({ store: moving.store, wiring }, slice)
      const published = await query(
        moving.legacy,
        `SELECT tablename FROM pg_publication_tables WHERE schemaname = 'public' AND pubname = '${publicationOf(must(parseStream(COPIES), COPIES))}'`,
      )
      t.same(published, [{ tablename: 'doctors' }])
    },
  )
})
