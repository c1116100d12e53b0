/** A moved slice whose service database is gone: given up on a person's word, and closed first should it come back. */
import { readFile } from 'node:fs/promises'
import pg from 'pg'
import t from 'tap'
import { readAbandoned } from '../../control/store/abandoned.ts'
import { readRogue } from '../../control/store/findings.ts'
import { type FlipError, readFlips } from '../../control/store/flips.ts'
import { readJournal } from '../../control/store/journal.ts'
import { readOrders } from '../../control/store/orders.ts'
import { readSlices } from '../../control/store/slices.ts'
import { readStreams } from '../../control/store/streams.ts'
import { type Loss, readWayBack } from '../../control/way-back.ts'
import { must } from '../../model/errors.ts'
import { runAbandon } from '../../scripts/back-abandon.ts'
import { runBack } from '../../scripts/back.ts'
import { type Context, type ExitCode, fail } from '../../scripts/context.ts'
import { runDoctor } from '../../scripts/doctor.ts'
import { runPlan } from '../../scripts/plan.ts'
import { runRelease } from '../../scripts/release.ts'
import { runStatus } from '../../scripts/status.ts'
import { runWhy, type Why } from '../../scripts/why.ts'
import { query, type TestCluster } from '../support/cluster.ts'
import { cutSessions, flip, inStep, same, toCanary, until, verify } from '../support/flipping.ts'
import { Clients, movingSlice } from '../support/moving-slice.ts'
import { controllerOf, flat, projectOf } from '../support/screen.ts'

const REVERSE = 'rooms>legacy:visits'

