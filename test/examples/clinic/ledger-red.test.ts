/**
 * The ledger is clean over a clinic that is right, and red over one that lies once, whichever way
 * it lies.
 */
import t from 'tap'
import { checkLedger, type LedgerReport } from '../../../examples/clinic/ledger.ts'
import type { FindingKind } from '../../../examples/clinic/ledger/finding.ts'
import { ledgerSummary } from '../../../examples/clinic/ledger/summary.ts'
import type { Lie } from './ledger-routes.ts'
import { stage, startLoad, type RunningLoad } from './ledger-load.ts'

const { clinic, databaseUrl } = await stage(t)
const owner = { side: 'legacy', url: databaseUrl } as const
const check = (load: RunningLoad): Promise<LedgerReport> =>
  checkLedger({
    journal: load.journal,
    owner: { appointments: owner, patients: owner },
    legacy: databaseUrl,
  })
const RATES = ['--reads', '120', '--writes', '120']

await t.test(
  'a clinic that is right is found right, whatever was offered was sent or told unsent',
  async t => {
    const load = await startLoad(t, clinic.url, RATES)
    await load.until(150)
    await load.ask({ cmd: 'mark', name: 'second half' })
    await load.until(150)
    const paused = await load.ask({ cmd: 'pause' })
    t.equal(paused.offered, paused.sent + paused.unsent)
    t.equal(paused.waiting, 0)
    t.equal(paused.failed, 0)

    const report = await check(load)
    t.strictSame([...report.findings.examples, ...report.staleExamples], [])
    t.ok(report.clean)
    t.equal(report.told.ok, paused.told.ok, 'the journal holds what the client was told')
    t.ok(report.told.ok >= 300)
    t.strictSame(
      report.phases.map(phase => phase.name),
      ['start', 'second half'],
    )
    t.equal(
      report.phases.reduce((sum, phase) => sum + phase.told.ok, 0),
      report.told.ok,
    )
    const summary = ledgerSummary(report).split('\n')
    t.equal(summary.length, 3)
    t.match(summary[1], /told "ok": 0 missing, 0 doubled, 0 wrong/)
    t.match(summary[2], /0 stale reads .* clean$/)

    await load.ask({ cmd: 'resume' })
    await load.until(50)
    const done = await load.ask({ cmd: 'stop' })
    t.ok(done.told.ok > paused.told.ok, 'it went on after the pause')
    t.equal(await load.exited, 0)
    t.ok((await check(load)).clean)
  },
)

/** The lie, how often it is told so that the client meets it, and what the ledger must call it. */
const LIES: readonly (readonly [Lie, number, FindingKind | 'stale'])[] = [
  ['lostWrite', 1, 'missing'],
  ['doubledWrite', 1, 'doubled'],
  ['ghost', 1, 'ghost'],
  ['lostUpdate', 1, 'version'],
  ['undead', 1, 'undead'],
  ['wrongCounter', 1, 'counter'],
  ['lostVisit', 1, 'counter'],
  ['halfTransfer', 1, 'transfer'],
  ['lostPhone', 1, 'content'],
  // A read may be answered while the same row is being written; then a lie about it can't be told
  // from the truth.
  ['staleRead', 5, 'stale'],
  ['staleList', 5, 'stale'],
]

await t.test('each lie is found, and called by its name', async t => {
  const load = await startLoad(t, clinic.url, RATES)
  const counts = async (): Promise<Record<string, number>> => {
    await load.ask({ cmd: 'pause' })
    const report = await check(load)
    await load.ask({ cmd: 'resume' })
    return { ...report.findings.counts, stale: report.staleReads }
  }
  await load.until(60)
  let before = await counts()
  t.match(before, { missing: 0, stale: 0 })
  for (const [lie, times, kind] of LIES) {
    await clinic.lie(lie, times)
    const after = await counts()
    t.ok((after[kind] ?? 0) > (before[kind] ?? 0), `${lie} is ${kind}`)
    before = after
  }
  await load.ask({ cmd: 'pause' })
  const report = await check(load)
  t.notOk(report.clean)
  t.match(ledgerSummary(report), /NOT CLEAN\n {2}✖ /)
})
