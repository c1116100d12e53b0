/** What every command is given, and how it says that something went wrong. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import t from 'tap'
import { diagnostic } from '../../model/diagnostic.ts'
import { BanyanError } from '../../model/errors.ts'
import { CONFIG_ERRORS } from '../../model/errors-config.ts'
import { CONTROL_ERRORS } from '../../model/errors-control.ts'
import { openSource } from '../../model/source.ts'
import { type Context, contextOf, fail, FilesInvalid, problemText } from '../../scripts/context.ts'
import { testContext } from '../support/clinic.ts'
import { query, testCluster } from '../support/cluster.ts'
import { flat } from '../support/screen.ts'

const CONTEXT = join(import.meta.dirname, '../../scripts/context.js')

/** The context of a process of its own, whose stdout is a pipe. */
function inPipe(options: { env?: object; uid?: number; json?: boolean } = {}): Promise<Context> {
  const { env = {}, uid, json = false } = options
  const script = `import { contextOf } from ${JSON.stringify(CONTEXT)}
    const signal = new AbortController().signal
    const context = contextOf({ config: 'banyan.yaml', json: ${json}, self: 'banyan', signal })
    console.log(JSON.stringify(context))`
  return new Promise((resolve, reject) => {
    execFile(
      process.execPath,
      ['--input-type=module', '--eval', script],
      { env: { PATH: process.env['PATH'], ...env }, cwd: '/', ...(uid !== undefined && { uid }) },
      (error, out) =>
        error ? reject(new Error(error.message)) : resolve(JSON.parse(out) as Context),
    )
  })
}

void t.test('colours are for a terminal', async t => {
  t.match(await inPipe(), { color: false, columns: 80 })
  // What the library takes for a reason to paint isn't one for a pipe.
  t.match(await inPipe({ env: { CI: 'true', FORCE_COLOR: '1' } }), { color: false })

  const terminal = Object.getOwnPropertyDescriptor(process.stdout, 'isTTY')
  const before = process.env['NO_COLOR']
  t.teardown(() => {
    if (terminal) Object.defineProperty(process.stdout, 'isTTY', terminal)
    else delete (process.stdout as { isTTY?: boolean }).isTTY
    if (before === undefined) delete process.env['NO_COLOR']
    else process.env['NO_COLOR'] = before
  })
  Object.defineProperty(process.stdout, 'isTTY', { value: true, configurable: true })
  const color = (noColor: string | undefined, json = false) => {
    if (noColor === undefined) delete process.env['NO_COLOR']
    else process.env['NO_COLOR'] = noColor
    const { signal } = new AbortController()
    return contextOf({ config: 'banyan.yaml', json, self: 'banyan', signal }).color
  }
  t.equal(color(undefined), true)
  t.equal(color('1'), false)
  t.equal(color('0'), false, 'whatever it says')
  t.equal(color(''), true, 'https://no-color.org: present and not empty')
  t.equal(color(undefined, true), false, 'a document has none')
})

void t.test('who is asking', async t => {
  t.match((await inPipe()).actor, /^[^@]+@.+$/)
  t.match(await inPipe({ env: { BANYAN_ACTOR: 'ann@ops' } }), { actor: 'ann@ops' })
  if (process.getuid?.() !== 0) return t.pass('only root can become somebody without a name')
  // As in a container that was told a number.
  t.match((await inPipe({ uid: 54_321 })).actor, /^54321@.+$/)
})

const failed = (error: unknown, options: { json?: boolean } = {}) => {
  const context = testContext('banyan.yaml', options)
  return { exit: fail(context, error), text: context.said() }
}

void t.test('an error has a code, what to do next, and its own exit code', async t => {
  const error = new BanyanError(CONTROL_ERRORS.FILE_ELSEWHERE, ['/srv/banyan.yaml', 'db1'])
  const { exit, text } = failed(error)
  t.equal(exit, 5)
  t.equal(flat(text), `✖ FILE_ELSEWHERE  ${error.message} ${error.hint}\n`)
  for (const line of text.split('\n')) t.ok(line.length <= 80, line)
  const json = failed(error, { json: true })
  t.equal(json.exit, 5)
  t.same(JSON.parse(json.text), {
    error: { code: 'FILE_ELSEWHERE', message: error.message, hint: error.hint, exit: 5 },
  })
  t.equal(
    problemText({ color: true, columns: 80 }, { code: 'A', message: 'b', hint: 'c' }),
    '\u001b[31m✖\u001b[39m \u001b[31mA\u001b[39m  b\n\u001b[36m  c\u001b[39m\n',
  )
})

void t.test('files that are wrong are shown at the place', async t => {
  const source = openSource('banyan.yaml', 'version: 1\nlegacy: { database: env:NOWHERE }\n')
  const span = source.at(['legacy', 'database'], 'value')
  const details = ['env:NOWHERE', 'the variable NOWHERE is not set']
  const error = new FilesInvalid([
    diagnostic({ source, span, rule: CONFIG_ERRORS.SECRET_MISSING, details }),
  ])
  const { exit, text } = failed(error)
  t.equal(exit, 2)
  t.match(text, /^banyan\.yaml:2:21 {2}SECRET_MISSING\n/)
  t.match(text, /^ {2}2 \| legacy: \{ database: env:NOWHERE \}\n {4}\| {21}\^{11}$/m)
  t.match(text, /\n\n✖ CONFIG_INVALID {2}the files have 1 problem\n/)
  t.match(JSON.parse(failed(error, { json: true }).text), {
    error: {
      ...{ code: 'CONFIG_INVALID', exit: 2 },
      diagnostics: [{ file: 'banyan.yaml', line: 2, column: 21, code: 'SECRET_MISSING' }],
    },
  })
})

void t.test('what a database throws is explained, and nothing of a row is in it', async t => {
  const cluster = await testCluster(t)
  const url = cluster.url()
  await query(url, `CREATE TABLE patients (email text UNIQUE); INSERT INTO patients VALUES ('ann')`)
  const twice = await query(url, `INSERT INTO patients VALUES ('ann')`).catch(
    (error: Error) => error,
  )
  const { exit, text } = failed(twice)
  t.match(flat(text), /^✖ STATEMENT_FAILED .*SQLSTATE 23505.*patients_email_key/)
  t.notMatch(text, /ann|Error:|\.js:/)
  t.equal(exit, 5)
})

void t.test('a defect of ours shows no stack, unless it is asked for', async t => {
  const { exit, text } = failed(new TypeError('x is not a function'))
  t.equal(exit, 4)
  t.match(flat(text), /^✖ UNEXPECTED {2}x is not a function this is a defect: .*BANYAN_DEBUG=1\n$/)
  process.env['BANYAN_DEBUG'] = '1'
  t.teardown(() => delete process.env['BANYAN_DEBUG'])
  t.match(failed(new TypeError('x is not a function')).text, /context\.test\.[jt]s:\d+/)
  t.match(failed('a text').text, /^✖ UNEXPECTED/)
})
