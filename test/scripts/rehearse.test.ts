import t from 'tap'
import { readJournal } from '../../control/store/journal.ts'
import { requestFlip } from '../../control/store/flips.ts'
import { must } from '../../model/errors.ts'
import { runFlip } from '../../scripts/flip.ts'
import { runPause } from '../../scripts/pause.ts'
import { runPlan } from '../../scripts/plan.ts'
import { runRehearse } from '../../scripts/rehearse.ts'
import { runRelease } from '../../scripts/release.ts'
import { runWhy } from '../../scripts/why.ts'
import { query } from '../support/cluster.ts'
import { commandsOn, type Said } from '../support/commands.ts'
import { until, verify } from '../support/flipping.ts'
import { Clients } from '../support/moving-slice.ts'
import { flat } from '../support/screen.ts'

const REHEARSED = ['hold', 'drain', 'fence', 'reach', 'compare', 'abort']

void t.test('a rehearsal has the pause of a flip, and moves nothing', async t => {
  const commands = await commandsOn(t)
  const { moving } = commands
  const { store } = moving
  const rehearse = (options: Parameters<typeof commands.run>[1] = {}): Promise<Said> =>
    commands.run(context => runRehearse(context, 'visits', {}), options)
  const flip = (stage: string, options: Parameters<typeof commands.run>[1] = {}): Promise<Said> =>
    commands.run(context => runFlip(context, 'visits', stage, {}), options)
  const last = async () => must((await commands.flips())[0], 'a flip')
  /** All that a rehearsal must leave as it was: stage and file, and the keys that a move loosens and brings back. */
  const standing = async () => {
    const { stage, percent, wantedStage, override } = await commands.fact()
    const keys = await query(
      moving.legacy,
      `SELECT conname FROM pg_constraint WHERE contype = 'f' AND conname LIKE '%visit_id%' ORDER BY 1`,
    )
    const loosened = await query(moving.legacy, 'SELECT * FROM banyan.loosened_key ORDER BY name')
    return {
      ...{ stage, percent, wantedStage, override, keys, loosened },
      file: [await commands.text(), await commands.written()],
    }
  }
  const decisions = () =>
    query<{ epoch: number; verdict: string }>(
      moving.legacy,
      'SELECT epoch::int, verdict FROM banyan.decision ORDER BY epoch',
    )

  const early = await rehearse()
  t.equal(early.exit, 3)
  t.match(flat(early.text), /^✖ NOTHING_TO_REHEARSE {2}"visits" is at legacy: no step from there/)
  t.same(await commands.flips(), [])

  const controller = await commands.controller()
  const clients = new Clients(t, moving, 2)
  for (const stage of ['sync', 'shadow', 'canary']) t.equal((await flip(stage)).exit, 0)

  await t.test('refused as the flip would be', async t => {
    const before = await standing()
    const { exit, text } = await rehearse()
    t.equal(exit, 3)
    t.match(text, /^✖ VERIFY_MISSING /m)
    t.same(await standing(), before)
    t.match(await last(), { kind: 'rehearsal', outcome: 'refused', steps: [] })
    // One that would move only reads has no fence to stop at: it would be the flip itself.
    const wanted = { slice: 'visits', from: 'canary', to: 'shadow', percent: 0 } as const
    await requestFlip(store, { ...wanted, actor: 'tester', kind: 'rehearsal' })
    await until(moving, 'its end', async () => (await last()).endedAtMs !== null)
    t.match(await last(), { outcome: 'refused', error: { code: 'NOTHING_TO_REHEARSE' } })
    t.same(await standing(), before)
    await commands.run(context => runPause(context, 'visits', {}))
    t.match(await rehearse(), {
      exit: 3,
      text: /^✖ OVERRIDDEN {2}"visits" is paused at canary by /,
    })
    await commands.run(context => runRelease(context, 'visits'))
  })

  await verify(moving)
  await t.test('on the way there', async t => {
    const before = await standing()
    const taken = clients.taken
    const { exit, text } = await rehearse()
    t.equal(exit, 0)
    t.match(
      text,
      /^✔ visits {2}canary 0 % → moved, rehearsed\n {2}pause \d+ ms = hold \d+ · drain \d+ · fence \d+ · reach \d+ · compare \d+ ·\s+abort \d+\n/,
    )
    const { epoch, ...ended } = await last()
    t.match(
      flat(text),
      `nothing moved: it stays at canary 0 %, legacy owns its tables; epoch ${epoch} is used up`,
    )
    t.match(text, /next: banyan plan visits moved\n$/)
    t.match(ended, { kind: 'rehearsal', outcome: 'done', error: null })
    t.same(
      ended.steps.map(each => each.step),
      REHEARSED,
    )
    t.ok(ended.steps.every(each => each.ms !== null))
    t.same(await standing(), before, 'stage, file and keys are as they were')
    t.match((await decisions()).at(-1), { epoch, verdict: 'ABORTED' })
    await until(moving, 'writes go on', async () => clients.taken > taken + 5)
    const kinds = (await readJournal(store, { slice: 'visits', limit: 3 })).map(each => each.kind)
    t.same(kinds, ['rehearsal done', 'rehearsal started', 'rehearsal requested'])
    const plan = await commands.run(context => runPlan(context, 'visits', 'moved'))
    t.match(plan.text, /pause +\d+ m?s the last time, rehearsed/)
    t.match(plan.text, `→ ${(epoch ?? 0) + 1}`)
    const why = await commands.run(context => runWhy(context, 'visits'))
    t.match(
      why.text.replace(/\n +/g, ' '),
      /last flip {2}✔ canary → moved rehearsed (just now|\S+ m?s ago), asked for by tester@here \(rehearsal\) nothing moved pause \d+ ms = hold /,
    )
  })

  await t.test('one that is undone for a reason says which', async t => {
    const slow = await moving.legacyApp.connect()
    await slow.query(`BEGIN; UPDATE visits SET version = 7 WHERE id = 7`)
    const before = await standing()
    const { exit, text } = await rehearse()
    await slow.query('ROLLBACK')
    slow.release()
    t.equal(exit, 4)
    t.match(
      flat(text),
      /^✖ FLIP_UNDONE {2}"visits" stays at canary: the tables of "visits" did not come to rest/,
    )
    t.match(await last(), { kind: 'rehearsal', outcome: 'undone' })
    t.equal((await last()).epoch, (await commands.fact()).epoch, 'its epoch is used up as well')
    t.same(await standing(), before)
  })

  await t.test('the flip that was rehearsed, in an epoch of its own', async t => {
    const undone = (await last()).epoch ?? 0
    t.match(await flip('moved'), { exit: 0, text: /^✔ visits {2}canary 0 % → moved\n/ })
    t.ok(((await last()).epoch ?? 0) > undone)
    t.match((await decisions()).at(-1), { verdict: 'PROMOTED' })
  })

  await controller[Symbol.asyncDispose]()
  await t.test('on the way back, without a controller; the loosened keys stay so', async t => {
    const before = await standing()
    t.match(before.loosened, [{ name: 'bills_visit_id_fkey' }])
    t.same(before.keys, [])
    const taken = clients.taken
    const { exit, text } = await rehearse({ json: true })
    t.equal(exit, 0)
    t.match(JSON.parse(text), { kind: 'rehearsal', outcome: 'done', from: 'moved', to: 'canary' })
    t.same(await standing(), before)
    await until(moving, 'writes go on at the service', async () => clients.taken > taken + 5)
  })

  await t.test(
    'Ctrl-C before the decision: said at once, undone, and said how it ended',
    async t => {
      const slow = await moving.serviceApp.connect()
      await slow.query(`BEGIN; UPDATE visit SET version = 7 WHERE id = 7`)
      const before = await standing()
      const enough = new AbortController()
      const waiting = flip('canary', { signal: enough.signal })
      // While that transaction is open nothing gets past the hold.
      await until(moving, 'the hold', async () => (await last()).steps.at(-1)?.step === 'hold')
      enough.abort()
      const { exit, text } = await waiting
      await slow.query('ROLLBACK')
      slow.release()
      t.equal(exit, 4)
      t.match(
        flat(text),
        /^ {2}Ctrl-C: it is at hold, before its decision: it is undone and visits stays at moved, unless it is decided first\n✖ FLIP_UNDONE {2}"visits" stays at moved: its controller was told to stop at hold /,
      )
      t.match(await last(), { outcome: 'undone' })
      t.match(await standing(), { stage: 'moved', file: [before.file[0]] })
    },
  )

  await clients.stop()
  t.same(clients.failed, [], 'no write failed')
})
