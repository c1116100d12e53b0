/** A TRUNCATE of several tables is one statement in the target too: alone, PostgreSQL refuses a table that a key points at. */
import t from 'tap'
import { query } from '../../support/cluster.ts'
import { gateSides, streamBed } from './stream-bed.ts'

const sides = await gateSides(t)
const names = ['public.parent', 'public.child', 'public.between', 'public.alone']
const ddl = `CREATE TABLE public.parent (id int PRIMARY KEY);
  CREATE TABLE public.between (id int PRIMARY KEY);
  CREATE TABLE public.child (id int PRIMARY KEY, parent int REFERENCES public.parent);
  CREATE TABLE public.alone (id int PRIMARY KEY)`
const slice = await sides.slice({
  ddl: { legacy: ddl, service: ddl },
  relations: { legacy: names, service: names },
})
// One of the tables in the middle isn't the stream's.
const carried = names.filter(name => name !== 'public.between').map(table => ({ table }))
const bed = await streamBed(t, sides, { from: 'legacy', to: 'rooms', what: slice.name }, carried)
const run = await bed.start()
const FILL = `INSERT INTO public.parent SELECT generate_series(1, 3); INSERT INTO public.child VALUES (1, 1), (2, 3);
  INSERT INTO public.alone VALUES (1)`
const counts = (url: string) =>
  query(
    url,
    `SELECT (SELECT count(*) FROM public.parent) AS parent, (SELECT count(*) FROM public.child) AS child,
       (SELECT count(*) FROM public.alone) AS alone`,
  )

const CASES: Record<string, string> = {
  'both ends of a key': 'TRUNCATE public.parent, public.child',
  'the child last': 'TRUNCATE public.child, public.between, public.parent, public.alone',
  'with what a key takes along': 'TRUNCATE public.parent CASCADE',
  'between writes of the same tables': `BEGIN; INSERT INTO public.child VALUES (9, 2);
    TRUNCATE public.parent, public.child; INSERT INTO public.parent VALUES (9); COMMIT`,
  'as the last of a transaction too big to hold': `BEGIN; INSERT INTO public.alone SELECT generate_series(10, 3000);
    TRUNCATE public.child, public.parent; COMMIT`,
  'inside one': `BEGIN; INSERT INTO public.alone SELECT generate_series(10, 3000);
    TRUNCATE public.parent, public.child; INSERT INTO public.parent SELECT generate_series(1, 2000); COMMIT`,
}
for (const [what, sql] of Object.entries(CASES)) {
  await t.test(what, async t => {
    const legacy = sides.cluster.url('legacy', 'app')
    await query(legacy, `TRUNCATE public.alone; TRUNCATE public.parent, public.child; ${FILL}`)
    await query(legacy, sql)
    await run.caughtUp()
    t.strictSame(await counts(sides.service.rootUrl), await counts(sides.legacy.rootUrl))
  })
}
