/** Each sabotage turns the ledger red, at the side it spoils; undone, the ledger is clean again. */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { checkLedger, type LedgerReport } from '../../../examples/clinic/ledger.ts'
import type { Side } from '../../../examples/clinic/ledger/side.ts'
import { SABOTAGES } from '../../../examples/clinic/sabotage.ts'
import { query } from '../../support/cluster.ts'
import { AS_PEOPLE, AS_SCHEDULING, closedGate } from './ledger-schema.ts'
import { stage, startLoad } from './ledger-load.ts'

const { cluster, clinic, databaseUrl } = await stage(t)
const legacy: Side = { side: 'legacy', url: databaseUrl }
const load = await startLoad(t, clinic.url, ['--reads', '120', '--writes', '120'])
const check = (appointments: Side, patients: Side): Promise<LedgerReport> =>
  checkLedger({ journal: load.journal, owner: { appointments, patients }, legacy: databaseUrl })

await t.test('stale-read: the running client itself notices', async t => {
  await load.until(150)
  // The newest appointments are the likeliest to be read again; the load goes on while they are set
  // back.
  const sabotage = await SABOTAGES['stale-read']({ journal: load.journal, on: legacy })
  t.ok(sabotage.ids.length > 0)
  await load.line(line => line.stale > 0)
  await sabotage.undo()
  await load.ask({ cmd: 'pause' })
  const report = await check(legacy, legacy)
  t.notOk(report.clean)
  t.ok(report.staleReads > 0)
  t.match(report.staleExamples[0], { route: /appointments/, expected: /version/ })
  t.strictSame(report.findings.examples, [], 'undone: what is stored is right again')
})

for (const name of ['missing-row', 'doubled-row'] as const) {
  const kind = name === 'missing-row' ? 'missing' : 'doubled'
  await t.test(`${name}: the owner's table no longer agrees with what was told`, async t => {
    const sabotage = await SABOTAGES[name]({ journal: load.journal, on: legacy })
    t.equal((await check(legacy, legacy)).findings.counts[kind], 1)
    await sabotage.undo()
    t.strictSame((await check(legacy, legacy)).findings.examples, [])
  })
}

await t.test('a closed gate stops no sabotage, and stands as before when it is over', async t => {
  await query(databaseUrl, closedGate('appointments'))
  for (const [name, sabotage] of Object.entries(SABOTAGES)) {
    const done = await sabotage({ journal: load.journal, on: legacy })
    t.ok((await check(legacy, legacy)).findings.examples.length > 0, name)
    await done.undo()
    t.strictSame((await check(legacy, legacy)).findings.examples, [], `${name} undone`)
  }
  const gate = `SELECT tgenabled::text FROM pg_trigger WHERE tgname = 'banyan_gate'`
  t.strictSame(await query(databaseUrl, gate), [{ tgenabled: 'A' }])
  await query(databaseUrl, 'DROP TRIGGER banyan_gate ON appointments')
})

await t.test('when the services own, the ledger reads their tables under their names', async t => {
  await clinic.close()
  for (const [name, sql] of Object.entries({ scheduling: AS_SCHEDULING, people: AS_PEOPLE })) {
    await query(cluster.url(), `CREATE DATABASE ${name} TEMPLATE legacy`)
    await query(cluster.url(name), sql)
  }
  const scheduling: Side = { side: 'service', url: cluster.url('scheduling') }
  const people: Side = { side: 'service', url: cluster.url('people') }
  t.strictSame((await check(scheduling, people)).findings.examples, [])
  for (const [name, sabotage] of Object.entries(SABOTAGES)) {
    const done = await sabotage({ journal: load.journal, on: scheduling })
    t.ok((await check(scheduling, people)).findings.examples.length > 0, name)
    t.strictSame((await check(legacy, people)).findings.examples, [], 'the other side is whole')
    await done.undo()
  }
  await query(people.url, `UPDATE patient SET visits = visits + 1 WHERE mrn LIKE 'M%'`)
  t.ok((await check(scheduling, people)).findings.counts.counter > 0)
  await query(people.url, `UPDATE patient SET visits = visits - 1 WHERE mrn LIKE 'M%'`)
})

await t.test('the command line says what it found and exits accordingly', async t => {
  const program = fileURLToPath(new URL('../../../examples/clinic/ledger.js', import.meta.url))
  const run = (...args: string[]): Promise<{ code: number; out: string; err: string }> =>
    new Promise(resolve => {
      execFile(process.execPath, [program, ...args], (error, out, err) =>
        resolve({ code: error === null ? 0 : Number(error.code), out, err }),
      )
    })
  const where = ['--journal', load.journal, '--legacy', databaseUrl]
  const services = ['--scheduling', cluster.url('scheduling'), '--people', cluster.url('people')]
  // The load did meet stale reads above, and that is never forgotten.
  const red = await run(...where, ...services)
  t.equal(red.code, 1)
  t.match(
    red.out,
    /^LEDGER .*\n.*0 missing, 0 doubled, 0 wrong.*\n.* stale reads │ .* = .* rows │ NOT CLEAN/,
  )
  const spoilt = await run(
    ...where,
    ...services,
    '--appointments',
    'service',
    '--sabotage',
    'missing-row',
  )
  t.equal(spoilt.code, 1)
  t.match(spoilt.err, /deleted appointment \d+ from appointment/)
  t.match(spoilt.out, /: 1 missing, 0 doubled/)
  t.match(spoilt.out, / ≠ /)
  t.match(spoilt.out, /✖ appointments = scheduling.appointment: 1 missing/)
  t.equal((await run('--journal', load.journal)).code, 2)
  t.equal((await run(...where, '--appointments', 'service')).code, 2)
})
