/** What `npm start` tells, on a small clinic; then every sabotage must turn its report red. */
import t from 'tap'
import { must } from '../../model/errors.ts'
import { runDoctor } from '../../scripts/doctor.ts'
import { type Check, problemsOf } from '../../scripts/doctor-checks.ts'
import { report, servers } from '../../scripts/demo/report.ts'
import { quiet } from '../../scripts/demo/stage.ts'
import { refusedBatch, tellStory } from '../../scripts/demo/story.ts'
import { clinic, testContext } from '../support/clinic.ts'
import { query } from '../support/cluster.ts'

void t.test(
  'two slices move under live traffic, one comes back in between, and it is clean',
  async t => {
    const { environment, context } = await clinic(t)
    const { demo } = environment
    await tellStory(demo)
    const { ledger, sides } = await report(demo)
    await servers(demo)
    t.comment(context.said())
    t.same(demo.screen.wrong, [])
    t.ok(ledger.told.ok > 200, `${ledger.told.ok} writes were acknowledged`)
    t.ok(sides.legacyRows > 4_000)
    for (const word of ['sync', 'shadow', 'canary', 'verify', 'moved', 'killed', 'back', 'batch']) {
      t.ok(
        demo.screen.said.some(each => each.what === word && each.ok),
        word,
      )
    }

    await t.test(
      'no part of Banyan is a superuser, and no role may more than its work',
      async t => {
        const { legacy, services } = demo.databases.clusters
        const control = must(demo.running.control.cluster, 'the embedded control database')
        for (const cluster of [legacy, services, control]) {
          const sessions = await query<{ superuser: boolean }>(
            cluster.url(),
            `SELECT usename, application_name, rolsuper AS superuser FROM pg_stat_activity JOIN pg_roles r ON r.oid = usesysid
           WHERE application_name LIKE 'banyan%'`,
          )
          t.ok(sessions.length > 0)
          t.same(
            sessions.filter(each => each.superuser),
            [],
          )
        }
        const asked = testContext(demo.context.config, { json: true })
        await runDoctor(asked, undefined)
        const { checks } = JSON.parse(asked.said()) as { checks: Check[] }
        t.ok(checks.length > 50)
        const rights = problemsOf(checks).filter(({ code }) => /^ROLE|^GRANT|^SETUP/.test(code))
        t.same(rights, [])
      },
    )

    const red = async (): Promise<readonly string[]> => {
      const wrong = [...demo.screen.wrong]
      demo.screen.wrong.length = 0
      return wrong
    }
    for (const sabotage of ['missing-row', 'doubled-row', 'stale-read'] as const) {
      await t.test(`--sabotage ${sabotage} is red, and clean again once it is undone`, async t => {
        await demo.load.resume()
        const { undo } = await report({ ...demo, sabotage })
        t.match(await red(), [/^ledger/])
        await undo()
        await quiet(demo)
        if (sabotage === 'stale-read') return // what the client has read stays read
        await report(demo)
        t.same(await red(), [])
      })
    }

    await t.test('--sabotage rogue-write is red', async t => {
      await report({ ...demo, sabotage: 'rogue-write' })
      t.ok((await red()).some(each => /rows differ between the sides/.test(each)))
    })

    await t.test('--sabotage gate-off is red', async t => {
      await refusedBatch({ ...demo, sabotage: 'gate-off' })
      t.match(await red(), [/doesn't own them/])
    })
  },
)
