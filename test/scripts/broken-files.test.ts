/** A broken file keeps nobody from the brake, from looking, or from starting a part again. */
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { runBack } from '../../scripts/back.ts'
import { runFlip } from '../../scripts/flip.ts'
import { runJournal } from '../../scripts/journal.ts'
import { runPause } from '../../scripts/pause.ts'
import { runRelease } from '../../scripts/release.ts'
import { runControl } from '../../scripts/run-control.ts'
import { runRouter } from '../../scripts/run-router.ts'
import { runSync } from '../../scripts/run-sync.ts'
import type { PartOptions } from '../../scripts/run.ts'
import { runStatus } from '../../scripts/status.ts'
import { runWhy } from '../../scripts/why.ts'
import type { Context, ExitCode } from '../../scripts/context.ts'
import { commandsOn } from '../support/commands.ts'

void t.test('files that are broken', async t => {
  const commands = await commandsOn(t)
  const { project, run } = commands
  const folder = join(project.config, '..')
  await writeFile(
    project.config,
    `${await readFile(project.config, 'utf8')}router: { listen: 127.0.0.1:0 }\n`,
  )
  const flip = await run(context => runFlip(context, 'visits', 'sync', {}))
  t.equal(flip.exit, 0, flip.text)

  const whole = await commands.text()
  const own = join(folder, 'slices/visits.yaml')
  const other = join(folder, 'slices/foo.yaml')
  const breaks: readonly [string, string, string, RegExp][] = [
    ['a typo', own, whole.replace(/^stage:/m, 'stagee:'), /slices\/visits\.yaml:\d+:1 .*stagee/],
    ['no YAML at all', own, `${whole}\n: {[`, /slices\/visits\.yaml:\d+:\d+ /],
    ['another slice’s', other, 'routes: 3\n', /slices\/foo\.yaml:1:\d+ /],
  ]
  for (const [what, file, text, problem] of breaks) {
    await t.test(what, async t => {
      await writeFile(file, text)
      const refused = await run(context => runFlip(context, 'visits', 'shadow', {}))
      t.equal(refused.exit, 2, 'a flip goes by the files that are there')
      t.match(refused.text, /CONFIG_INVALID/)

      const status = await run(context => runStatus(context, undefined, false))
      t.equal(status.exit, 0)
      t.match(status.text, /✖ the files have \d problems?; the last good ones count/)
      t.match(status.text, problem)
      t.match(status.text, /^. visits +sync /m, 'and the slice is there')

      for (const command of [
        (context: Context) => runPause(context, 'visits', {}),
        (context: Context) => runWhy(context, 'visits'),
        (context: Context) => runJournal(context, 'visits', '5'),
        (context: Context) => runRelease(context, 'visits'),
      ]) {
        const { exit, text } = await run(command)
        t.equal(exit, 0, text)
        t.match(text, /^! the files have problems; going by those that a controller took up last\n/)
        t.match(text, problem)
      }
      await rm(file)
      await writeFile(own, whole)
    })
  }

  await t.test('the brake', async t => {
    await writeFile(own, `${whole}\n: {[`)
    const back = await run(context => runBack(context, 'visits', undefined, {}))
    t.equal(back.exit, 0, back.text)
    t.match(back.text, /^! the files have problems/)
    t.match(back.text, /the brake is on until: banyan release visits/)
    t.match(await commands.fact(), { stage: 'legacy', override: { stage: 'legacy' } })
    const asked = await run(context => runBack(context, 'visits', undefined, {}), { json: true })
    t.match(JSON.parse(asked.text), { error: { code: 'NOTHING_BACK' } })
  })

  await t.test('a part starts by the last good ones, and says so', async t => {
    for (const part of [runControl, runRouter, runSync]) {
      const warned: unknown[] = []
      const stop = new AbortController()
      const log: PartOptions['log'] = {
        info() {},
        error() {},
        warn: (fields, phrase) => void warned.push([phrase, fields]),
      }
      const { exit, text } = await run(
        async (context): Promise<ExitCode> => {
          await part(context, { log, lagMs: 0, ready: () => stop.abort() })
          return 0
        },
        { signal: stop.signal },
      )
      t.equal(exit, 0, text)
      t.match(warned[0], [
        /the files have problems: going by those/,
        { problems: [/slices\/visits\.yaml:\d+:\d+ /] },
      ])
    }
  })

  await t.test(
    'with a control database that never saw good ones, it says what is wrong',
    async t => {
      await commands.moving.store.pool.query('UPDATE banyan.controller SET files = NULL')
      const { exit, text } = await run(context => runStatus(context, undefined, false))
      t.equal(exit, 2)
      t.match(text, /slices\/visits\.yaml:\d+:\d+ /)
      t.match(text, /CONFIG_INVALID/)
    },
  )
})
