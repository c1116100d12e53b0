/** The command as people call it: a process, its words and its exit codes. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
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

const WORDS =
  'lint plan flip back release verify doctor status why explain journal migrate up run demo'.split(
    ' ',
  )

void t.test('--help lists the commands that are there, and each has its own', async t => {
  const { exit, out } = await banyan(['--help'])
  t.equal(exit, 0)
  const listed = out
    .split('\n')
    .filter(line => /^(Learn|Check|Move|Look|Run) {2}/.test(line))
    .flatMap(line => line.slice(7).split(/\s{2,}/))
    .map(word => word.trim().split(' ')[0]!)
  t.same(listed.sort(), [...WORDS].sort())
  for (const line of out.trimEnd().split('\n')) t.ok(line.length <= 80, line)
  const helps = await Promise.all(WORDS.map(word => banyan([word, '--help'])))
  for (const [index, help] of helps.entries()) {
    t.equal(help.exit, 0)
    t.match(help.out, new RegExp(`^Usage: banyan ${WORDS[index]} `))
    t.match(help.out, '--json')
  }
})

void t.test('what it is not asked rightly ends in 2, with a word that helps', async t => {
  for (const [args, said] of [
    [['stauts'], /Did you mean status\?/],
    [['flip'], /missing required argument 'slice'/],
    [['status', '--fast'], /unknown option '--fast'/],
  ] as const) {
    const { exit, out, err } = await banyan(args)
    t.equal(exit, 2)
    t.match(err, said)
    t.match(err, 'banyan --help lists the commands')
    t.equal(out, '')
  }
  t.match((await banyan(['-v'])).out, /^\d+\.\d+\.\d+\n$/)
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
    const json = await banyan(['status', '--json'], { cwd })
    t.match(JSON.parse(json.out), { error: { code: 'CONFIG_MISSING', exit: 2 } })
  },
)
