/** The command as people call it: a process, its words and its exit codes. */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import t from 'tap'
import { BANYAN_YAML } from '../support/project-files.ts'

const COMMAND = join(import.meta.dirname, '../../scripts/banyan.js')

function banyan(args: readonly string[], options: { cwd?: string; env?: object } = {}) {
  return new Promise<{ exit: number; out: string; err: string }>(resolve => {
    const env = { ...process.env, ...options.env }
    execFile(process.execPath, [COMMAND, ...args], { ...options, env }, (error, out, err) => {
      resolve({ exit: error ? Number(error.code) : 0, out, err })
    })
  })
}

/** The commands that the program has, asked of the program itself. */
function words(): Promise<string[]> {
  const script = `import { Command } from 'commander'
    Command.prototype.parseAsync = async function () {
      console.log(JSON.stringify(this.commands.map(each => each.name())))
    }
    await (await import(${JSON.stringify(pathToFileURL(COMMAND).href)})).main([])`
  return new Promise((resolve, reject) => {
    execFile(process.execPath, ['--input-type=module', '--eval', script], (error, out) => {
      if (error) reject(new Error(error.message))
      else resolve(JSON.parse(out) as string[])
    })
  })
}

void t.test('--help lists the commands that are there, and each has its own', async t => {
  const { exit, out } = await banyan(['--help'])
  t.equal(exit, 0)
  const listed = out
    .split('\n')
    .filter(line => /^(Learn|Check|Move|Look|Run) {2}/.test(line))
    .flatMap(line => line.slice(7).split(/\s{2,}/))
    .map(word => word.trim().split(' ')[0]!)
  const there = await words()
  t.ok(there.length > 10)
  t.same(listed.sort(), [...there].sort())
  for (const line of out.trimEnd().split('\n')) t.ok(line.length <= 80, line)
  const helps = await Promise.all(there.map(word => banyan([word, '--help'])))
  for (const [index, help] of helps.entries()) {
    t.equal(help.exit, 0)
    t.match(help.out, new RegExp(`^Usage: banyan ${there[index]} `))
    t.match(help.out, '--json')
  }
})

void t.test('what it is not asked rightly ends in 2, with a word that helps', async t => {
  for (const [args, said] of [
    [['stauts'], "unknown command 'stauts': Did you mean status?\n  see `banyan --help`"],
    [['flip'], "missing required argument 'slice'\n  see `banyan flip --help`"],
    [['status', '--fast'], "unknown option '--fast'\n  see `banyan status --help`"],
  ] as const) {
    const { exit, out, err } = await banyan(args)
    t.same({ exit, out, err }, { exit: 2, out: `✖ USAGE  ${said}\n`, err: '' })
  }
  const usage = await banyan(['flip', '--json'])
  t.match(JSON.parse(usage.out), { error: { code: 'USAGE', exit: 2 } })
  const { version } = createRequire(import.meta.url)('../../../package.json') as { version: string }
  for (const asked of ['-v', '--version']) {
    t.same(await banyan([asked]), { exit: 0, out: `${version}\n`, err: '' })
  }
  const part = await banyan(['run', 'nothing'])
  t.match(part, { exit: 2, out: /^✖ PART_UNKNOWN/ })
  t.match(await banyan(['run', 'sync', '--lag', '3']), { exit: 2, out: /^✖ OPTION_INVALID/ })
  t.match(await banyan(['demo', '--sabotage', 'all']), { exit: 2, out: /^✖ OPTION_INVALID/ })
})

void t.test(
  '--config and --json stand before or after the name; a pipe gets no colours',
  async t => {
    const cwd = t.testdir({ there: { 'banyan.yaml': BANYAN_YAML } })
    for (const args of [
      ['--config', 'there/banyan.yaml', '--json', 'lint'],
      ['lint', '--json', '--config', 'there/banyan.yaml'],
    ]) {
      const { exit, out } = await banyan(args, { cwd })
      t.equal(exit, 0)
      t.match(JSON.parse(out), { ok: true })
    }
    const { exit, out } = await banyan(['lint'], { cwd })
    t.match(out, /^✖ CONFIG_MISSING {2}there is no banyan\.yaml\n/)
    t.equal(exit, 2)
    t.notMatch(out, '\u001b')
    for (const env of [{ CI: 'true' }, { FORCE_COLOR: '1' }, { NO_COLOR: '' }]) {
      t.equal((await banyan(['lint'], { cwd, env })).out, out, JSON.stringify(env))
    }
    // The name given last is the one that counts.
    const both = ['--config', 'nowhere.yaml', 'lint', '--config', 'there/banyan.yaml']
    t.match(await banyan(both, { cwd }), { exit: 0, out: /^✔ / })
    t.match(await banyan(['status', '--config', 'there/banyan.yaml'], { cwd }), {
      ...{ exit: 4, out: /^✖ CONTROL_NOT_STARTED / },
    })
    const json = await banyan(['status', '--json'], { cwd })
    t.match(JSON.parse(json.out), { error: { code: 'CONFIG_MISSING', exit: 2 } })
  },
)

void t.test('a reader that has had enough is no error', async t => {
  const child = spawn(process.execPath, [COMMAND, '--help'], { stdio: ['ignore', 'pipe', 'pipe'] })
  child.stdout.destroy()
  let said = ''
  child.stderr.on('data', chunk => (said += String(chunk)))
  const [exit] = (await once(child, 'close')) as [number]
  t.same({ exit, said }, { exit: 0, said: '' })
})
