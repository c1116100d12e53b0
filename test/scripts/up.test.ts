/** `banyan up` as a process tree: what it starts, what stops it, and that nothing is left behind. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { freePort } from '../../scripts/demo/ports.ts'
import { dataRoot } from '../support/data-root.ts'

// As from a shell: no hooks of the runner, and not by way of npm, which changes the commands that are proposed.
const CLEAN = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^(NODE_OPTIONS|_?TAP|npm_)/.test(name)),
)
const COMMAND = join(import.meta.dirname, '../../scripts/banyan.js')

interface Up {
  readonly child: ChildProcess
  /** Resolves when this was printed. */
  said(text: string | RegExp): Promise<string>
  readonly ended: Promise<number | string>
}

function banyan(t: Test, config: string, ...args: string[]): Up {
  const child = fork(COMMAND, [...args, '--config', config], {
    stdio: 'pipe',
    execArgv: [],
    env: CLEAN,
  })
  let text = ''
  child.stdout!.on('data', chunk => (text += String(chunk)))
  child.stderr!.on('data', () => undefined)
  const ended = once(child, 'exit').then(([code, signal]) => (signal ?? code) as number | string)
  t.teardown(async () => {
    child.kill('SIGKILL')
    await ended
  })
  return {
    child,
    ended,
    async said(wanted) {
      const has = () => (typeof wanted === 'string' ? text.includes(wanted) : wanted.test(text))
      while (!has()) {
        const more = await Promise.race([once(child.stdout!, 'data'), ended.then(() => undefined)])
        if (!more && !has()) throw new Error(`ended before ${String(wanted)}: ${text}`)
      }
      return text
    },
  }
}

async function project(t: Test): Promise<{ config: string; facade: number; folder: string }> {
  const server = createServer((request, response) => response.end(`legacy ${request.url}`))
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  // Not under the project: PostgreSQL's user may have no way there.
  const folder = await mkdtemp(join(await dataRoot(), 'banyan-test-up-'))
  t.teardown(async () => {
    // Where the server's user can't reach the folder, the data lie elsewhere.
    const moved = await readFile(join(folder, '.banyan/control/moved-to'), 'utf8').catch(() => '')
    await rm(folder, { recursive: true, force: true })
    if (moved.startsWith('/var/tmp/banyan-'))
      await rm(moved.trim(), { recursive: true, force: true })
  })
  const facade = await freePort(0)
  const config = join(folder, 'banyan.yaml')
  await writeFile(
    config,
    `version: 1
legacy: { url: http://127.0.0.1:${(server.address() as AddressInfo).port}, database: file:legacy.url }
router: { listen: 127.0.0.1:${facade} }
`,
  )
  await writeFile(join(folder, 'legacy.url'), 'postgres://nobody@127.0.0.1:1/nothing')
  return { config, facade, folder }
}

const ask = (port: number) =>
  fetch(`http://127.0.0.1:${port}/x`).then(
    answer => answer.text(),
    () => undefined,
  )

const never = new AbortController().signal

async function until(what: string, test: () => Promise<boolean>): Promise<void> {
  const { pause } = await import('../../model/pause.ts')
  const deadline = performance.now() + 20_000
  while (!(await test())) {
    if (performance.now() > deadline) throw new Error(`never: ${what}`)
    await pause(20, never)
  }
}

void t.test('the façade alone asks no database, not even for its secrets', async t => {
  const { config, facade, folder } = await project(t)
  const yaml = await readFile(config, 'utf8')
  await writeFile(config, yaml.replace('file:legacy.url', 'env:BANYAN_TEST_NOT_SET'))
  const up = banyan(t, config, 'up', '--router-only')
  await up.said(/✔ façade .* → .*\n {2}0 slices, no database touched; [^]*\nnext: /)
  t.equal(await ask(facade), 'legacy /x')
  const second = banyan(t, config, 'up', '--router-only')
  t.match(await second.said('PORT_IN_USE'), `port ${facade} of 127.0.0.1 is in use`)
  t.equal(await second.ended, 3)
  up.child.kill('SIGTERM')
  t.equal(await up.ended, 0)
  t.same((await readdir(folder)).sort(), ['.banyan', 'banyan.yaml', 'legacy.url'])
  t.same(await readdir(join(folder, '.banyan')), ['router.log'], 'it left its log alone')

  await t.test('with the databases, a secret that is not there is shown at its place', async t => {
    const all = banyan(t, config, 'up')
    t.match(await all.said('CONFIG_INVALID'), /^banyan\.yaml:2:\d+ {2}SECRET_MISSING$/m)
    t.equal(await all.ended, 2)
    t.same(await readdir(join(folder, '.banyan')), ['router.log'], 'nothing was begun')
  })
})

