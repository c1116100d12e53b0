/** The ledger in three lines of 80 columns, and what it found where it found something. */
import type { SidesReport } from './compare.ts'
import { FINDINGS, type FindingKind } from './finding.ts'
import { FAILURE_ROWS, type Totals } from './record.ts'
import type { LedgerReport } from '../ledger.ts'

/** Three lines; then, where something is wrong, one line for each example. */
export function ledgerSummary(report: LedgerReport, sides?: SidesReport): string {
  const { totals, told, findings, staleReads } = report
  const count = (...kinds: FindingKind[]): number =>
    kinds.reduce((sum, kind) => sum + findings.counts[kind], 0)
  const wrong = count('ghost', 'undead', 'version', 'content', 'counter', 'transfer')
  const verdict = report.clean && (sides?.equal ?? true) ? 'clean' : 'NOT CLEAN'
  const lines = [
    requestsOf(totals),
    [
      `${figure(told.ok)} told "ok": ${count('missing')} missing, ${count('doubled')} doubled, `,
      `${wrong} wrong │ ${figure(told.no)} "no", ${figure(told.unknown)} unknown`,
    ].join(''),
    `${figure(staleReads)} stale reads │ ${rowsOf(sides)} │ ${verdict}`,
  ].map((line, index) => (index === 0 ? 'LEDGER' : '').padEnd(10) + line)
  return [...lines, ...details(report, sides)].join('\n')
}

/** "0 failed" claims the first two rows; the others are said beside it where there is any. */
function requestsOf(totals: Totals | undefined): string {
  if (!totals) return 'the load was not paused: no totals'
  const { offered, sent, unsent, failures } = totals
  const rest = (['gateOther', 'direct', 'unknown'] as const)
    .filter(row => failures[row] > 0)
    .map(row => ` │ ${figure(failures[row])} ${FAILURE_ROWS[row]}`)
  const sum = `${figure(offered)} requests = ${figure(sent)} sent + ${figure(unsent)} unsent`
  return `${sum}, ${figure(failures.banyan + failures.gateSlice)} failed${rest.join('')}`
}

function rowsOf(sides: SidesReport | undefined): string {
  if (!sides) return 'sides not compared'
  const sign = sides.equal ? '=' : '≠'
  return `${figure(sides.legacyRows)} ${sign} ${figure(sides.serviceRows)} rows`
}

function details(report: LedgerReport, sides: SidesReport | undefined): string[] {
  const found = report.findings.examples.map(
    ({ kind, key, expected, got }) =>
      `  ✖ ${kind}  ${key}: expected ${expected}, found ${got} (${FINDINGS[kind]})`,
  )
  const stale = report.staleExamples.map(
    ({ route, expected, got }) => `  ✖ stale  ${route}: expected ${expected}, got ${got}`,
  )
  const unequal = (sides?.tables ?? [])
    .filter(table => table.examples.length > 0)
    .map(
      ({ table, missing, extra, different, examples }) =>
        `  ✖ ${table}: ${missing} missing, ${extra} extra, ${different} different ` +
        `(${examples.join(', ')})`,
    )
  return [...found, ...stale, ...unequal]
}

function figure(count: number): string {
  return count.toLocaleString('en-US')
}
