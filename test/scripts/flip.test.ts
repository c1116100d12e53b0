import { hostname } from 'node:os'
import t from 'tap'
import { transact } from '../../control/store/store.ts'
import { clearOverride, setOverride } from '../../control/store/slices.ts'
import { runFlip } from '../../scripts/flip.ts'
import type { FlipOptions } from '../../scripts/banyan.ts'
import { query } from '../support/cluster.ts'
import { commandsOn, type Said } from '../support/commands.ts'
import { until, verify } from '../support/flipping.ts'
import { Clients } from '../support/moving-slice.ts'
import { flat } from '../support/screen.ts'

/** As people write them: comments, an order of their own, quotes. */
const written = (text: string): string =>
  text
    .replace('stage: legacy', 'stage: legacy   # ask the ward before moved')
    .replace(
      'canary: { by: [cookie:sid] }',
      'canary: # reads only\n  by: [cookie:sid]\n  percent: 5 # of the keys\n# the end',
    )

void t.test('a flip moves the slice and its file together, or neither', async t => {
  const commands = await commandsOn(t, written)
  const { moving, project } = commands
  const { store } = moving
  const flip = (
    stage?: string,
    options: FlipOptions & { json?: boolean; actor?: string; signal?: AbortSignal } = {},
  ): Promise<Said> => {
    const { percent, reason, ...context } = options
    const wanted = {
      ...(percent !== undefined && { percent }),
      ...(reason !== undefined && { reason }),
    }
    return commands.run(each => runFlip(each, 'visits', stage, wanted), context)
  }
  /** Runs it; afterwards the file must be as it was, byte for byte, and the slice where it was. */
  const refused = async (
    stage?: string,
    options: Parameters<typeof flip>[1] = {},
  ): Promise<Said> => {
    const [text, { stage: here, percent }] = [await commands.text(), await commands.fact()]
    const said = await flip(stage, options)
    t.equal(await commands.text(), text, 'the file is as it was')
    t.match(await commands.fact(), { stage: here, percent }, 'and so is the slice')
    return said
  }

  await t.test('what it is given must make sense', async t => {
    const unwritten = await commands.written()
    const stage = await refused('mooved')
    t.equal(stage.exit, 2)
    t.match(
      flat(stage.text),
      /^✖ OPTION_INVALID {2}the stage can't be "mooved": did you mean moved\? it is one of legacy, sync, shadow, canary, moved see /,
    )
    const slice = await commands.run(context => runFlip(context, 'visit', undefined, {}))
    t.equal(slice.exit, 2)
    t.match(
      slice.text,
      /^✖ SLICE_UNKNOWN {2}there is no slice "visit"\n {2}the slices are: visits;/,
    )
    for (const percent of ['101', '-1', 'half', '', '%', 'NaN']) {
      const said = await refused('canary', { percent })
      t.match(said.text, '✖ OPTION_INVALID  --percent', `--percent "${percent}"`)
      t.equal(said.exit, 2)
    }
    const other = await refused('sync', { percent: '5' })
    t.match(other.text, '✖ OPTION_INVALID  --percent', 'only canary has one')
    const retired = await refused('retired')
    t.match(retired.text, /^✖ RETIRE_LATER/)
    t.equal(retired.exit, 3)
    const there = await refused('legacy')
    t.equal(there.exit, 0)
    t.equal(there.text, '✔ visits is at legacy already\n')
    t.same(await commands.flips(), [], 'nothing was asked for')
    t.equal(await commands.written(), unwritten, 'nothing was written')
  })

  await t.test(
    'a controller that reads other files: the patch, for whoever may bring it there',
    async t => {
      await using _ = await commands.idle()
      for (const [path, host] of [
        ['/srv/banyan.yaml', hostname()],
        [project.config, 'another'],
      ]) {
        await query(store.url, 'UPDATE banyan.controller SET config_path = $1, host = $2', [
          path,
          host,
        ])
        const unwritten = await commands.written()
        const { exit, text } = await refused()
        t.equal(exit, 5)
        t.match(
          text,
          /^--- a\/slices\/visits\.yaml\n\+\+\+ b\/slices\/visits\.yaml\n@@ .* @@\n[^]*^-stage: legacy {3}# ask the ward before moved\n\+stage: sync {3}# ask/m,
        )
        t.match(
          text.replace(/\s/g, ''),
          `✖ FILE_ELSEWHERE  the controller reads ${path} on ${host}, not the file here`.replace(
            /\s/g,
            '',
          ),
        )
        const json = await refused(undefined, { json: true })
        t.equal(json.exit, 5)
        t.match(JSON.parse(json.text), { error: { code: 'FILE_ELSEWHERE', exit: 5 } })
        t.equal(await commands.written(), unwritten)
      }
      t.same(await commands.flips(), [])
    },
  )

  await t.test('a database that is away is a coded error', async t => {
    const back = []
    for (const role of ['setup', 'apply', 'capture']) {
      back.push(await project.edit(`rooms-${role}.url`, url => url.replace(/:\d+\//, ':1/')))
    }
    const { exit, text } = await refused()
    t.match(text, /^✖ UNREACHABLE {2}no PostgreSQL answers at 127\.0\.0\.1:1 \(ECONNREFUSED\)/m)
    t.notMatch(text, 'secret')
    t.equal(exit, 4)
    for (const restore of back) await restore()
  })

  await t.test(
    'a controller of its own that may not begin says why, and leaves nothing',
    async t => {
      await query(
        store.url,
        `INSERT INTO banyan.slice (name, service, stage) VALUES ('gone', 'rooms', 'sync')`,
      )
      const { exit, text } = await refused()
      t.match(text, '✖ SLICE_FILE_GONE  the files of slices in motion are gone: gone\n')
      t.equal(exit, 5)
      t.match((await commands.flips())[0], {
        outcome: 'undone',
        error: { code: 'SLICE_FILE_GONE' },
      })
      await query(store.url, `DELETE FROM banyan.slice WHERE name = 'gone'`)
    },
  )

  await t.test('without a controller the command brings its own', async t => {
    const before = await commands.text()
    const { exit, text } = await flip(undefined, { reason: 'the first step' })
    t.equal(exit, 0)
    t.match(text, /^✔ visits {2}legacy → sync\n {2}2,045 rows in [\d.]+ m?s, in step, lag \d+ ms\n/)
    t.match(text, 'next: banyan flip visits      # shadow\n')
    t.match(text, 'way back: instant: banyan back visits\n')
    t.equal(
      await commands.text(),
      before.replace('stage: legacy', 'stage: sync'),
      'comments and order kept',
    )
    t.match(await commands.fact(), { stage: 'sync' })
    t.match((await commands.flips())[0], {
      actor: 'tester@here',
      reason: 'the first step',
      kind: 'flip',
    })
  })

  await t.test(
    'who stops waiting where nobody is there to do it takes the request back',
    async t => {
      const back = []
      for (const role of ['setup', 'apply', 'capture']) {
        back.push(await project.edit(`legacy-${role}.url`, url => url.replace(/:\d+\//, ':1/')))
      }
      const before = (await commands.flips()).length
      const enough = new AbortController()
      // A slice in motion is settled first, and that needs legacy: its flip isn't begun.
      const waiting = refused(undefined, { signal: enough.signal })
      await until(moving, 'a request', async () => (await commands.flips()).length > before)
      enough.abort()
      const { exit, text } = await waiting
      t.equal(exit, 4)
      t.match(text, '✖ FLIP_UNDONE  "visits" stays at sync: you stopped waiting for it\n')
      t.match((await commands.flips())[0], { outcome: 'undone', error: { code: 'FLIP_UNDONE' } })
      for (const restore of back) await restore()
    },
  )

  await using _controller = await commands.controller()
  const clients = new Clients(t, moving, 0)

  await t.test('a stage that is skipped', async t => {
    const unwritten = await commands.written()
    const { exit, text } = await refused('canary')
    t.equal(exit, 3)
    t.match(
      flat(text),
      /^✖ STAGE_SKIPPED {2}"visits" is at sync: it can go to shadow or legacy, not to canary one step/,
    )
    t.match(flat(text), 'one step at a time: `banyan flip visits shadow`\n')
    t.equal(
      await commands.written(),
      unwritten,
      'or the controller would go a step of that way by itself',
    )
    await commands.looked()
    t.match(await commands.fact(), { stage: 'sync' })
  })

  await t.test('a service that is down', async t => {
    const back = await project.edit('banyan.yaml', text =>
      text.replace(/(rooms: \{ url: http:..127\.0\.0\.1:)\d+/, '$11'),
    )
    const { exit, text } = await refused()
    t.equal(exit, 3)
    t.match(flat(text), /^✖ SERVICE_DOWN {2}the service of "visits" isn't ready: .+ start it, then/)
    t.match(
      flat(text),
      /^✖ FLIP_REFUSED {2}"visits" can not go to shadow now: SERVICE_DOWN nothing was/m,
    )
    await back()
  })

  await t.test('a percentage moves reads, in the file and in fact', async t => {
    t.equal((await flip()).exit, 0)
    const before = await commands.text()
    const canary = await flip(undefined, { percent: '12.5%' })
    t.match(canary.text, /^✔ visits {2}shadow → canary 12\.5 %\n/)
    t.equal(
      await commands.text(),
      before.replace('stage: shadow', 'stage: canary').replace('percent: 5 #', 'percent: 12.5 #'),
    )
    t.match(await commands.fact(), { stage: 'canary', percent: 12.5 })
    const more = await flip(undefined, { percent: '50', json: true })
    t.equal(more.exit, 0)
    t.match(JSON.parse(more.text), { from: 'canary', to: 'canary', percent: 50, outcome: 'done' })
    t.match(await commands.text(), 'percent: 50 # of the keys')
    t.match(await commands.fact(), { stage: 'canary', percent: 50 })
    const same = await flip('canary', { json: true })
    t.equal(same.exit, 0)
    t.match(JSON.parse(same.text), { slice: 'visits', to: 'canary', percent: 50, outcome: 'done' })
  })

  await t.test('everything in the way at once, each with what clears it', async t => {
    await clients.stop()
    const back = await project.edit('slices/visits.yaml', text =>
      text.replace(', bills.visit_id: loose', ''),
    )
    const { exit, text } = await refused('moved')
    t.equal(exit, 3)
    t.match(text, /^✖ ROUTER_MISSING .+\n {2}banyan run router$/m)
    t.match(text, /^✖ VERIFY_MISSING .+\n {2}banyan verify visits$/m)
    t.match(
      flat(text),
      /^✖ FK_CROSSES {2}foreign key bills\.visit_id .+ has no answer \(slices\/visits\.yaml:\d+:\d+\) add a line under foreignKeys: `bills\.visit_id: check \| loose` \(check: legacy keeps the key, for its own writes; loose: /m,
    )
    t.match(
      flat(text),
      /^✖ FLIP_REFUSED .+: ROUTER_MISSING, VERIFY_MISSING, FK_CROSSES nothing was/m,
    )
    const json = await refused('moved', { json: true })
    t.equal(json.exit, 3)
    t.match(JSON.parse(json.text), {
      outcome: 'refused',
      error: {
        code: 'FLIP_REFUSED',
        exit: 3,
        blockers: [{ code: 'ROUTER_MISSING' }, {}, { code: 'FK_CROSSES' }],
      },
    })
    const line = (await commands.text())
      .split('\n')
      .findIndex(each => each.startsWith('foreignKeys:'))
    t.match(text, `slices/visits.yaml:${line + 1}:`, 'the place where the answer belongs')
    await back()
  })

  await t.test('under a brake', async t => {
    await transact(store, ['slice'], client =>
      setOverride(client, 'visits', { stage: 'canary', by: 'ann@ops', reason: 'rooms is slow' }),
    )
    const { exit, text } = await refused('moved')
    t.equal(exit, 3)
    t.match(text, '✖ OVERRIDDEN  "visits" is held at canary by ann@ops: rooms is slow\n')
    await transact(store, ['slice'], client => clearOverride(client, 'visits'))
  })

  await t.test('a flip that moves the owner says what the pause was made of', async t => {
    const writing = new Clients(t, moving, 2)
    t.match(await verify(moving), { differences: 0 })
    await until(moving, 'a router', async () => writing.taken > 5)
    const { exit, text } = await flip('moved')
    t.equal(exit, 0)
    t.match(
      text,
      /^✔ visits {2}canary 50 % → moved\n {2}pause \d+ ms = hold \d+ · drain \d+ · fence \d+ · /,
    )
    t.match(text, 'next: banyan status\nway back: one pause, lossless: banyan back visits\n')
    t.match(await commands.text(), 'stage: moved   # ask the ward before moved')
    t.match(await commands.fact(), { stage: 'moved' })
    await writing.stop()
    t.same(writing.failed, [])
  })
})
