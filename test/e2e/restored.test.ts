/** A database that isn't the one on record any more (failed over, restored, copied): nothing moves before a person has looked. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { readRogue } from '../../control/store/findings.ts'
import { readFlips } from '../../control/store/flips.ts'
import { readSlices } from '../../control/store/slices.ts'
import { readStreams } from '../../control/store/streams.ts'
import { must } from '../../model/errors.ts'
import { readGate } from '../../postgres/gate.ts'
import { connect } from '../../postgres/connection.ts'
import { runBack } from '../../scripts/back.ts'
import { type Context, type ExitCode, fail } from '../../scripts/context.ts'
import { runDoctor } from '../../scripts/doctor.ts'
import { runFlip } from '../../scripts/flip.ts'
import { runRelease } from '../../scripts/release.ts'
import { runStatus } from '../../scripts/status.ts'
import { runVerify } from '../../scripts/verify.ts'
import { renewIdentity } from '../support/cluster-template.ts'
import { query, type TestCluster } from '../support/cluster.ts'
import { cutSessions, same, toCanary, until } from '../support/flipping.ts'
import { Clients, movingSlice } from '../support/moving-slice.ts'
import { controllerOf, projectOf } from '../support/screen.ts'

const REVERSE = 'rooms>legacy:visits'

void t.test(
  'nothing moves in a database that is another one, until somebody accepts it',
  async t => {
    const moving = await movingSlice(t, { limits: 'lagMaxMs: 15s' })
    const { store, clusters } = moving
    const first = new Clients(t, moving, 2)
    await until(moving, 'writes', async () => first.told.length > 5)
    await toCanary(t, moving)
    await first.stop()
    await controllerOf(moving)
    const project = await projectOf(t, moving)
    await project.want('canary')
    const run = (command: (context: Context) => Promise<ExitCode>) =>
      project.run(context => command(context).catch(error => fail(context, error)))
    const said = async (command: (context: Context) => Promise<ExitCode>) => {
      const { exit, text } = await run(command)
      return { exit, text: text.replace(/\s+/g, ' ') }
    }
    const accept = async () => {
      const { text } = await said(context => runDoctor(context, 'visits', { accept: true }))
      t.match(text, /✔ accepted, .* changed object/)
    }
    // Rows of before a restart say nothing: all streams are heard anew.
    const heard = () =>
      until(moving, 'in step', async () => {
        const streams = await readStreams(store)
        return streams.every(each => each.error === null && (each.unheardMs ?? Infinity) < 500)
      })
    // The control database is in legacy's cluster: whoever had its lease is gone, and commands bring their own controller.
    await promote(clusters.legacy)
    const again = new Clients(t, moving, 1)
    await until(moving, 'a router', async () => again.told.length > 0)

    await t.test('legacy was failed over: its timeline has grown', async t => {
      const flip = await said(context => runFlip(context, 'visits', 'moved', {}))
      t.equal(flip.exit, 5)
      t.match(
        flip.text,
        /✖ DATABASE_CHANGED legacy is another .* (\d+) timeline 1, .* \1 timeline 2/,
      )
      t.match(flip.text, /doctor visits --accept/)
      const status = await said(context => runStatus(context, undefined, false))
      t.match(status.text, /^\S+ .*✖ DATABASE_CHANGED .* SLICE /, 'above everything else')
      t.equal((await gateOf('legacy')).word, 1n, 'and its word was not touched')
    })

    await t.test('accepted, it moves, in an epoch that nobody was given before', async t => {
      // As if a flip had been begun there, and the new primary had never heard of it.
      await store.pool.query('UPDATE banyan.slice SET epoch = 7')
      await accept()
      await heard()
      t.equal((await said(context => runVerify(context, 'visits'))).exit, 0)
      const flip = await said(context => runFlip(context, 'visits', 'moved', {}))
      t.equal(flip.exit, 0, flip.text)
      t.match(flip.text, /way back: one pause(, lossless|, once its stream goes on): /)
      t.match(await readFlips(store, { slice: 'visits', limit: 1 }), [{ outcome: 'done' }])
      const { epoch, open } = await gateOf('service')
      t.ok(open && epoch > 7, `epoch ${epoch}`)
    })

    await t.test('a legacy that has lost its decision is never accepted', async t => {
      // As after a restore to before the move.
      await query(
        moving.legacy,
        `CREATE TABLE kept AS SELECT * FROM banyan.decision; DELETE FROM banyan.decision;
         UPDATE banyan.fingerprint SET state = '42 timeline 1' WHERE object = 'database'`,
      )
      // Who owns is not known any more: what the service stores is neither rogue nor passed over, it waits.
      const told = again.told.length
      await cutSessions(moving.legacy, `banyan ${REVERSE}`)
      await until(moving, 'the stream has stopped', async () => {
        const stream = (await readStreams(store)).find(each => each.name === REVERSE)
        const refused = stream?.error?.code === 'DATABASE_CHANGED'
        return again.told.length > told + 3 && (refused || (await readRogue(store)).length > 0)
      })
      t.same(await readRogue(store), [])
      const { exit, text } = await said(context => runDoctor(context, 'visits', { accept: true }))
      t.equal(exit, 5)
      t.match(
        text,
        /✖ DECISION_LOST .*epoch \d+.* given to "rooms", and legacy knows nothing of it/,
      )
      await query(moving.legacy, 'INSERT INTO banyan.decision SELECT * FROM kept; DROP TABLE kept')
      await accept()
    })

    await t.test('the service is a copy: its identifier is another', async t => {
      await again.stop()
      await clusters.service.stop()
      await renewIdentity(join(clusters.service.cluster.dataDir, 'pgdata'))
      await clusters.service.restart()
      const clients = new Clients(t, moving, 1)
      await until(moving, 'writes at the service', async () => clients.told.length > 3)
      await heard()
      const back = await said(context => runBack(context, 'visits', undefined, {}))
      t.not(back.exit, 0)
      t.match(
        back.text,
        /✖ DATABASE_CHANGED rooms is another .* system (\d+) timeline 1, it is system (?!\1)\d+ timeline 1/,
      )
      t.equal(must((await readSlices(store.pool))[0], 'the slice').stage, 'moved')
      await run(context => runRelease(context, 'visits'))
      await accept()
      await heard()
      const home = await said(context => runBack(context, 'visits', undefined, {}))
      t.equal(home.exit, 0, home.text)
      await clients.stop()
      await until(moving, 'both sides are equal', () => same(moving))
    })

    async function gateOf(side: 'legacy' | 'service') {
      const client = await connect({ url: moving[side], applicationName: 'test gate' })
      const gate = await readGate(client, 'visits')
      await client.end()
      return must(gate, 'the gate')
    }
  },
)

/** What becomes of a standby that takes over, with nothing lost: the next timeline. */
async function promote(cluster: TestCluster): Promise<void> {
  await cluster.stop()
  await writeFile(join(cluster.cluster.dataDir, 'pgdata', 'recovery.signal'), '')
  await cluster.restart({ restore_command: '/bin/false' })
}
