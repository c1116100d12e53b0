/** What keeps the parts of `up` alive: real processes that get ready, fail, die, and are told to stop. */
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { pause } from '../../model/pause.ts'
import { type Part, type PartWanted, startPart } from '../../scripts/supervise.ts'

/** A program that is told by its first argument what to be. */
const PROGRAM = `
console.log('begun', process.pid)
const stay = () => setInterval(() => undefined, 1000)
const [how, more] = process.argv.slice(2)
if (how === 'ready') {
  process.on('SIGTERM', () => { console.log('stopped'); process.exit(0) })
  stay()
  process.send({ ready: { url: 'http://' + process.env.WHERE } })
} else if (how === 'failed') {
  process.send({ failed: { code: 'CONTROL_OLD', message: 'it lacks 2', hint: 'banyan migrate', exit: 3 } })
  stay()
} else if (how === 'exits') process.exit(Number(more))
else if (how === 'silent') stay()
`

const never = new AbortController().signal

async function until(what: string, test: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 10_000
  while (!(await test())) {
    if (performance.now() > deadline) throw new Error(`never: ${what}`)
    await pause(5, never)
  }
}

function alive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

function folderOf(t: Test): string {
  return t.testdir({ 'program.mjs': PROGRAM })
}

async function part(t: Test, more: Partial<PartWanted> & { args: string[] }): Promise<Part> {
  const folder = more.folder ?? folderOf(t)
  const started = await startPart({
    ...{ name: 'part', script: join(folder, 'program.mjs'), folder },
    ...more,
  })
  t.teardown(() => started[Symbol.asyncDispose]())
  return started
}

/** The processes that its log speaks of. */
async function begun(logFile: string): Promise<number[]> {
  const log = await readFile(logFile, 'utf8')
  return [...log.matchAll(/^begun (\d+)$/gm)].map(([, pid]) => Number(pid))
}

void t.test('a part is there when it says so, and says where', async t => {
  const started = await part(t, { args: ['ready'], env: { WHERE: 'here:1' } })
  t.match(started, { name: 'part', url: 'http://here:1' })
  const { pid, logFile } = started
  t.same(await begun(logFile), [pid], 'its words are in its log')
  await started[Symbol.asyncDispose]()
  t.notOk(alive(pid!))
  t.equal(started.pid, undefined)
  t.match(await readFile(logFile, 'utf8'), /stopped\n$/, 'it was asked to end, not killed')
})

void t.test('a part that dies is started again, until it is told to stop', async t => {
  const started = await part(t, { args: ['ready'] })
  const pids = new Set([started.pid])
  for (let times = 1; times <= 2; times++) {
    started.kill('SIGKILL')
    await until('the next one', () => started.pid !== undefined && !pids.has(started.pid))
    pids.add(started.pid)
    await until('its log', async () => (await begun(started.logFile)).length === times + 1)
  }
  // Between two: nobody is there to be stopped, and nobody comes.
  started.kill('SIGKILL')
  await until('it is gone', () => started.pid === undefined)
  await started[Symbol.asyncDispose]()
  t.same(new Set(await begun(started.logFile)), pids)
  t.notOk([...pids].some(pid => alive(pid!)))
})

void t.test('what keeps a part from beginning is told, and nothing is left', async t => {
  const left = async (folder: string) => {
    for (const pid of await begun(join(folder, 'part.log'))) t.notOk(alive(pid), 'it has ended')
  }
  await t.test('in its own words', async t => {
    const folder = folderOf(t)
    await t.rejects(part(t, { folder, args: ['failed'] }), {
      ...{ code: 'CONTROL_OLD', message: 'it lacks 2', hint: 'banyan migrate' },
      rule: { exit: 3 },
    })
    await left(folder)
  })
  await t.test('or by where its log is', async t => {
    const folder = folderOf(t)
    await t.rejects(part(t, { folder, args: ['exits', '7'] }), {
      ...{ code: 'PART_ENDED', message: 'part ended as soon as it began: exit 7' },
      hint: new RegExp(`^its log says more: ${folder}/part\\.log;`),
    })
    await left(folder)
    const script = join(folder, 'nothing.mjs')
    await t.rejects(part(t, { folder, script, args: [] }), { code: 'PART_ENDED' })
    t.match(await readFile(join(folder, 'part.log'), 'utf8'), /Cannot find module/)
  })
  await t.test('or by why there is no log', async t => {
    await t.rejects(part(t, { folder: '/proc/nowhere', script: PROGRAM, args: [] }), {
      ...{ code: 'PART_ENDED', message: /ENOENT.*\/proc\/nowhere\/part\.log/ },
    })
  })
})

void t.test('a program that is not ours is ready when it answers', async t => {
  let asked = 0
  const server = createServer((_, response) => {
    asked += 1
    response.writeHead(asked < 3 ? 503 : 200).end()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const readyUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/ready`
  const started = await part(t, { args: ['silent'], readyUrl })
  t.equal(started.url, readyUrl)
  t.equal(asked, 3)
  await t.rejects(part(t, { args: ['exits', '1'], readyUrl: 'http://127.0.0.1:1/' }), {
    code: 'PART_ENDED',
  })
})

void t.test('Ctrl-C is not for the parts: each has a group of its own', async t => {
  const { pid } = await part(t, { args: ['ready'] })
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined)
  if (stat === undefined) return t.pass('only Linux says so here')
  const [, , group] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  t.equal(Number(group), pid)
})