void t.test('a dead service is given up, and closed should it come back', async t => {
  // The machine may be slow; what is tried here is no pause.
  const moving = await movingSlice(t, { limits: 'lagMaxMs: 15s' })
  const { store, clusters } = moving
  const clients = new Clients(t, moving, 2)
  await until(moving, 'writes', async () => clients.told.length > 5)
  await toCanary(t, moving)
  t.match(await flip(moving, 'moved'), { outcome: 'done' })
  const before = clients.told.length
  await until(moving, 'writes at the service', async () => clients.told.length > before + 10)
  await clients.stop()
  await until(moving, 'both sides are equal', () => same(moving))
  await controllerOf(moving)
  const project = await projectOf(t, moving)
  await project.want('moved')
  const run = (
    command: (context: Context) => Promise<ExitCode>,
    options: { json?: boolean; ask?: Context['ask'] } = {},
  ) => {
    const { ask, ...rest } = options
    const asking = (context: Context) => command(ask ? { ...context, ask } : context)
    return project.run(context => asking(context).catch(error => fail(context, error)), rest)
  }
  const flips = () => readFlips(store, { slice: 'visits', limit: 1 })
  const stage = async () => must((await readSlices(store.pool))[0], 'the slice').stage

  await t.test('a database that says nothing more in the middle of the way back', async t => {
    const clients = new Clients(t, moving, 1)
    const [fences] = await query(moving.service, 'SELECT count(*)::int AS n FROM banyan.fence')
    // The stream stands still at legacy's door, so the flip waits for it behind the fence.
    const door = await closeDoor()
    const flipping = flip(moving, 'canary')
    await until(moving, 'the fence', async () => {
      const [row] = await query(moving.service, 'SELECT count(*)::int AS n FROM banyan.fence')
      return row!['n'] > fences!['n']
    })
    const thaw = await freeze(clusters.service)
    await door.end()
    t.match(await flipping, { outcome: 'undone', error: { code: 'SERVICE_AWAY' } })
    const started = performance.now()
    const { exit, text } = await run(context => runBack(context, 'visits', undefined, {}))
    t.equal(exit, 5)
    t.match(line(text), /✖ SERVICE_AWAY .*no answer.* banyan back visits --abandon/)
    t.ok(performance.now() - started < 15_000, 'soon')
    await store.pool.query('UPDATE banyan.slice SET override_stage = NULL')
    thaw()
    const before = clients.told.length
    await until(moving, 'the service owns again', async () => clients.told.length > before + 5)
    // The brake may be obeyed all the same: its flip had begun before it was taken off.
    await until(moving, 'it is moved, and at rest', async () => {
      if ((await readFlips(store, { open: true, limit: 1 })).length > 0) return false
      if ((await stage()) === 'moved') return true
      await inStep(moving)
      await verify(moving)
      await flip(moving, 'moved').catch(() => undefined)
      return false
    })
    await clients.stop()
    await until(moving, 'both sides are equal', () => same(moving))
  })

  // Three writes that the service acknowledges and the stream never brings.
  const lost = await brokenOff(async () => {
    const { rows } = await moving.serviceApp.query<{ id: string }>(
      `INSERT INTO visit (op, physician_id, note) SELECT gen_random_uuid(), 1, 'lost' FROM generate_series(1, 2) RETURNING id`,
    )
    await moving.serviceApp.query(`UPDATE seats SET taken = taken + 1 WHERE room = 1 AND at = 'h1'`)
    return rows.map(row => `id=${row.id}`)
  })

  await t.test('an ordinary way back says soon that it waits, and what else there is', async t => {
    const started = performance.now()
    const { exit, text } = await run(context => runBack(context, 'visits', undefined, {}))
    t.equal(exit, 5)
    t.match(flat(text), /✖ SERVICE_AWAY .*"rooms".*ECONNREFUSED.* banyan back visits --abandon/)
    t.ok(performance.now() - started < 8_000, 'soon')
    t.equal(await stage(), 'moved')
  })

  await t.test('nobody gives it up by accident', async t => {
    const without = await run(context => runAbandon(context, 'visits', undefined, {}))
    t.equal(without.exit, 2)
    t.match(line(without.text), /the stream rooms>legacy:visits was last heard .*, at [0-9A-F]+\//)
    t.match(
      line(without.text),
      /what rooms has told its clients was stored after that is NOT in legacy/,
    )
    t.match(flat(without.text), /✖ CONSENT_MISSING .*how is it known/)
    const proof = 'stopped, disk detached'
    for (const yesLoseWrites of ['visit', 'yes']) {
      const wrong = await run(context =>
        runAbandon(context, 'visits', undefined, { proof, yesLoseWrites }),
      )
      t.match(flat(wrong.text), /✖ CONSENT_MISSING .* is not its name/)
    }
    const asked: string[] = []
    const answers = ['I pulled its plug', 'no']
    const asking = await run(context => runAbandon(context, 'visits', undefined, {}), {
      async ask(question) {
        asked.push(question)
        return must(answers.shift(), 'an answer')
      },
    })
    t.equal(asking.exit, 2)
    t.equal(asked.length, 2, 'asked twice')
    t.equal(await stage(), 'moved')
    t.same(await readAbandoned(store), [])
    await t.rejects(
      moving.legacyApp.query('DELETE FROM visits'),
      { code: 'BNY01' },
      'legacy is closed',
    )
  })

  await t.test('legacy takes the tables in a new epoch, on a person’s word', async t => {
    const options = { proof: 'stopped, disk detached', yesLoseWrites: 'visits', reason: 'fire' }
    const { exit, text } = await run(context => runAbandon(context, 'visits', undefined, options))
    t.equal(exit, 0, text)
    t.match(text, /^✔ visits {2}moved → sync$/m)
    t.equal(await stage(), 'sync')
    const orders = await readOrders(store)
    t.match(orders?.slices[0], { owner: 'legacy', stage: 'sync' }, 'routers send to legacy')
    const entry = (await readJournal(store, { slice: 'visits', limit: 20 })).find(
      each => each.kind === 'abandoned',
    )
    t.match(entry, { actor: 'tester@here', detail: { proof: options.proof, reason: 'fire' } })
    t.match(entry?.detail['position'], /^[0-9A-F]+\/[0-9A-F]+$/)
    const [next] = await query(
      moving.legacy,
      `INSERT INTO visits (op, doctor_id, note) VALUES (gen_random_uuid(), 1, 'after') RETURNING id::int`,
    )
    const drawn = Math.max(...lost.map(key => Number(key.slice(3))))
    t.ok(next!['id'] > drawn, `legacy draws ${next!['id']}, the service had drawn ${drawn}`)
    t.match(await readAbandoned(store), [{ slice: 'visits', returnedAtMs: null }])
    const { text: shown } = await run(context => runStatus(context, undefined, false))
    t.match(
      line(shown),
      /visits: the database of rooms was given up .* by tester@here .* has not come back/,
    )
    const down = await run(context => runBack(context, 'visits', 'legacy', {}))
    t.match(line(down.text), /✖ ABANDONED .*has not come back.*doctor visits --accept/)
    await store.pool.query(`UPDATE banyan.slice SET override_stage = 'sync'`)
    const again = await run(context => runAbandon(context, 'visits', undefined, options))
    t.match(flat(again.text), /✖ NOT_MOVED .* at sync/)
  })

  await t.test(
    'the old database is closed at the first contact, and its writes are listed',
    async t => {
      await clusters.service.restart()
      await until(moving, 'closed', async () => {
        const [fact] = await readAbandoned(store)
        return fact !== undefined && fact.returnedAtMs !== null
      })
      t.match(await readAbandoned(store), [{ wasOpen: true }], 'both were open for a moment')
      await t.rejects(moving.serviceApp.query('DELETE FROM visit'), { code: 'BNY01' })
      await until(moving, 'listed', async () => (await readRogue(store)).length >= 3)
      const listed = await readRogue(store)
      t.ok(listed.every(each => each.lost && each.side === 'service'))
      t.same(
        listed.map(each => `${each.operation} ${each.relation} ${each.key}`).sort(),
        [
          ...lost.map(key => `INSERT public.visit ${key}`),
          'UPDATE public.seats room=1 at=h1',
        ].sort(),
      )
      const [there] = await query(
        moving.legacy,
        `SELECT count(*)::int AS n FROM visits WHERE note = 'lost'`,
      )
      t.equal(there!['n'], 0, 'none of them is applied')
      const { text } = await run(context => runStatus(context, undefined, false))
      t.match(line(text), /✖ BOTH_OPEN .*came back open while legacy owned "visits"/)
      t.match(line(text), /3 writes of a database that was given up, not in legacy:/)
      const json = await run(context => runWhy(context, 'visits'), { json: true })
      const { rogue, slice } = JSON.parse(json.text) as Why
      t.same(rogue.map(each => each.key).sort(), [...lost, 'room=1 at=h1'].sort())
      t.match(slice.abandoned, { wasOpen: true, proof: 'stopped, disk detached' })
    },
  )

  await t.test('the two sides never count as in step before a new copy', async t => {
    const forward = async () =>
      (await readStreams(store)).find(each => each.name === 'legacy>rooms:visits')
    await until(moving, 'refused', async () => (await forward())?.error?.code === 'RESYNC_REQUIRED')
    const [after] = await query(
      moving.service,
      `SELECT count(*)::int AS n FROM visit WHERE note = 'after'`,
    )
    t.equal(after!['n'], 0)
    const slots = await query(
      moving.legacy,
      `SELECT slot_name FROM pg_replication_slots WHERE slot_name = 'banyan_visits_forward'`,
    )
    t.same(slots, [], 'and legacy keeps no WAL for it')
    // The file still wants moved: released, it would go there by itself.
    await run(context => runRelease(context, 'visits'))
    await until(moving, 'refused', async () => {
      const [last] = await readFlips(store, { slice: 'visits', limit: 1 })
      return last?.error?.blockers?.some(each => each.code === 'RESYNC_REQUIRED') ?? false
    })
    t.equal(await stage(), 'sync')
  })

  await t.test('after a new copy it moves again', async t => {
    const accepted = await run(context => runDoctor(context, 'visits', { accept: true }))
    t.match(line(accepted.text), /accepted.*3 writes round the gate.* a database that was given up/)
    const home = await run(context => runBack(context, 'visits', 'legacy', {}))
    t.equal(home.exit, 0, home.text)
    await project.want('sync')
    await run(context => runRelease(context, 'visits'))
    await until(moving, 'at sync', async () => (await stage()) === 'sync')
    await inStep(moving)
    const clients = new Clients(t, moving, 2)
    await until(moving, 'the copy counts', async () =>
      (await readAbandoned(store)).every(each => each.wasOpen),
    )
    for (const to of ['shadow', 'canary'] as const)
      t.match(await flip(moving, to), { outcome: 'done' })
    t.match(await verify(moving), { differences: 0, error: null })
    t.match(await flip(moving, 'moved'), { outcome: 'done', error: null })
    const told = clients.told.length
    await until(moving, 'writes at the service', async () => clients.told.length > told + 5)
    await until(moving, 'lossless', async () => {
      const { text } = await run(context => runStatus(context, undefined, false))
      return /one pause, lossless ✔|one pause ✔/.test(text)
    })
    await clients.stop()
    await until(moving, 'both sides are equal', () => same(moving))
    t.match(await readStreams(store), [{ error: null }, { error: null }, { error: null }])
  })

  await t.test(
    'a way back that would lose writes never says lossless, and counts them',
    async t => {
      await diverge()
      const { text } = await run(context => runStatus(context, undefined, false))
      t.match(text, /would lose 3 writes ✖/)
      const why = await run(context => runWhy(context, 'visits'))
      t.match(line(why.text), /way back ✖ would lose 3 writes/)
      t.match(why.text, /UPDATE public\.visit id=1 /)
      const plan = await run(context => runPlan(context, 'visits', 'canary'))
      t.match(line(plan.text), /3 writes that only rooms has would not be in legacy/)
      t.match(line(plan.text), /✖ WOULD_LOSE going back now would lose 3 writes of "visits"/)
      for (const said of [text, why.text, plan.text]) t.notMatch(said, /lossless/)
      const back = await run(context => runBack(context, 'visits', undefined, {}), { json: true })
      t.not(back.exit, 0)
      const { loses, error } = JSON.parse(back.text) as { loses: Loss; error: FlipError }
      t.ok(error.blockers?.some(each => each.code === 'WOULD_LOSE'))
      t.match(loses, { count: 3, more: false })
      t.same(
        loses.writes.map(each => `${each.op} ${each.key}`),
        ['u id=1', 'c id=1000001', 'c id=1000002'],
      )
      await store.pool.query('UPDATE banyan.slice SET override_stage = NULL')
    },
  )

  await t.test(
    'given up while its database answers: closed first, and no proof is needed',
    async t => {
      const refused = await run(context => runAbandon(context, 'visits', undefined, {}))
      t.match(line(refused.text), /INSERT public\.visit id=1000001/)
      t.match(line(refused.text), /✖ CONSENT_MISSING .*nobody is there to be asked/)
      const options = { yesLoseWrites: 'visits' }
      const { exit, text } = await run(context => runAbandon(context, 'visits', undefined, options))
      t.equal(exit, 0, text)
      const { kind, outcome, steps } = must((await flips())[0], 'a flip')
      t.same(
        [kind, outcome, ...steps.map(each => each.step)],
        ['abandon', 'done', 'hold', 'drain', 'fence', 'decide', 'open', 'publish'],
      )
      await t.rejects(moving.serviceApp.query('DELETE FROM visit'), { code: 'BNY01' })
      await moving.legacyApp.query(`UPDATE seats SET taken = 0 WHERE room = 1 AND at = 'h1'`)
      await until(moving, 'listed', async () => (await readRogue(store)).length >= 3)
      t.same((await readRogue(store)).map(each => [each.key, each.lost]).sort(), [
        ['id=1', true],
        ['id=1000001', true],
        ['id=1000002', true],
      ])
      await until(
        moving,
        'closed',
        async () => (await readAbandoned(store))[0]?.returnedAtMs != null,
      )
      t.match(await readAbandoned(store), [{ wasOpen: false, proof: null }])
    },
  )

  await t.test('where the slot is gone nobody can say how many', async t => {
    await until(moving, 'dropped', async () => {
      await cutSessions(moving.service, 'banyan banyan_visits_reverse')
      const drop = `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = 'banyan_visits_reverse'`
      return query(moving.service, drop).then(
        rows => rows.length === 1,
        () => false,
      )
    })
    await until(moving, 'noticed', async () =>
      (await readStreams(store)).some(each => each.error?.code === 'SLOT_MISSING'),
    )
    const way = await readWayBack(moving, must(moving.wiring.project.slices[0], 'the slice'))
    t.match(way, {
      state: 'broken',
      loses: { count: null, unknown: /no replication slot "banyan_visits_reverse"/ },
    })
  })

  /** Legacy loses a row that the service then writes: the reverse stream stops before that transaction. */
  async function diverge(): Promise<void> {
    const apply = new pg.Client({ connectionString: moving.wiring.legacy.apply })
    await apply.connect()
    // Marked as the stream's own, so that it is no rogue write.
    await apply.query('BEGIN')
    await apply.query(
      'UPDATE banyan.progress SET updated_at = clock_timestamp() WHERE stream = $1',
      [REVERSE],
    )
    await apply.query('DELETE FROM visits WHERE id = 1')
    await apply.query('COMMIT')
    await apply.end()
    await moving.serviceApp.query(`UPDATE visit SET note = 'late' WHERE id = 1`)
    await moving.serviceApp.query(
      `INSERT INTO visit (id, op, physician_id) SELECT g, gen_random_uuid(), 1 FROM generate_series(1000001, 1000002) g`,
    )
    await until(moving, 'diverged', async () =>
      (await readStreams(store)).some(each => each.error?.code === 'DIVERGED'),
    )
  }

  function line(text: string): string {
    return text.replace(/\s+/g, ' ')
  }

  /** Stops the reverse stream at legacy's door, lets `write` happen at the service, and kills its cluster. */
  async function brokenOff<T>(write: () => Promise<T>): Promise<T> {
    const door = await closeDoor()
    const written = await write()
    await clusters.service.stop('immediate')
    await cutSessions(moving.legacy, 'banyan rooms>legacy%')
    await door.end()
    return written
  }

  /** Until it ends, nothing of the reverse stream gets into legacy. */
  async function closeDoor(): Promise<pg.Client> {
    const client = new pg.Client({ connectionString: moving.legacy })
    await client.connect()
    await client.query('BEGIN')
    await client.query('SELECT 1 FROM banyan.progress WHERE stream = $1 FOR UPDATE', [REVERSE])
    return client
  }
})

/** The whole server says nothing more, and keeps its connections; returns how it goes on. */
async function freeze({ cluster }: TestCluster): Promise<() => void> {
  const children = await readFile(`/proc/${cluster.pid}/task/${cluster.pid}/children`, 'utf8')
  const pids = [cluster.pid, ...children.trim().split(' ').map(Number)]
  const tell = (signal: NodeJS.Signals) => {
    for (const pid of pids) {
      try {
        process.kill(pid, signal)
      } catch {
        // It had ended before.
      }
    }
  }
  tell('SIGSTOP')
  return () => tell('SIGCONT')
}
