/** What a deleted parent takes along where its foreign key doesn't act: applied with it, while the slice is open here. */
import t from 'tap'
import { COPIES } from '../../../model/stream.ts'
import { connect } from '../../../postgres/connection.ts'
import { takeFence } from '../../../postgres/gate.ts'
import { publish } from '../../../postgres/gate-install.ts'
import { read } from '../../postgres/gate-sides.ts'
import { query } from '../../support/cluster.ts'
import { promote } from './promotion.ts'
import { gateSides, streamBed } from './stream-bed.ts'

const sides = await gateSides(t)
const { legacy, service, system } = sides
const PATIENTS = 'CREATE TABLE public.patients (id int PRIMARY KEY, name text)'
const slice = await sides.slice({
  ddl: {
    // Its key to patients is loose.
    legacy: `${PATIENTS}; CREATE TABLE public.visits (id int PRIMARY KEY, patient_id int)`,
    service: `${PATIENTS};
      CREATE TABLE public.visit (id int PRIMARY KEY, person_id int REFERENCES public.patients ON DELETE CASCADE);
      CREATE TABLE public.notes (id int PRIMARY KEY, patient_id int REFERENCES public.patients ON DELETE CASCADE);
      CREATE TABLE public.letters (id int PRIMARY KEY, patient_id int REFERENCES public.patients ON DELETE SET NULL)`,
  },
  relations: { legacy: ['public.visits'], service: ['public.visit'] },
})
const setup = await connect({ url: legacy.setupUrl, applicationName: 'test setup' })
await publish(setup, 'banyan_copies_rooms', ['public.patients'])
await setup.end()

const cascade = { parentColumns: ['id'], columns: ['patient_id'], onDelete: 'cascade' } as const
const copies = await streamBed(t, sides, { from: 'legacy', to: 'rooms', what: COPIES }, [
  {
    table: 'public.patients',
    cascades: [
      { ...cascade, child: 'public.visit', columns: ['person_id'], whileOpen: slice.name },
      { ...cascade, child: 'public.notes', whileOpen: undefined },
      { ...cascade, child: 'public.letters', onDelete: 'null', whileOpen: undefined },
    ],
  },
])
const renames = { patient_id: 'person_id' }
const forward = await streamBed(t, sides, { from: 'legacy', to: 'rooms', what: slice.name }, [
  { table: 'public.visits', to: 'public.visit', renames },
])
const reverse = await streamBed(t, sides, { from: 'rooms', to: 'legacy', what: slice.name }, [
  { table: 'public.visit', to: 'public.visits', renames: { person_id: 'patient_id' } },
])
const [copying, there, back] = [await copies.start(), await forward.start(), await reverse.start()]
const app = await legacy.app()
const inService = async (sql: string) => (await service.root.query<{ r: string }>(sql)).rows[0]!.r
const visitsIn = (at: typeof legacy, table: string, patient: string) =>
  query<{ n: number }>(
    at.rootUrl,
    `SELECT count(*)::int AS n FROM public.${table} WHERE ${patient}`,
  ).then(rows => rows[0]!.n)

await app.query(
  `INSERT INTO public.patients SELECT i, 'p' || i FROM generate_series(1, 4) i;
   INSERT INTO public.visits SELECT i * 10 + n, i FROM generate_series(1, 4) i, generate_series(1, 3) n`,
)
await copying.caughtUp()
await there.caughtUp()
await query(
  sides.cluster.url('rooms', 'app'),
  `INSERT INTO public.notes SELECT i, i FROM generate_series(1, 4) i;
   INSERT INTO public.letters SELECT i, i FROM generate_series(1, 4) i`,
)

await t.test('where the slice is closed its children are its own stream’s', async t => {
  await app.query('DELETE FROM public.patients WHERE id = 1')
  await copying.caughtUp()
  t.equal(await visitsIn(service, 'patients', 'id = 1'), 0)
  t.equal(await visitsIn(service, 'visit', 'person_id = 1'), 3, 'they are not touched')
  t.equal(await visitsIn(service, 'notes', 'patient_id = 1'), 0, 'nobody else’s: gone with it')
  t.equal(await visitsIn(service, 'letters', 'id = 1 AND patient_id IS NULL'), 1, 'or cut loose')
  await app.query('DELETE FROM public.visits WHERE patient_id = 1')
  await there.caughtUp()
  t.equal(await visitsIn(service, 'visit', 'person_id = 1'), 0, 'their own stream brings it')
})

await t.test('where it is open they go with their parent, at once, and back to legacy', async t => {
  await promote(sides, slice, there)
  await app.query('DELETE FROM public.patients WHERE id = 2')
  await copying.caughtUp()
  t.equal(await visitsIn(service, 'patients', 'id = 2'), 0)
  t.equal(await visitsIn(service, 'visit', 'person_id = 2'), 0)
  t.equal(await visitsIn(service, 'visit', 'true'), 6, 'and nobody else’s')
  await back.caughtUp()
  t.same(back.rogue, [], 'the applier’s own doing is no rogue write')
  t.equal(await visitsIn(legacy, 'visits', 'patient_id = 2'), 0, 'first-hand to the reverse stream')
  t.equal(await visitsIn(legacy, 'visits', 'true'), 6)
})

await t.test(
  'a parent that goes while a fence is taken waits for it, then leaves them',
  async t => {
    const fencing = await service.session()
    await fencing.query('BEGIN')
    const deadlineMs = Date.parse('2100-01-01T00:00:00Z')
    const systems = { legacy: system, service: system }
    await takeFence(fencing, { slice: slice.name, epoch: 2, deadlineMs, ...systems })
    await app.query('DELETE FROM public.patients WHERE id = 3')
    const waiting = `SELECT count(*)::text AS r FROM pg_stat_activity
    WHERE wait_event = 'advisory' AND application_name LIKE '%@copies'`
    while ((await inService(waiting)) === '0');
    t.equal(await visitsIn(service, 'patients', 'id = 3'), 1, 'nothing of it is there')
    await fencing.query('COMMIT')
    await copying.caughtUp()
    t.match(await read(service, slice), /^closed 2/)
    t.equal(await visitsIn(service, 'patients', 'id = 3'), 0)
    t.equal(
      await visitsIn(service, 'visit', 'person_id = 3'),
      3,
      'behind the fence nothing is written',
    )
  },
)
