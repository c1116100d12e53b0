import pg from 'pg'
import t from 'tap'
import { setupSession } from '../../control/databases.ts'
import { readController } from '../../control/lease.ts'
import { loosen } from '../../control/loosen.ts'
import { readCensus } from '../../control/store/findings.ts'
import { requestFlip } from '../../control/store/flips.ts'
import { setOverride } from '../../control/store/slices.ts'
import { transact } from '../../control/store/store.ts'
import type { WantedStage } from '../../model/slice-file.ts'
import { type Plan, runPlan } from '../../scripts/plan.ts'
import { afterOf } from '../../scripts/plan-changes.ts'
import { NOTHING } from '../../scripts/plan-databases.ts'
import type { Measured } from '../../scripts/plan-facts.ts'
import { query } from '../support/cluster.ts'
import { flip, inStep, until, verify } from '../support/flipping.ts'
import { Clients, movingSlice } from '../support/moving-slice.ts'
import { controllerOf, projectOf } from '../support/screen.ts'

void t.test('a plan shows what a flip would do, and changes nothing', async t => {
  const moving = await movingSlice(t)
  const { store } = moving
  await controllerOf(moving)
  const project = await projectOf(t, moving)
  /** All that a command could have left behind. */
  const traces = () =>
    query(
      moving.wiring.control,
      `SELECT (SELECT json_agg(s) FROM banyan.slice s)::text AS slices, (SELECT count(*) FROM banyan.flip) AS flips,
         (SELECT count(*) FROM banyan.journal) AS journal, (SELECT max(version) FROM banyan.orders) AS orders`,
    )
  const plan = async (stage?: string, columns = 80) => {
    const before = await traces()
    const screen = await project.run(context => runPlan(context, 'visits', stage), { columns })
    t.same(await traces(), before, 'nothing was changed')
    t.match(screen.text, /^Nothing was changed\./m)
    // What the screen has broken or parted, in one line.
    return { ...screen, flat: screen.text.replace(/\n +/g, ' ').replace(/ · /g, ' ') }
  }
  const json = async (stage?: string): Promise<Plan> =>
    JSON.parse(
      (await project.run(context => runPlan(context, 'visits', stage), { json: true })).text,
    ) as Plan
  const go = async (to: WantedStage) => {
    t.match(await flip(moving, to), { outcome: 'done' })
    await project.want(to)
  }

  await t.test('to sync: what is copied, and what is closed', async t => {
    await query(moving.legacy, 'ANALYZE')
    const { exit, text, flat } = await plan()
    t.equal(exit, 0)
    t.match(text, /^visits {2}legacy → sync +no pause · plan [0-9a-f]{6}$/m)
    t.match(flat, /data +visits → visit, seats are copied \(about 2,025 rows, \d+ kB\)/)
    t.match(flat, /rooms +its tables visit, seats are emptied first/)
    t.match(text, '✔ nothing stands in its way\n')
    t.match(text, 'next: banyan flip visits sync\n')
  })

  await t.test('a controller that reads other files is no reason to plan by these', async t => {
    const rows = await query(moving.wiring.control, 'SELECT config_path FROM banyan.controller')
    const reads = (path: string) =>
      query(moving.wiring.control, 'UPDATE banyan.controller SET config_path = $1', [path])
    await reads('/srv/banyan.yaml')
    const { exit, text } = await plan()
    t.equal(exit, 3)
    t.match(text, /^✖ FILE_ELSEWHERE {2}the controller reads \/srv\/banyan\.yaml/m)
    await reads(String(rows[0]!.config_path))
  })

  await t.test(
    'a stage that no step leads to, a stage that is none, a slice that is none',
    async t => {
      const { exit, text } = await plan('moved')
      t.equal(exit, 3)
      t.match(text, /^✖ STAGE_SKIPPED/m)
      t.notMatch(text, /hold/, 'no steps of a flip that can not be')
      t.match(text, 'next: banyan plan visits\n')
      await t.rejects(
        project.run(context => runPlan(context, 'visits', 'mooved')),
        {
          code: 'OPTION_INVALID',
        },
      )
      await t.rejects(
        project.run(context => runPlan(context, 'visit', undefined)),
        {
          code: 'SLICE_UNKNOWN',
        },
      )
      const there = await plan('legacy')
      t.match(there.text, '✔ visits is at legacy already\n')
      t.equal(there.exit, 0)
    },
  )

  const clients = new Clients(t, moving, 0)
  await go('sync')
  await inStep(moving)
  await t.test('to shadow and canary: what changes for whom', async t => {
    const shadow = await plan()
    t.match(shadow.flat, 'legacy answers; safe requests also go to rooms and are compared')
    t.match(shadow.flat, 'the streams go on, as before')
    const sample = await project.edit(
      'slices/visits.yaml',
      text => `${text}shadow: { sample: 20 }\n`,
    )
    t.match((await plan()).flat, 'legacy answers; 20 % of the safe requests also go to rooms')
    await sample()
    await go('shadow')
    const back = await project.edit('slices/visits.yaml', text =>
      text.replace(
        'by: [cookie:sid]',
        'by: [cookie:sid], percent: 12.5, include: [header:x-beta=1]',
      ),
    )
    const { flat, exit } = await plan()
    t.equal(exit, 0)
    t.match(flat, 'visits  shadow → canary 12.5 %')
    t.match(
      flat,
      'rooms answers 12.5 % of the keys (cookie:sid), and always header:x-beta=1; legacy',
    )
    await back()
    await go('sync')
  })

  const batch = new pg.Client({
    connectionString: moving.legacyApp.options.connectionString,
    application_name: 'noshow-batch',
  })
  await batch.connect()
  t.teardown(() => batch.end())
  await until(moving, 'the census has seen both', async () => {
    for (let n = 0; n < 5; n++)
      await moving.legacyApp.query('UPDATE visits SET version = 2 WHERE id = 1')
    await batch.query('UPDATE visits SET version = 3 WHERE id = 2')
    return (await readCensus(store, 'visits')).writers.length === 2
  })
  await go('shadow')
  await go('canary')

  await t.test(
    'the steps of a fenced flip, with figures that are measured or configured',
    async t => {
      const writer = await moving.legacyApp.connect()
      await writer.query(`BEGIN; UPDATE visits SET note = 'of a patient' WHERE id = 3`)
      const { exit, text, flat } = await plan('moved')
      await writer.query('ROLLBACK')
      writer.release()
      t.equal(exit, 3)
      t.match(
        text,
        /^visits {2}canary 0 % → moved +one pause · plan [0-9a-f]{6}, good for 10 min$/m,
      )
      const steps = [...text.matchAll(/^ \d (\w+) /gm)].map(each => each[1])
      t.same(steps, [
        'hold',
        'drain',
        'fence',
        'reach',
        'compare',
        'prepare',
        'decide',
        'open',
        'publish',
      ])
      t.match(flat, '1 route at 1 router up to 500 requests each, 2 s at most')
      t.match(
        flat,
        /1 s at most, at rest for 20 ms 1 open transaction there now: role app, pid \d+, for \d/,
      )
      t.notMatch(text, 'patient', 'no statement of a client is shown')
      t.match(flat, 'legacy: visits, seats epoch 0 → 1')
      t.match(flat, /legacy>rooms:visits lag \d+ ms now/)
      t.match(flat, 'public.visit_id_seq: 1,000 past both sides')
      t.match(flat, 'no flip or rehearsal of this kind yet undone if it takes more than 2 s')
      t.match(flat, '! legacy refuses every write to visits, seats but')
      t.match(flat, /! noshow-batch is refused, about \d+ times a day/)
      t.match(
        flat,
        '! bills.visit_id: the foreign key bills_visit_id_fkey is dropped before the hold',
      )
      t.match(text, /^✖ VERIFY_MISSING/m)
      t.match(text, /^✖ FOREIGN_WRITER {2}noshow-batch/m)
      t.match(text, /^Nothing was changed\. +exit 3$/m)
      t.match(text, 'next: banyan verify visits\n')
      for (const columns of [40, 60, 100]) await plan('moved', columns)
    },
  )

  await t.test('nothing in the way: the command that does it', async t => {
    await verify(moving)
    await using setup = await setupSession(moving.wiring.legacy.setup)
    // As an earlier try would have, that was undone.
    await loosen(store, setup.client, moving.wiring.project.slices[0]!)
    await project.edit('slices/visits.yaml', text => `${text}writers: { noshow-batch: waived }\n`)
    const { exit, text, flat } = await plan('moved')
    t.equal(exit, 0)
    t.match(flat, /noshow-batch is refused, about \d+ times a day \(waived\)/)
    t.match(flat, '! bills.visit_id: the foreign key bills_visit_id_fkey was dropped by an earlier')
    t.match(
      flat,
      /way back: one pause, lossless while rooms>legacy:visits is in step \(streaming, lag/,
    )
    t.match(flat, /those that changed since the verification (just now|\S+ m?s ago)/)
    t.match(text, 'next: banyan flip visits moved\n')
  })

  await t.test('a database that is away is one blocker among the others', async t => {
    const dead = (url: string) => url.replace(/:\d+\//, ':1/')
    const restore = []
    for (const role of ['setup', 'apply', 'capture']) {
      restore.push(await project.edit(`rooms-${role}.url`, dead))
    }
    await clients.stop()
    const { exit, text, flat } = await plan('moved')
    t.equal(exit, 3)
    t.equal(text.split('✖ UNREACHABLE').length, 2, 'once')
    t.match(text, /^✖ ROUTER_MISSING/m, 'what needs no database is checked all the same')
    t.notMatch(text, /epoch/, 'a figure that was not measured is not there')
    t.match(flat, 'nobody writes in legacy now', 'the side that answers was looked at')
    for (const back of restore) await back()
  })

  const again = new Clients(t, moving, 0)
  await until(moving, 'a router', async () => (await json('moved')).measured.routers === 1)
  // The files of the test's controller are in memory: it does not know that the batch is waived.
  await store.pool.query(`DELETE FROM banyan.writer WHERE application = 'noshow-batch'`)
  await go('moved')

  await t.test('home again: the pauses so far, and the keys that come back', async t => {
    const { exit, text, flat } = await plan()
    t.equal(exit, 0, 'what is planned where no stage is named: nothing retires a slice yet')
    t.match(text, /^visits {2}moved → canary 0 % +one pause · plan [0-9a-f]{6}, good for 10 min$/m)
    t.match(flat, 'rooms: visit, seats epoch 1 → 2')
    t.match(flat, /pause +[\d.]+ m?s the last time undone if it takes more than 2 s/)
    t.match(flat, '! rooms refuses every write to visit, seats but')
    t.match(flat, 'bills.visit_id: its foreign key bills_visit_id_fkey is put back')
    t.match(text, 'next: banyan flip visits canary\n')
    t.match(await json('canary'), {
      fenced: true,
      measured: { openWriters: [], epoch: { now: 1, next: 2 }, away: [] },
      pause: { flips: 1, budgetMs: 2000 },
      blockers: [],
    })
    t.notMatch(JSON.stringify(await json('canary')), 'secret')
  })

  await t.test('who writes, as far as the census looked', async t => {
    const census = { transactions: 12, monolith: 'clinic-* (role app)', writers: [] }
    const measured = { ...NOTHING, census } as unknown as Measured
    const planned = { from: 'canary', to: 'moved', percent: { from: 0, to: 0 } } as const
    const slice = moving.wiring.project.slices[0]!
    const [, seen] = afterOf({ ...planned, slice, measured, sequenceHeadroom: 0 })
    t.equal(
      seen?.what,
      'at sync clinic-* (role app) alone was seen writing them, in 12 transactions; since then nobody looked',
    )
  })

  await t.test('nothing leads to retired yet', async t => {
    const { exit, text } = await plan('retired')
    t.equal(exit, 3)
    t.match(text, /^✖ RETIRE_LATER/m)
  })

  await t.test('no controller is needed; what a flip would refuse, a plan says', async t => {
    await store.pool.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'banyan control lease'`,
    )
    await until(moving, 'it ends', async () => !(await readController(store))?.alive)
    await transact(store, ['slice'], client =>
      setOverride(client, 'visits', { stage: 'canary', by: 'ann@ops', reason: 'rooms is slow' }),
    )
    await requestFlip(store, {
      ...{ slice: 'visits', from: 'moved', to: 'canary', percent: 0, actor: 'bob', kind: 'back' },
    })
    const { exit, text } = await plan('canary')
    t.equal(exit, 3)
    t.match(
      text,
      /^✖ FLIP_IN_PROGRESS {2}"visits" is on its way to canary already, asked for by bob$/m,
    )
    t.match(text, /^✖ OVERRIDDEN {2}"visits" is held at canary by ann@ops: rooms is slow$/m)
  })

  await again.stop()
})
