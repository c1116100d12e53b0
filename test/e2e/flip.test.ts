import t from 'tap'
import { readRogue } from '../../control/store/findings.ts'
import { query } from '../support/cluster.ts'
import { caughtUp, flip, inStep, same, until, verify } from '../support/flipping.ts'
import { Clients, movingSlice } from '../support/moving-slice.ts'

void t.test(
  'a slice moves to its service under writes, comes back, moves again, and nothing is lost',
  async t => {
    const moving = await movingSlice(t)
    const clients = new Clients(t, moving, 4)
    await until(moving, 'writes', async () => clients.told.length > 20)

    const first = await flip(moving, 'sync')
    t.match(first, { outcome: 'done', error: null })
    await inStep(moving)
    for (const stage of ['shadow', 'canary'] as const)
      t.match(await flip(moving, stage), { outcome: 'done', error: null })
    const early = await flip(moving, 'moved')
    t.equal(early.outcome, 'refused', 'ownership does not move before a verification')
    t.ok(early.error?.blockers?.some(each => each.code === 'VERIFY_MISSING'))
    t.match(await verify(moving), { differences: 0, error: null })
    await caughtUp(moving)

    await t.test('a transaction that stays open: the flip ends, and nobody was held', async t => {
      const seen = await query(
        moving.store.url,
        'SELECT max(version) AS version FROM banyan.orders',
      )
      const app = await moving.legacyApp.connect()
      await app.query(`BEGIN; UPDATE seats SET taken = taken WHERE room = 5 AND at = 'h5'`)
      await until(moving, 'it to be old', async () => {
        const old = `SELECT FROM pg_stat_activity WHERE query LIKE 'BEGIN; UPDATE seats%'
          AND xact_start < clock_timestamp() - interval '150 ms'`
        return (await query(moving.legacy, old)).length > 0
      })
      const undone = await flip(moving, 'moved')
      await app.query('ROLLBACK')
      app.release()
      t.match(undone, { outcome: 'undone', error: { code: 'FLIP_UNDONE' } })
      t.match(
        undone.error?.message,
        /pid \d+, .* as app, transaction open for \S+: BEGIN; UPDATE seats/,
      )
      t.match(undone.steps, [{ step: 'hold' }])
      t.equal(undone.steps.length, 1)
      const held = await query<{ held: boolean }>(
        moving.store.url,
        `SELECT EXISTS (SELECT FROM banyan.orders WHERE version > $1 AND orders::text LIKE '%"holdMs"%') AS held`,
        [seen[0]!['version']],
      )
      t.equal(held[0]?.held, false)
    })

    for (const to of ['moved', 'canary', 'moved'] as const) {
      const before = clients.told.length
      const flipped = await flip(moving, to)
      t.match(flipped, { outcome: 'done', error: null })
      const steps = flipped.steps
        .map(each => `${each.step} ${Math.round(each.ms ?? 0)}`)
        .join(' · ')
      t.comment(`${to}: ${steps}`)
      await until(moving, 'writes go on', async () => clients.told.length > before + 20)
    }

    await clients.stop()
    t.same(clients.failed, [], 'no write failed')
    await until(moving, 'both sides are equal', () => same(moving))
    const ops = clients.told.map(each => each.op)
    for (const [url, table] of [
      [moving.service, 'visit'],
      [moving.legacy, 'visits'],
    ] as const) {
      const [row] = await query(
        url,
        `SELECT count(*)::int AS rows, count(DISTINCT op)::int AS ops FROM ${table} WHERE op = ANY($1)`,
        [ops],
      )
      t.same(
        row,
        { rows: ops.length, ops: ops.length },
        `each acknowledged write is in ${table} exactly once`,
      )
      const [sum] = await query(url, 'SELECT sum(taken)::int AS taken FROM seats')
      t.equal(sum!.taken, clients.taken, 'no increment is lost or doubled')
    }

    await t.test(
      'the database refuses whoever writes on the side that is not the owner',
      async t => {
        const write = moving.legacyApp.query('UPDATE visits SET version = 2 WHERE id = 1')
        await t.rejects(write, { code: 'BNY01' })
        await t.rejects(
          moving.serviceApp.query('DELETE FROM doctors'),
          { code: 'BNY01' },
          'a read copy is never written',
        )
      },
    )

    await t.test(
      'a write round the gate is listed, never applied, and stops the next flip',
      async t => {
        await query(
          moving.legacy,
          `ALTER TABLE visits DISABLE TRIGGER banyan_gate; UPDATE visits SET note = 'rogue' WHERE id = 1;
      ALTER TABLE visits ENABLE ALWAYS TRIGGER banyan_gate`,
        )
        await until(moving, 'listed', async () => (await readRogue(moving.store)).length > 0)
        t.match(await readRogue(moving.store), [
          { operation: 'UPDATE', relation: 'public.visits', key: 'id=1', side: 'legacy' },
        ])
        const [row] = await query(moving.service, 'SELECT note FROM visit WHERE id = 1')
        t.not(row!.note, 'rogue')
        const refused = await flip(moving, 'canary')
        t.same(refused.error?.blockers?.map(each => each.code).sort(), [
          'FINGERPRINT',
          'ROGUE_WRITES',
          'ROUTER_MISSING',
        ])
      },
    )
  },
)
