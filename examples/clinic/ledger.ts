/**
 * The ledger: what clients were told, against what the databases hold, in plain SQL of its own. It
 * imports nothing of Banyan's, so that it can't share a mistake with it.
 */
import { parseArgs } from 'node:util'
import { pathToFileURL } from 'node:url'
import { bookedRows, checkAppointments } from './ledger/appointments.ts'
import { compareSides } from './ledger/compare.ts'
import { summed, type Finding, type Findings } from './ledger/finding.ts'
import { readHistory, type History, type Phase } from './ledger/history.ts'
import { checkDirectWrites, checkPrescriptions } from './ledger/monolith-only.ts'
import { checkPatients, patientRows } from './ledger/patients.ts'
import type { StaleRead, Told, Totals } from './ledger/record.ts'
import { NAMES, withSnapshot, type Side, type SideName } from './ledger/side.ts'
import { checkMoves, checkTaken, checkTransfers, moveRows, slotRows } from './ledger/slots.ts'
import { ledgerSummary } from './ledger/summary.ts'
import { SABOTAGES, type Sabotage, type SabotageName, type SabotageOptions } from './sabotage.ts'

export interface LedgerOptions {
  /**
   * The load's journal. The load must be paused or over: what it is told meanwhile would look
   * wrong.
   */
  readonly journal: string
  /** Who owns each slice's tables now, and where. */
  readonly owner: { readonly appointments: Side; readonly patients: Side }
  /** The monolith's database, for what never moves. */
  readonly legacy: string
}

export interface LedgerReport {
  /** Writes by what the client was told. */
  readonly told: Readonly<Record<Told, number>>
  readonly findings: Findings
  readonly staleReads: number
  readonly staleExamples: readonly StaleRead[]
  /** The client's own count, in its five rows of failures. */
  readonly totals: Totals | undefined
  /** Per mark: between two flips, say. */
  readonly phases: readonly Phase[]
  /**
   * Nothing missing, doubled or wrong, and no stale read. Failures don't count: a refused write is
   * no wrong write.
   */
  readonly clean: boolean
}

const STALE_EXAMPLES_MAX = 3

/** Throws where the journal or a database can't be read. */
export async function checkLedger(options: LedgerOptions): Promise<LedgerReport> {
  const history = await readHistory(options.journal)
  const findings = summed([
    ...(await withSnapshot(options.owner.appointments.url, client =>
      checkScheduling(client, options.owner.appointments.side, history),
    )),
    ...(await withSnapshot(options.owner.patients.url, async client => {
      const names = NAMES[options.owner.patients.side]
      return checkPatients(history, await patientRows(client, names, history))
    })),
    ...(await withSnapshot(options.legacy, client => checkPrescriptions(client, history))),
  ])
  const told: Record<Told, number> = { ok: 0, no: 0, unknown: 0, unsent: 0 }
  for (const entry of history.entries) told[entry.told]++
  const wrong = Object.values(findings.counts).reduce((sum, count) => sum + count, 0)
  return {
    told,
    findings,
    staleReads: history.stale.length,
    staleExamples: history.stale.slice(0, STALE_EXAMPLES_MAX),
    totals: history.totals,
    phases: history.phases,
    clean: wrong === 0 && history.stale.length === 0,
  }
}

async function checkScheduling(
  client: Parameters<typeof bookedRows>[0],
  side: SideName,
  history: History,
): Promise<Finding[]> {
  const names = NAMES[side]
  const appointments = await bookedRows(client, names, history)
  const moves = await moveRows(client, names, history)
  const slots = await slotRows(client, names, history)
  return [
    ...checkAppointments(history, appointments),
    ...checkMoves(history, moves),
    ...checkTaken(history, { slots, appointments, moves }),
    ...checkTransfers(history, { slots, moves }),
    ...(await checkDirectWrites(client, names, history)),
  ]
}

const USAGE = `usage: node ledger.js --journal <file> --legacy <url> [options]
  --scheduling <url>   the service's database; with it, both sides are compared row by row
  --people <url>
  --appointments legacy|service   who owns the slice's tables now (default legacy)
  --patients legacy|service
  --sabotage missing-row|doubled-row|stale-read   first spoil the owner's rows
  --superuser <url>    who may do that, in the database of the owner of appointments
  --json
Run it while the load is paused or over and nothing waits to be applied.
Exit: 0 clean, 1 not clean, 2 usage.`

async function main(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      journal: { type: 'string' },
      legacy: { type: 'string' },
      scheduling: { type: 'string' },
      people: { type: 'string' },
      appointments: { type: 'string', default: 'legacy' },
      patients: { type: 'string', default: 'legacy' },
      sabotage: { type: 'string' },
      superuser: { type: 'string' },
      json: { type: 'boolean', default: false },
    },
  })
  const { journal, legacy, scheduling, people } = values
  if (journal === undefined || legacy === undefined)
    throw new Error('--journal and --legacy are needed')
  const owner = {
    appointments: sideOf(values.appointments, { legacy, service: scheduling }),
    patients: sideOf(values.patients, { legacy, service: people }),
  }
  if (values.sabotage !== undefined) {
    const on = { side: owner.appointments.side, url: values.superuser ?? owner.appointments.url }
    console.error(`sabotage: ${(await sabotage(values.sabotage, { journal, on })).what}`)
  }
  const report = await checkLedger({ journal, owner, legacy })
  const services = {
    ...(scheduling === undefined ? {} : { scheduling }),
    ...(people === undefined ? {} : { people }),
  }
  const compared = Object.keys(services).length > 0
  const sides = compared
    ? await compareSides({ legacy, services, waitUntilQuiet: async () => {} })
    : undefined
  console.log(values.json ? JSON.stringify({ ...report, sides }) : ledgerSummary(report, sides))
  return report.clean && (sides?.equal ?? true) ? 0 : 1
}

function sabotage(name: string, options: SabotageOptions): Promise<Sabotage> {
  if (!isSabotage(name)) throw new Error(`--sabotage can't be "${name}"`)
  return SABOTAGES[name](options)
}

function isSabotage(name: string): name is SabotageName {
  return Object.hasOwn(SABOTAGES, name)
}

function sideOf(side: string, urls: { legacy: string; service: string | undefined }): Side {
  if (side === 'legacy') return { side, url: urls.legacy }
  if (side !== 'service') throw new Error(`an owner is legacy or service, not "${side}"`)
  if (urls.service === undefined)
    throw new Error('the owner is a service whose database has no URL here')
  return { side, url: urls.service }
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  process.exitCode = await main(process.argv.slice(2)).catch((error: unknown) => {
    console.error(`ledger: ${error instanceof Error ? error.message : String(error)}\n${USAGE}`)
    return 2
  })
}
