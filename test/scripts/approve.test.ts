import t from 'tap'
import { must } from '../../model/errors.ts'
import { runApprove } from '../../scripts/approve.ts'
import { runFlip } from '../../scripts/flip.ts'
import { runPlan, type Plan } from '../../scripts/plan.ts'
import { runStatus } from '../../scripts/status.ts'
import { readJournal } from '../../control/store/journal.ts'
import { query } from '../support/cluster.ts'
import { commandsOn, type Said } from '../support/commands.ts'
import { until, verify } from '../support/flipping.ts'
import { Clients } from '../support/moving-slice.ts'
import { flat } from '../support/screen.ts'

void t.test('the owner moves once somebody has approved it', async t => {
  const commands = await commandsOn(t)
  const { moving, project } = commands
  const { store } = moving
  const ann = { actor: 'ann@ops' }
  const bob = { actor: 'bob@desk' }
  const flip = (stage: string, who: object = ann): Promise<Said> =>
    commands.run(context => runFlip(context, 'visits', stage, {}), who)
  const approve = (plan: string, who: object = bob): Promise<Said> =>
    commands.run(context => runApprove(context, plan, {}), who)
  const planned = async (stage: string, who: object = ann): Promise<Plan> => {
    const run = (context: Parameters<typeof runPlan>[0]) => runPlan(context, 'visits', stage)
    return JSON.parse((await commands.run(run, { ...who, json: true })).text) as Plan
  }
  const hashOf = async (stage: string): Promise<string> =>
    must((await planned(stage)).plan, 'a plan').short
  /** As if everything that was said so far had been said that much earlier. */
  const age = (interval: string) =>
    query(
      store.url,
      `UPDATE banyan.plan SET planned_at = planned_at - '${interval}'::interval, good_until = good_until - '${interval}'::interval;
       UPDATE banyan.approval SET at = at - '${interval}'::interval, good_until = good_until - '${interval}'::interval;
       UPDATE banyan.flip SET ended_at = ended_at - '${interval}'::interval`,
    )
  const edit = (from: string | RegExp, to: string) =>
    project.edit('slices/visits.yaml', text => text.replace(from, to))

  let controller = await commands.controller()
  const clients = new Clients(t, moving, 1)
  for (const stage of ['sync', 'shadow', 'canary']) t.equal((await flip(stage)).exit, 0)
  await verify(moving)

  await t.test('what can not be approved, and why', async t => {
    const reads = await approve(await hashOf('shadow'))
    t.equal(reads.exit, 2)
    for (const text of ['7f3', 'moved', '000000', '']) {
      const { exit, text: said } = await approve(text)
      t.equal(exit, 2)
      t.match(said, `✖ PLAN_UNKNOWN  no plan that moves an owner begins with "${text}"\n`)
    }
    t.equal((await planned('shadow')).plan?.goodForMs, null)
    const hash = await hashOf('moved')
    t.equal(await hashOf('moved'), hash, 'the same plan, the same hash')
    const back = await edit('quietMs: 20ms', 'quietMs: 21ms')
    const changed = await approve(hash)
    t.equal(changed.exit, 3)
    t.match(
      flat(changed.text),
      `✖ PLAN_OUTDATED  what plan ${hash} of "visits" rests on is not so any more: slices/visits.yaml or its service`,
    )
    await back()
    await age('11 min')
    const old = await approve(hash)
    t.equal(old.exit, 3)
    t.match(
      flat(old.text),
      `✖ PLAN_EXPIRED  plan ${hash} of "visits" is 11 min old; it was good for 10 min look again, at a new one: banyan plan visits moved\n`,
    )
    const kinds = (await readJournal(store, { slice: 'visits', limit: 100 })).map(each => each.kind)
    t.ok(kinds.includes('flip done'))
    t.notOk(kinds.includes('plan approved'), 'nothing was approved')
  })

  await t.test('where nobody has to, an approval is a line of the journal', async t => {
    const { exit, text } = await approve(await hashOf('moved'))
    t.equal(exit, 0)
    t.match(text, /^✔ visits {2}plan \w+ approved: canary 0 % → moved\n {2}approved by bob@desk; /)
    t.match(text, 'nobody has to approve it (cutover.approvals: 0)')
    t.match(await readJournal(store, { slice: 'visits', limit: 1 }), [
      { kind: 'plan approved', actor: 'bob@desk', detail: { from: 'canary', to: 'moved' } },
    ])
  })

  await edit('cutover: { ', 'cutover: { approvals: 1, ')
  await t.test('a second person: the same hash, somebody else, and not too long ago', async t => {
    const unapproved = await flip('moved')
    t.equal(unapproved.exit, 3)
    t.match(await commands.text(), /^stage: canary$/m)
    // Whoever was refused has asked: nobody needs to plan it again.
    const hash = must(
      /APPROVAL {2}1 other person must approve plan (\w+) /.exec(unapproved.text),
      'its hash',
    )
    const short = must(hash[1], 'its hash')
    t.equal(short, await hashOf('moved'))

    const own = await approve(short, { actor: 'ann@laptop' })
    t.equal(own.exit, 0)
    t.match(flat(own.text), "asks for the flip: nobody's own approval counts")
    const still = await flip('moved')
    t.equal(still.exit, 3)
    t.match(flat(still.text), "nobody has; one's own approval doesn't count they look at it:")
    const { plan, blockers, next } = await planned('moved')
    t.match(plan, { short, needed: 1, approvedBy: ['ann@laptop'] })
    t.match(blockers, [{ code: 'APPROVAL' }])
    t.equal(next, `approve ${short}`)

    t.match(await approve(short), { exit: 0, text: 'next: banyan flip visits moved\n' })
    const back = await edit('quietMs: 20ms', 'quietMs: 21ms')
    t.match((await flip('moved')).text, /✖ APPROVAL /, 'another file, another plan')
    await back()
    await age('11 min')
    t.match((await flip('moved')).text, /✖ APPROVAL /, 'it has expired')
    await hashOf('moved')
    t.match((await flip('moved')).text, /✖ APPROVAL /, 'a new look renews no old word')
    await approve(short)
    t.match(await flip('moved'), { exit: 0, text: /^✔ visits {2}canary 0 % → moved\n/ })
  })

  await t.test('a brake waits for nobody; the way there takes a new approval', async t => {
    t.match((await flip('canary')).text, /✖ APPROVAL /)
    const status = await commands.run(context => runStatus(context, undefined, false))
    t.match(status.text, /✖1 canary +one pause, lossless ✔|✖1 +one pause, lossless ✔/)
    await edit('approvals: 1, ', '')
    const before = clients.taken
    await until(moving, 'writes at the service', async () => clients.taken > before + 3)
    t.equal((await flip('canary')).exit, 0)
  })

  await t.test('a file that would move the owner is carried out once it is approved', async t => {
    await verify(moving)
    await edit(/^stage: .*$/m, 'stage: moved')
    await commands.looked()
    t.match(await commands.fact(), { stage: 'canary', wantedStage: 'moved' })
    const status = await commands.run(context => runStatus(context, undefined, false))
    const short = must(
      /plan (\w+) waits for 1 person to approve it/.exec(status.text)?.[1],
      'its hash',
    )
    const slow = await moving.legacyApp.connect()
    await slow.query('BEGIN; UPDATE visits SET version = 7 WHERE id = 7')
    const undone = await approve(short)
    await slow.query('ROLLBACK')
    slow.release()
    t.equal(undone.exit, 4)
    t.match(flat(undone.text), 'it stays proposed; for another try it must be approved once more')
    const { length } = await commands.flips()
    await age('6 s')
    await commands.looked()
    t.equal((await commands.flips()).length, length, 'one word, one attempt that clients feel')
    const again = await commands.run(context => runStatus(context, undefined, false))
    t.match(again.text, `plan ${short} waits for 1 person to approve it`)

    const { exit, text } = await approve(short, ann)
    t.equal(exit, 0)
    t.match(
      text,
      /^✔ visits {2}plan \w+ approved: canary 0 % → moved\n✔ visits {2}canary 0 % → moved\n {2}pause \d+ ms = hold /,
    )
    t.match(text, 'way back: one pause, lossless: banyan back visits\n')
    t.match((await commands.flips())[0], { kind: 'file', actor: 'ann@ops', outcome: 'done' })
    const late = await approve(short, ann)
    t.match(flat(late.text), /✖ PLAN_OUTDATED .* it was made at canary, and the slice is at moved/)
  })

  await t.test('without a controller the command brings its own', async t => {
    await controller[Symbol.asyncDispose]()
    await edit(/^stage: .*$/m, 'stage: canary')
    const { short, proposed } = must((await planned('canary')).plan, 'a plan')
    t.equal(proposed, true)
    const { exit, text } = await approve(short)
    t.equal(exit, 0)
    t.match(text, /^✔ visits {2}moved → canary 0 %\n {2}pause \d+ ms = hold /m)
    t.match(await commands.fact(), { stage: 'canary' })
  })

  await t.test('approved, and refused all the same: it stays proposed', async t => {
    await clients.stop()
    await edit(/^stage: .*$/m, 'stage: moved')
    const { short } = must((await planned('moved')).plan, 'a plan')
    const json = await commands.run(context => runApprove(context, short, {}), {
      ...bob,
      json: true,
    })
    t.equal(json.exit, 3)
    t.match(JSON.parse(json.text), {
      ...{ proposed: true, needed: 1, approvals: [{ actor: 'bob@desk' }] },
      flip: { kind: 'file', outcome: 'refused', error: { exit: 3 } },
    })
    t.match(await commands.fact(), { stage: 'canary', wantedStage: 'moved' })
    // A step that was refused isn't tried again for 5 s.
    await age('10 s')
    controller = await commands.controller()
    const router = new Clients(t, moving, 0)
    await verify(moving)
    await until(moving, 'it is tried again', async () => (await commands.fact()).stage === 'moved')
    await router.stop()
    await controller[Symbol.asyncDispose]()
  })
  t.same(clients.failed, [])
})
