import { rename } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import t from 'tap'
import { RouterLink } from '../../control/router-link.ts'
import { readRefused, readRogue } from '../../control/store/findings.ts'
import { setOverride } from '../../control/store/slices.ts'
import { transact } from '../../control/store/store.ts'
import { readStreams } from '../../control/store/streams.ts'
import type { SliceReport } from '../../model/orders.ts'
import type { WantedStage } from '../../model/slice-file.ts'
import { freePort } from '../../scripts/demo/ports.ts'
import { runStatus } from '../../scripts/status.ts'
import type { Status } from '../../scripts/status-facts.ts'
import { query } from '../support/cluster.ts'
import { flip, inStep, until, verify } from '../support/flipping.ts'
import { Clients, movingSlice } from '../support/moving-slice.ts'
import { controllerOf, projectOf, type Project } from '../support/screen.ts'

const all = (project: Project, columns = 80) =>
  project.run(context => runStatus(context, undefined, false), { columns })
const one = (project: Project, columns = 80) =>
  project.run(context => runStatus(context, 'visits', false), { columns })
const json = async (project: Project, slice?: string): Promise<Status> =>
  JSON.parse(
    (await project.run(context => runStatus(context, slice, false), { json: true })).text,
  ) as Status

const report = (change: Partial<SliceReport>): SliceReport => ({
  slice: 'visits',
  requests: { legacy: 0, service: 0 },
  failed: { legacy: 0, service: 0 },
  held: { now: 0, total: 0, overflowed: 0, expired: 0 },
  shadow: { compared: 0, different: 0, dropped: 0 },
  examples: [],
  ...change,
})

