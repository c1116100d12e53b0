/** The examples in docs/deploy and the commands in the handbook: what they name is there. */
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { APPLY_ERRORS } from '../../model/errors-apply.ts'
import { PROTOCOL_ERRORS } from '../../model/errors-protocol.ts'
import { SYNC_ERRORS } from '../../model/errors-sync.ts'
import { readProject } from '../../scripts/project-files.ts'
import { JWKS_PATH } from '../../router/identity.ts'
import {
  commandsIn,
  composed,
  DEPLOY,
  kubernetes,
  type Processes,
  units,
  yamlFiles,
} from '../support/deploy-files.ts'

const run = promisify(execFile)
const BANYAN = join(import.meta.dirname, '../../scripts/banyan.js')

const helps = new Map<string, Promise<string>>()

/** What `banyan <command> --help` says; nothing where there is no such command. */
function helpOf(command: string): Promise<string> {
  const known = helps.get(command)
  if (known) return known
  const asked = run(process.execPath, [BANYAN, command, '--help']).then(
    ({ stdout }) => stdout,
    () => '',
  )
  helps.set(command, asked)
  return asked
}

/** What is wrong with a command line; undefined: nothing. */
async function wrong([name = '', ...rest]: readonly string[]): Promise<string | undefined> {
  const help = await helpOf(name)
  if (!help.startsWith(`Usage: banyan ${name}`)) return `no command ${name}`
  const options = rest.filter(each => each.startsWith('-')).map(each => each.split('=')[0]!)
  const missing = options.find(each => !new RegExp(`(^|[\\s,])${each}\\b`, 'm').test(help))
  if (missing) return `${name} has no ${missing}`
  const part = name === 'run' && !/^(router|sync|control|<.*>)$/.test(rest[0] ?? '')
  return part ? `run has no part ${rest[0]}` : undefined
}

await t.test('the examples run the same parts, and only what there is', async t => {
  const { parts, once } = await composed()
  const pods = await kubernetes()
  const commands: Processes[] = [...parts, ...once, ...pods, ...(await units())]
  t.ok(commands.length >= 10, `${commands.length} of them`)
  for (const { name, command } of commands) t.equal(await wrong(command), undefined, name)
  const named = (list: readonly Processes[]) =>
    list.map(({ command, replicas }) => `${replicas} × ${command.join(' ')}`).sort()
  t.strictSame(named(parts), ['2 × run control', '2 × run sync', '3 × run router'])
  t.strictSame(named(pods), named([...parts, ...once]), 'Kubernetes has what Compose has')
  t.match(await wrong(['rum', 'router']), 'no command rum', 'a wrong one is found')
  t.match(await wrong(['migrate', '--chekc']), 'migrate has no --chekc')
  t.match(await wrong(['run', 'console']), 'run has no part console')
})

await t.test('every command of the handbook exists', async t => {
  for (const file of ['operations.md', 'deploy/README.md']) {
    const commands = commandsIn(await readFile(join(DEPLOY, '..', file), 'utf8'))
    t.ok(commands.length > 2, `${commands.length} in ${file}`)
    for (const command of commands) t.equal(await wrong(command), undefined, command.join(' '))
  }
})

await t.test('every alarm has its entry in the runbook', async t => {
  const handbook = await readFile(join(DEPLOY, '../operations.md'), 'utf8')
  const runbook = handbook.slice(handbook.indexOf('## Runbook'))
  const checks = await readFile(join(DEPLOY, '../../control/checks.ts'), 'utf8')
  const codes = [
    ...[SYNC_ERRORS, APPLY_ERRORS, PROTOCOL_ERRORS].flatMap(table => Object.keys(table)),
    ...[...checks.matchAll(/code: '([A-Z_]+)'/g)].map(([, code]) => code!),
  ]
  t.ok(codes.length > 40, `${codes.length} codes`)
  const without = codes.filter(code => !new RegExp(`\\b${code}\\b`).test(runbook))
  t.strictSame(without, [])
})

await t.test('the files are what they say they are', async t => {
  t.ok((await yamlFiles()).length >= 4)
  const { project, diagnostics } = await readProject(join(DEPLOY, 'project/banyan.yaml'))
  t.strictSame(diagnostics, [])
  t.equal(project?.slices.length, 1)
  const read = (file: string) => readFile(join(DEPLOY, file), 'utf8')
  // Each URL is a file of its own, mounted by all.
  const files = [...(await read('project/banyan.yaml')).matchAll(/file:secrets\/([\w-]+)\.url/g)]
  t.equal(files.length, 7)
  const compose = await read('compose.yaml')
  for (const [, name] of files) t.match(compose, `/etc/banyan/secrets/${name}.url`)
  for (const file of ['compose.yaml', 'kubernetes.yaml', 'haproxy.cfg'])
    t.match(await read(file), JWKS_PATH, `${file} asks what a router answers`)
  const shipped = await readFile(join(DEPLOY, '../../examples/clinic/slices/appointments.yaml'))
  t.equal(await read('project/slices/appointments.yaml'), shipped.toString())
})
