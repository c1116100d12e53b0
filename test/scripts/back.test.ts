import t from 'tap'
import { requestFlip, startFlip, endFlip } from '../../control/store/flips.ts'
import { readJournal } from '../../control/store/journal.ts'
import { setStage } from '../../control/store/slices.ts'
import { transact } from '../../control/store/store.ts'
import { runBack } from '../../scripts/back.ts'
import { runFlip } from '../../scripts/flip.ts'
import { query } from '../support/cluster.ts'
import { commandsOn, type Said } from '../support/commands.ts'
import { until, verify } from '../support/flipping.ts'
import { Clients } from '../support/moving-slice.ts'
import { flat } from '../support/screen.ts'

void t.test('the brake takes a slice back, whatever its file says', async t => {
  const commands = await commandsOn(t)
  const { moving } = commands
  const { store } = moving
  const back = (
    stage?: string,
    {
      reason,
      ...context
    }: { reason?: string; json?: boolean; actor?: string; signal?: AbortSignal } = {},
  ): Promise<Said> =>
    commands.run(
      each => runBack(each, 'visits', stage, reason === undefined ? {} : { reason }),
      context,
    )
  const flip = async (stage: string): Promise<void> => {
    const { exit, text } = await commands.run(each => runFlip(each, 'visits', stage, {}))
    if (exit !== 0) throw new Error(text)
  }
  const release = () =>
    query(
      store.url,
      'UPDATE banyan.slice SET override_stage = NULL, override_by = NULL, override_reason = NULL',
    )

  /** As if the flips had ended that much earlier: a step that was refused isn't tried again for 5 s. */
  const age = (seconds: number) =>
    query(store.url, 'UPDATE banyan.flip SET ended_at = ended_at - make_interval(secs => $1)', [
      seconds,
    ])

  /** Released, the slice follows its file; the flip that does it is over. */
  const follows = (stage: string) =>
    until(moving, `it follows its file to ${stage}`, async () => {
      const [last] = await commands.flips()
      return last?.endedAtMs !== null && (await commands.fact()).stage === stage
    })

  await t.test('where nothing is behind', async t => {
    for (const stage of [undefined, 'legacy', 'sync', 'moved']) {
      const { exit, text } = await back(stage)
      t.equal(exit, 3)
      t.match(
        flat(text),
        /^✖ NOTHING_BACK {2}"visits" is at legacy: there is no way back from there to /,
      )
    }
    const stage = await back('leagcy')
    t.equal(stage.exit, 2)
    t.match(
      flat(stage.text),
      /^✖ OPTION_INVALID {2}the stage can't be "leagcy": did you mean legacy\? it is one of legacy, sync, shadow, canary, moved see `banyan back --help`$/m,
    )
    const slice = await commands.run(context => runBack(context, 'visit', undefined, {}))
    t.equal(slice.exit, 2)
    t.match(slice.text, /^✖ SLICE_UNKNOWN/)
    t.match(await commands.fact(), { override: null }, 'no brake')
  })

  await flip('sync')
  await flip('shadow')
  const patch = (from: string, to: string) =>
    new RegExp(
      `^--- a/slices/visits\\.yaml\\n\\+\\+\\+ b/.*\\n@@ .*\\n[^]*^-stage: ${from}\\n\\+stage: ${to}\\n`,
      'm',
    )

  await t.test('without a controller, one stage by default', async t => {
    const { exit, text } = await back(undefined, { reason: 'too many differences' })
    t.equal(exit, 0)
    t.match(text, /^✔ visits {2}shadow → sync\n {2}the brake is on until: banyan release visits\n/)
    t.match(
      flat(text),
      'slices/visits.yaml still wants shadow: once released, it goes to shadow again, unless the file is made to say what is:\n',
    )
    t.match(text, patch('shadow', 'sync'))
    t.match(text, /^next: banyan why visits$/m)
    t.match(await commands.text(), /^stage: shadow$/m, 'a brake needs no file')
    t.match(await commands.fact(), {
      stage: 'sync',
      override: { stage: 'sync', by: 'tester@here', reason: 'too many differences' },
    })
    const entries = await readJournal(store, { slice: 'visits', limit: 20 })
    t.match(
      entries.find(each => each.kind === 'brake on'),
      {
        actor: 'tester@here',
        detail: { from: 'shadow', to: 'sync', reason: 'too many differences' },
      },
    )
    await release()
  })

  let controller = await commands.controller()
  await follows('shadow')
  await flip('canary')

  await t.test('a brake stands against the file', async t => {
    const { exit, text } = await back(undefined, { json: true, actor: 'ann@ops' })
    t.equal(exit, 0)
    const said = JSON.parse(text) as { diff: string }
    t.match(said, {
      ...{ slice: 'visits', from: 'canary', to: 'shadow', done: true },
      flips: [{ from: 'canary', to: 'shadow', outcome: 'done', kind: 'back', actor: 'ann@ops' }],
    })
    t.match(said.diff, patch('canary', 'shadow'))
    await commands.looked()
    t.match(await commands.fact(), { stage: 'shadow', wantedStage: 'canary' })
    const flips = await commands.flips()
    const again = await back('sync', { actor: 'bob@desk' })
    t.match(again.text, /^✔ visits {2}shadow → sync\n/, 'and it can be put further back')
    t.equal((await commands.flips()).length, flips.length + 1)
    t.match(await commands.fact(), { override: { stage: 'sync', by: 'bob@desk' } })
    await release()
    await follows('canary')
  })

  await t.test('who is told late is told what was done', async t => {
    // The controller was so quick that it had ended before the command looked.
    const slow = await store.pool.connect()
    await slow.query('BEGIN; LOCK banyan.controller IN ACCESS EXCLUSIVE MODE')
    const running = back('shadow')
    await until(moving, 'the brake', async () => (await commands.fact()).override !== null)
    const wanted = { slice: 'visits', from: 'canary', to: 'shadow', percent: 0 } as const
    const id = await requestFlip(store, { ...wanted, actor: 'tester@here', kind: 'back' })
    await startFlip(store, id, null)
    await transact(store, ['slice'], client =>
      setStage(client, 'visits', { stage: 'shadow', percent: 0 }),
    )
    await endFlip(store, id, 'done', null)
    await slow.query('COMMIT')
    slow.release()
    const { exit, text } = await running
    t.match(text, /^✔ visits {2}canary 0 % → shadow\n/)
    t.equal(exit, 0)
    await release()
    await follows('canary')
  })

  const first = new Clients(t, moving, 3)
  await verify(moving)
  await flip('moved')

  await t.test('a step that is refused, or not waited for: the brake stays on', async t => {
    const before = first.taken
    await until(moving, 'writes at the service', async () => first.taken > before + 20)
    await first.stop()
    await controller[Symbol.asyncDispose]()
    const text = await back()
    t.equal(text.exit, 3)
    t.match(flat(text.text), /^✖ ROUTER_MISSING .*\n✖ FLIP_REFUSED .* the brake stays on: /)
    // A controller of its own, and the step was refused a moment ago: it is tried again all the same.
    await age(4)
    const json = await back('legacy', { json: true })
    t.equal(json.exit, 3)
    t.match(JSON.parse(json.text), {
      ...{ to: 'legacy', done: false, error: { code: 'FLIP_REFUSED', exit: 3 } },
      flips: [{ to: 'canary', outcome: 'refused' }],
    })
    await release()
    const idle = await commands.idle()
    const enough = new AbortController()
    const waiting = back('legacy', { signal: enough.signal })
    await until(moving, 'the brake', async () => (await commands.fact()).override !== null)
    enough.abort()
    const stopped = await waiting
    t.equal(stopped.exit, 4)
    t.match(
      stopped.text,
      /^✖ FLIP_LEFT .*: nobody has taken the brake up yet\n.*\n {2}the brake stays on: /,
    )
    t.match(await commands.fact(), { stage: 'moved', override: { stage: 'legacy' } })
    await release()
    await age(10)
    await idle[Symbol.asyncDispose]()
    controller = await commands.controller()
  })

  const clients = new Clients(t, moving, 3)

  await t.test('from moved to legacy in one command, with every write', async t => {
    const before = clients.taken
    await until(moving, 'writes at the service', async () => clients.taken > before + 20)
    const { exit, text } = await back('legacy', { reason: 'the rooms are double booked' })
    t.equal(exit, 0)
    t.match(
      text,
      /^✔ visits {2}moved → canary 0 %\n {2}pause \d+ ms = hold [^✔]*\n✔ visits {2}canary 0 % → legacy\n/,
    )
    t.match(text, patch('moved', 'legacy'))
    t.match(await commands.fact(), { stage: 'legacy', wantedStage: 'moved' })
    await commands.looked()
    t.match(await commands.fact(), { stage: 'legacy' }, 'whatever the file wants')
    await clients.stop()
    t.same([...first.failed, ...clients.failed], [])
    const told = [...first.told, ...clients.told]
    t.ok(told.length > 40, `${told.length} writes`)
    const rows = await query<{ op: string; times: number }>(
      moving.legacy,
      'SELECT op, count(*)::int AS times FROM visits WHERE op = ANY ($1) GROUP BY op',
      [told.map(each => each.op)],
    )
    t.equal(rows.length, told.length, 'none is missing')
    t.ok(
      rows.every(each => each.times === 1),
      'none is doubled',
    )
    const [seats] = await query(moving.legacy, 'SELECT sum(taken)::int AS taken FROM seats')
    t.equal(seats?.['taken'], told.length)
  })

  await t.test('from legacy nothing is back', async t => {
    const { exit, text } = await back()
    t.equal(exit, 3)
    t.match(text, /^✖ NOTHING_BACK/)
    t.match(
      await commands.fact(),
      { override: { reason: 'the rooms are double booked' } },
      'the brake is as it was',
    )
    await controller[Symbol.asyncDispose]()
  })
})