void t.test('status shows each stage as it is, and the next command', async t => {
  const moving = await movingSlice(t)
  await controllerOf(moving)
  const project = await projectOf(t, moving)
  const go = async (to: WantedStage) => {
    t.match(await flip(moving, to), { outcome: 'done' })
    await project.want(to)
  }

  await t.test('at legacy, without a router', async t => {
    const { exit, text, lines } = await all(project)
    t.equal(exit, 0)
    t.match(text, /control ✔/)
    t.match(text, /routers ✖ none/)
    t.match(text, 'progress  0 of 1 slice moved · 0 of 4 tables\n')
    t.same(lines.slice(-4), [
      '  SLICE            STAGE   READS   WRITES  LAG  CHECKS  WAY BACK',
      '▸ visits           legacy  legacy  legacy  –    –       –',
      '  everything else          legacy  legacy',
      'next: banyan run router',
    ])
  })

  const clients = new Clients(t, moving, 0)
  await until(moving, 'a router', async () => (await json(project)).routers.length === 1)

  await t.test('at legacy with its name: the way to sync is looked at', async t => {
    const { text } = await one(project)
    t.match(text, /^│ at legacy for .+ · epoch 0 · 1 route · visits, seats$/m)
    t.match(text, '│ ✔ nothing stands in the way to sync\n')
    t.match((await all(project)).text, 'next: banyan plan visits\n')
  })

  await go('sync')
  await inStep(moving)
  await t.test('in step at sync', async t => {
    const { text } = await all(project)
    t.match(text, /^▾ visits +sync +legacy +legacy +\d+ ms +✔ shadow +instant$/m)
    t.match(text, /WAL held \S+ [kM]?B at legacy, \S+ [kM]?B at rooms/)
    t.match(text, '│ the two sides were never compared')
    t.match(text, 'next: banyan flip visits shadow\n')
    const detailed = (await one(project)).text
    for (const { name } of await readStreams(moving.store)) {
      t.match(detailed, new RegExp(`^│ ✔ ${name} +streaming, lag \\d+ ms, at [0-9A-F]+/`, 'm'))
    }
  })

  await go('shadow')
  await t.test('at shadow: nothing compared is said, not made up', async t => {
    t.match((await all(project)).text, '│ shadow: no answer compared yet\n')
  })

  await t.test('counts are summed over routers, and examples have no values', async t => {
    const { store, ear } = moving
    const links = ['a', 'b'].map(
      address => new RouterLink({ store, ear, address: () => `http://${address}:1` }),
    )
    const version = (await json(project)).ordersVersion
    for (const [n, link] of links.entries()) {
      for await (const _ of link.orders(new AbortController().signal)) break
      await link.ack({ version: version - n, drained: [], waiting: [] })
      await link.report([
        report({
          requests: { legacy: 900, service: 100 },
          failed: { legacy: 0, service: n },
          shadow: { compared: 1200, different: n, dropped: 2 },
          examples: [{ route: 'GET /visits/:id', path: '$.note', kind: 'value' }],
        }),
      ])
    }
    const { text } = await all(project)
    t.match(text, /routers 2\/3 on table \d+/, 'one is behind')
    t.match(text, /progress {2}0 of 1 slice moved · 10 % of their requests/)
    t.match(text, '│ shadow: 2,400 answers compared, 1 different, 4 not compared\n')
    t.match(text, '│   GET /visits/:id  $.note  value\n')
    t.equal(text.split('$.note').length, 2, 'the same example once')
    t.match(
      text,
      '│ legacy 1,800 requests · rooms 200 requests, 1 failed since the routers started\n',
    )
    for (const link of links) await link[Symbol.asyncDispose]()
  })

  await go('canary')
  await t.test('a check that stands in the way, and what clears it', async t => {
    const { text } = await all(project)
    t.match(text, /^▾ visits +canary 0 % +rooms 0 % +legacy +\d+ ms +✖1 moved +instant$/m)
    t.match(text, '│ ✖ VERIFY_MISSING  the two sides were never compared\n')
    t.match(text, 'next: banyan verify visits\n')
    t.match((await one(project)).text, '│   banyan verify visits\n', 'its hint, with its name')
    t.match(await verify(moving), { differences: 0 })
    const verified = (await all(project)).text
    t.match(verified, /│ 2,025 rows equal, just now|│ 2,025 rows equal, \S+ s ago/)
    t.match(verified, 'next: banyan plan visits moved\n', 'the owner moves only after a look')
  })

  await t.test('a database that is away is a question mark and its reason', async t => {
    const restore = []
    for (const role of ['setup', 'apply', 'capture']) {
      const dead = (url: string) => url.replace(/:\d+\//, ':1/')
      restore.push(await project.edit(`rooms-${role}.url`, dead))
    }
    const { exit, text } = await all(project)
    t.equal(exit, 0)
    t.match(text, /^▾ visits +canary 0 % +rooms 0 % +legacy +\d+ ms +\? moved +instant$/m)
    t.match(text, '? rooms: no PostgreSQL answers at 127.0.0.1:1 (ECONNREFUSED)')
    t.match(text, '│ ? UNREACHABLE  no PostgreSQL answers at 127.0.0.1:1 (ECONNREFUSED)\n')
    t.notMatch(text, /at rooms/, 'no figure of a database that was not asked')
    t.match(text, /WAL held \S+ [kM]?B at legacy/)
    for (const back of restore) await back()
  })

  await t.test('a file that wants more than may happen by itself waits for a word', async t => {
    const back = await project.edit('slices/visits.yaml', text =>
      text.replace('stage: canary', 'stage: moved'),
    )
    const { text } = await all(project)
    t.match(text, /^ {2}SLICE +WANT → IS/m)
    t.match(text, /^▾ visits +moved → canary 0 % /m)
    t.match(text, '│ wants moved: that gives the tables to rooms, so it stands as proposed\n')
    t.match(text, /^│ plan (\S+) waits for 1 person to approve it: banyan approve \1$/m)
    t.match(text, 'next: banyan plan visits moved\n')
    await back()
  })

  await go('moved')
  await t.test('moved: the way back is called lossless because it was looked at', async t => {
    const { text } = await all(project)
    t.match(text, /^▾ visits +moved +rooms +rooms +\d+ ms +✔ canary +one pause, lossless ✔$/m)
    t.match(text, /progress {2}1 of 1 slice moved · 2 of 4 tables/)
    t.match(text, 'next: banyan status visits -w\n')
    for (const columns of [40, 60, 72, 100, 200]) {
      const narrow = await all(project, columns)
      t.match(narrow.text, /one pause/, `the way back is on a screen of ${columns} columns`)
      await one(project, columns)
    }
  })

  await t.test('who can not be reached comes first, and what to do', async t => {
    t.notMatch((await all(project)).text, / ✖ (legacy|rooms) /)
    const gone = `http://127.0.0.1:${await freePort(0)}`
    const back = await project.edit('banyan.yaml', text =>
      text
        .replace(/(legacy: \{ url: )[^,]+/, `$1${gone}`)
        .replace(/(rooms: \{ url: )[^,]+/, `$1${gone}`),
    )
    const { text } = await all(project)
    t.match(text, `  ✖ legacy can't be reached  ${gone}: ECONNREFUSED\n`)
    t.match(text, `  ✖ rooms isn't ready  GET ${gone}/ready: ECONNREFUSED\n`)
    t.match(text, 'next: banyan back visits\n', 'it owns, and answers nobody')
    await back()
  })

  await t.test('without a router the way back is not free, and is not called lossless', async t => {
    await clients.stop()
    const { text } = await all(project)
    t.match(text, /^▾ visits .* ✖1 canary +not now ✖$/m)
    t.notMatch(text, /lossless/)
    t.match(text, 'next: banyan run router\n')
  })

  await t.test('refused and rogue writes, and a brake', async t => {
    await t.rejects(moving.legacyApp.query('UPDATE visits SET version = 2 WHERE id = 1'))
    await t.rejects(moving.legacyApp.query('UPDATE visits SET version = 3 WHERE id = 1'))
    await query(
      moving.legacy,
      `ALTER TABLE visits DISABLE TRIGGER banyan_gate; UPDATE visits SET note = 'rogue' WHERE id = 7;
       ALTER TABLE visits ENABLE ALWAYS TRIGGER banyan_gate`,
    )
    await until(moving, 'both are listed', async () => {
      const refused = await readRefused(moving.store, 1)
      return refused.length === 2 && (await readRogue(moving.store)).length === 1
    })
    await transact(moving.store, ['slice'], client =>
      setOverride(client, 'visits', { stage: 'canary', by: 'ann@ops', reason: 'rooms is slow' }),
    )
    const { text } = await all(project)
    t.match(text, /^▾ visits +moved brake /m)
    t.match(text, /^│ brake: held at canary by ann@ops, .+: rooms is slow$/m)
    t.match(text, "✖ 1 write went around the gates, on the side that isn't the owner:\n")
    t.match(
      text,
      /^ {2}visits {2}in legacy {2}UPDATE public\.visits id=7 {2}(just now|\S+ s ago)$/m,
    )
    t.match(text, '! refused writes, 24 h: 2\n')
    t.match(
      text,
      /^ {2}visits {2}in legacy {2}UPDATE public\.visits {2}by role app {2}2 times, last /m,
    )
    t.notMatch(text, 'note', 'a key, never a value')
    t.match(text, /not now ✖/)
    const named = await one(project)
    t.match(named.text, /✖ ROGUE_WRITES/)
  })

  await t.test('what a name holds can not steer the terminal', async t => {
    await moving.store.pool.query(
      `INSERT INTO banyan.refused_write VALUES ('visits', 'legacy', '0/1', clock_timestamp(), 'UPDATE', 'public.visits', $1, 'x')`,
      ['evil\u001b[2J'],
    )
    t.match((await all(project)).text, 'role evil?[2J')
  })

  await t.test('an upstream that nobody verifies is shouted', async t => {
    const back = await project.edit('banyan.yaml', text =>
      text.replace('rooms: { url', 'rooms: { insecure: true, url'),
    )
    t.match((await all(project)).text, /^! INSECURE {2}rooms http:\/\/127\.0\.0\.1:\d+: any TLS/m)
    await back()
  })

  await t.test('a controller that reads other files is named', async t => {
    const { pool } = moving.store
    const { rows } = await pool.query<{ path: string }>(
      'SELECT config_path AS path FROM banyan.controller',
    )
    await pool.query(`UPDATE banyan.controller SET config_path = '/srv/banyan.yaml'`)
    const { text } = await all(project)
    t.match(text, /^ {2}the controller reads \/srv\/banyan\.yaml on .+, not the files here$/m)
    await pool.query('UPDATE banyan.controller SET config_path = $1', [rows[0]!.path])
  })

  await t.test('--json has it all, and no secrets', async t => {
    const status = await json(project)
    t.match(status, {
      only: null,
      control: { alive: true, problems: [] },
      databases: [{ name: 'legacy', away: null }, { name: 'rooms' }],
      progress: { slices: 1, moved: 1, tables: 2, tablesMoved: 2, tablesOfLegacy: 4 },
      slices: [
        {
          slice: 'visits',
          stage: 'moved',
          owner: 'rooms',
          brake: { by: 'ann@ops' },
          rogueWrites: 1,
          checks: { to: 'canary', state: 'blocked' },
        },
      ],
      rogue: [{ key: 'id=7' }],
    })
    t.notMatch(JSON.stringify(status), 'secret')
    t.equal((await json(project, 'visits')).only, 'visits')
  })

  await t.test('a slice whose file is gone is not forgotten', async t => {
    const slices = join(dirname(project.config), 'slices')
    await rename(join(slices, 'visits.yaml'), join(slices, '.visits'))
    const { text } = await all(project)
    t.match(text, /^▾ visits +no file → moved brake /m)
    t.match(text, /its file is gone/)
    await rename(join(slices, '.visits'), join(slices, 'visits.yaml'))
  })

  await t.test('a controller that died is seen', async t => {
    await moving.store.pool.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'banyan control lease'`,
    )
    await until(moving, 'it ends', async () => !(await json(project)).control.alive)
    const { text } = await all(project)
    t.match(text, /control ✖/)
    t.match(text, 'next: banyan run control\n')
  })

  await t.test('a slice that nobody knows', async t => {
    await t.rejects(
      project.run(context => runStatus(context, 'visit', false)),
      { code: 'SLICE_UNKNOWN', hint: /visits/ },
    )
  })
})