void t.test('up runs all parts, starts again what dies, and leaves nothing behind', async t => {
  const { config, facade, folder } = await project(t)
  await t.test('a port that is taken: it says which, and what it had begun ends', async t => {
    const taken = createServer()
    await new Promise<void>(resolve => taken.listen(facade, '127.0.0.1', resolve))
    const none = banyan(t, config, 'up')
    t.match(await none.said('PORT_IN_USE'), `port ${facade} of 127.0.0.1 is in use by another`)
    t.equal(await none.ended, 3)
    await new Promise(resolve => taken.close(resolve))
    const begun = ['control', 'standby', 'sync', 'router'].map(name => `${name}.log`)
    t.same((await readdir(join(folder, '.banyan'))).sort(), ['control', ...begun].sort())
  })
  const up = banyan(t, config, 'up')
  await up.said('next: banyan')
  t.equal(await ask(facade), 'legacy /x')
  const status = banyan(t, config, 'status')
  t.match(await status.said('next:'), /control ✔ · routers 1\/1/)
  t.equal(await status.ended, 0)

  await t.test('two of them on one project: the second says why it can not', async t => {
    const second = banyan(t, config, 'up')
    await second.said(/✖ (CLUSTER_RUNNING|PORT_IN_USE) /)
    t.equal(await second.ended, 3)
  })

  await t.test('a router that is killed is there again', async () => {
    const pid = await childOf(up.child.pid!, 'run router')
    process.kill(pid, 'SIGKILL')
    await until('another router', async () => {
      const next = await childOf(up.child.pid!, 'run router').catch(() => pid)
      return next !== pid && (await ask(facade)) === 'legacy /x'
    })
  })

  await t.test('killed itself, it takes its parts and its database along', async t => {
    const parts = await childrenOf(up.child.pid!)
    t.ok(parts.length >= 5, `${parts.length} processes`)
    const url = (await readFile(join(folder, '.banyan/control.url'), 'utf8')).trim()
    up.child.kill('SIGKILL')
    t.equal(await up.ended, 'SIGKILL')
    await until('the parts to end', async () => !parts.some(pid => alive(pid)))
    t.equal(await ask(facade), undefined)
    const away = banyan(t, config, 'status')
    t.match(await away.said('CONTROL_AWAY'), new URL(url).port)
    t.equal(await away.ended, 4)
  })

  await t.test('and begins again on the same data; SIGTERM ends it in order', async t => {
    const again = banyan(t, config, 'up')
    await again.said('next: banyan')
    // In the order of their begin: the database (a shell of ours that minds it), then the parts that need it.
    const up = again.child.pid!
    const begin = (pid: number) => (pid < up ? pid + 2 ** 32 : pid) // the numbers begin anew at some point
    const parts = (await childrenOf(up)).sort((a, b) => begin(a) - begin(b))
    t.equal(parts.length, 5)
    again.child.kill('SIGTERM')
    const lives = new Set<string>()
    await until('they end', async () => {
      const living = parts.map(alive)
      lives.add(living.map(Number).join(''))
      return !living.includes(true)
    })
    t.ok(
      [...lives].every(each => /^1*0*$/.test(each)),
      `in order: ${[...lives].join(' ')}`,
    )
    t.equal(await again.ended, 0)
    const none = banyan(t, config, 'status')
    await none.said('CONTROL_NOT_STARTED')
  })
})

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

async function childrenOf(parent: number): Promise<number[]> {
  const { execFile } = await import('node:child_process')
  const out = await new Promise<string>(resolve => {
    execFile('ps', ['-A', '-o', 'pid=,ppid='], (_error, text) => resolve(text))
  })
  const rows = out
    .trim()
    .split('\n')
    .map(line => line.trim().split(/\s+/).map(Number))
  return rows.filter(([, ppid]) => ppid === parent).map(([pid]) => pid!)
}

async function childOf(parent: number, args: string): Promise<number> {
  const { execFile } = await import('node:child_process')
  for (const pid of await childrenOf(parent)) {
    const command = await new Promise<string>(resolve => {
      execFile('ps', ['-p', String(pid), '-o', 'args='], (_error, text) => resolve(text))
    })
    if (command.includes(args)) return pid
  }
  throw new Error(`no child that runs ${args}`)
}
