import t, { type Test } from 'tap'
import { controlMigrations } from '../../migrations/control/control.ts'
import { migrateUp } from '../../migrations/runner.ts'
import { fail } from '../../scripts/context.ts'
import { withControl } from '../../scripts/control-store.ts'
import { openWiring } from '../../scripts/wiring.ts'
import { testContext } from '../support/clinic.ts'
import { testCluster } from '../support/cluster.ts'
import { flat } from '../support/screen.ts'
import { controlDatabase } from '../support/three-roles.ts'

const yaml = (control: string, legacy = 'file:secrets/legacy.url') => `version: 1
legacy: { url: http://127.0.0.1:1, database: ${legacy} }
services:
  rooms:
    url: http://127.0.0.1:2
    database: { setup: file:secrets/setup.url, apply: file:secrets/apply.url, capture: file:secrets/capture.url }
control: { database: ${control} }
`
const SECRETS = {
  'legacy.url': 'postgres://l@127.0.0.1:1/l\n',
  'setup.url': 'postgres://s@127.0.0.1:1/r\n',
  'apply.url': '  postgres://a@127.0.0.1:1/r  ',
  'capture.url': 'postgres://c@127.0.0.1:1/r',
}

/** What a command prints that needs the control database, and how it ends. */
async function ask(config: string) {
  const context = testContext(config)
  const exit = await withControl(context, async () => 0 as const).catch(error =>
    fail(context, error),
  )
  return { exit, text: context.said() }
}

const project = (t: Test, text: string, secrets: Record<string, string> = SECRETS) =>
  `${t.testdir({ 'banyan.yaml': text, secrets })}/banyan.yaml`

void t.test('secrets are read beside banyan.yaml, for each role its own', async t => {
  const config = project(t, yaml('file:secrets/control.url'), {
    ...SECRETS,
    'control.url': 'postgres://k@127.0.0.1:1/k',
  })
  const { legacy, services, control } = await openWiring(config)
  t.equal(control, 'postgres://k@127.0.0.1:1/k')
  const url = 'postgres://l@127.0.0.1:1/l'
  t.same(legacy, { setup: url, apply: url, capture: url })
  t.same(services['rooms'], {
    setup: 'postgres://s@127.0.0.1:1/r',
    apply: 'postgres://a@127.0.0.1:1/r',
    capture: 'postgres://c@127.0.0.1:1/r',
  })
})

void t.test('a secret that leads nowhere is shown where it stands, each once', async t => {
  const missing = { ...SECRETS, 'apply.url': ' \n' }
  const config = project(t, yaml('file:secrets/control.url', 'env:BANYAN_TEST_NOT_SET'), missing)
  const { exit, text } = await ask(config)
  t.equal(exit, 2)
  t.match(text, /^banyan\.yaml:2:46 {2}SECRET_MISSING/m)
  t.match(text, /the variable BANYAN_TEST_NOT_SET is not\s+set/)
  t.match(text, /^banyan\.yaml:6:\d+ {2}SECRET_MISSING/m)
  t.match(text, /the file secrets\/apply\.url is\s+empty/)
  t.match(text, /the file secrets\/control\.url can't be\s+read \(ENOENT\)/)
  t.equal(text.match(/SECRET_MISSING/g)?.length, 3)
  t.match(text, /\^+\n/)
  t.match(text, '✖ CONFIG_INVALID  the files have 3 problems')
})

void t.test('what is there and says nothing is missing too', async t => {
  process.env['BANYAN_TEST_EMPTY'] = ''
  t.teardown(() => delete process.env['BANYAN_TEST_EMPTY'])
  const url = 'postgres://k@127.0.0.1:1/k'
  const config = project(t, yaml('file:secrets/control.url', 'env:BANYAN_TEST_EMPTY'), {
    ...SECRETS,
    'control.url': url,
  })
  const frame = /^ {2}2 \| .*database: env:BANYAN_TEST_EMPTY \}\n {4}\| {46}\^{21}$/m
  t.match(await ask(config), { exit: 2, text: frame })
  process.env['BANYAN_TEST_EMPTY'] = url
  t.match(await openWiring(config), { legacy: { setup: url, apply: url, capture: url } })
})

void t.test('no control database, none that answers, one without its schema', async t => {
  const asked = async (config: string) => {
    const { exit, text } = await ask(config)
    return { exit, text: flat(text) }
  }
  const none = await asked(project(t, yaml('embedded')))
  t.match(none, {
    exit: 4,
    text: /^✖ CONTROL_NOT_STARTED .* start it: banyan up \(with --router-only there is none\)\n$/,
  })

  const away = { ...SECRETS, 'control.url': 'postgres://x:secret@127.0.0.1:1/x' }
  const dead = await asked(project(t, yaml('file:secrets/control.url'), away))
  t.match(dead, { exit: 4, text: /^✖ CONTROL_AWAY .*127\.0\.0\.1:1 / })
  t.notMatch(dead.text, 'secret')

  const cluster = await testCluster(t)
  const url = await controlDatabase(cluster, { migrated: false })
  const here = project(t, yaml('file:secrets/control.url'), { ...SECRETS, 'control.url': url })
  t.match(await asked(here), { exit: 3, text: /^✖ CONTROL_OLD .* banyan migrate\n$/ })
  await migrateUp(url, controlMigrations())
  t.same(await asked(here), { exit: 0, text: '' })
})
