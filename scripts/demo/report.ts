/** The report: what clients were told against what the databases hold, and on what kind of databases that was. */
import { readRogue } from '../../control/store/findings.ts'
import { checkLedger, type LedgerReport } from '../../examples/clinic/ledger.ts'
import { compareSides, type SidesReport } from '../../examples/clinic/ledger/compare.ts'
import type { Side } from '../../examples/clinic/ledger/side.ts'
import { ledgerSummary } from '../../examples/clinic/ledger/summary.ts'
import { SABOTAGES, type SabotageName } from '../../examples/clinic/sabotage.ts'
import { must } from '../../model/errors.ts'
import { STAGES } from '../../model/stage.ts'
import { aroundTheGate } from './story.ts'
import { type Demo, query, quiet, soon, stageOf, until } from './stage.ts'

export interface Compared {
  readonly ledger: LedgerReport
  readonly sides: SidesReport
  /** Takes the sabotage back, where that can be done. */
  readonly undo: () => Promise<void>
}

/** Pauses the load, compares, prints. What is wrong is on the screen's list afterwards. */
export async function report(demo: Demo): Promise<Compared> {
  const { load, screen, sabotage } = demo
  const owner = await owners(demo)
  let undo = async (): Promise<void> => undefined
  if (sabotage === 'stale-read') undo = await spoil(demo, sabotage, owner.appointments)
  await load.pause()
  await quiet(demo)
  if (sabotage === 'missing-row' || sabotage === 'doubled-row') {
    undo = await spoil(demo, sabotage, owner.appointments)
    await quiet(demo)
  }
  if (sabotage === 'rogue-write') await aroundTheGate(demo)
  const { databases, journal } = demo
  const ledger = await checkLedger({ journal, owner, legacy: databases.owner.legacy })
  const sides = await compareSides({
    legacy: databases.owner.legacy,
    services: { scheduling: databases.owner.scheduling, people: databases.owner.people },
    slices: await inMotion(demo),
    waitUntilQuiet: () => quiet(demo),
  })
  // What was written round the gate differs, and is listed: that is known, and nobody's loss.
  const known = sabotage === 'rogue-write' ? 0 : await rogueRows(demo)
  const listed = sides.unequal > 0 && sides.unequal <= known
  screen.plain(ledgerSummary(ledger, listed ? { ...sides, equal: true, tables: [] } : sides))
  if (listed) screen.plain(`          ${sides.unequal} written round the gate, and listed as such`)
  const failures = ledger.totals?.failed ?? 0
  if (!ledger.clean) screen.bad('ledger', 'what clients were told is not what the owner holds')
  if (failures > 0) {
    const which = JSON.stringify(ledger.totals?.failureDetails)
    screen.bad('ledger', `${failures} requests failed: ${which}`)
  }
  if (sides.unequal > known) {
    screen.bad('ledger', `${sides.unequal - known} rows differ between the sides`)
  }
  return { ledger, sides, undo }
}

/** The last thing that happens: a write round the gate, which the next flip will be refused for. */
export async function sentinel(demo: Demo): Promise<void> {
  const { opened, screen } = demo
  if ((await rogueRows(demo)) > 0) return
  if (STAGES[await stageOf(demo, 'appointments')].owner !== 'service') return
  const failed = await aroundTheGate(demo)
  if (failed !== '') return screen.bad('batch', `could not write around the gate: ${failed}`)
  await until(demo, 'the write round the gate', async () => (await rogueRows(demo)) > 0)
  const [write] = await readRogue(opened.store)
  const what = write ? `${write.operation} ${write.relation} ${write.key}` : 'a write'
  screen.ok('batch', `round the gate, by a superuser: listed, not carried: ${what}`)
}

async function rogueRows(demo: Demo): Promise<number> {
  const { rows } = await demo.opened.store.pool.query<{ rows: number }>(
    `SELECT count(DISTINCT key)::int AS rows FROM banyan.rogue_write`,
  )
  return rows[0]?.rows ?? 0
}

async function spoil(demo: Demo, name: SabotageName, on: Side): Promise<() => Promise<void>> {
  const { databases, load, journal, screen } = demo
  const url = on.side === 'legacy' ? databases.superuser.legacy : databases.superuser.scheduling
  const { what, undo } = await SABOTAGES[name]({ journal, on: { ...on, url } })
  screen.plain(`sabotage: ${what}`)
  if (name === 'stale-read') {
    await soon(demo, 'a stale read', async () => (await load.report()).stale > 0, 20_000)
  }
  return undo
}

async function owners(demo: Demo): Promise<{ appointments: Side; patients: Side }> {
  const { owner } = demo.databases
  const sideOf = async (slice: string, service: string): Promise<Side> => {
    const { owner: side } = STAGES[await stageOf(demo, slice)]
    return { side, url: side === 'legacy' ? owner.legacy : service }
  }
  return {
    appointments: await sideOf('appointments', owner.scheduling),
    patients: await sideOf('patients', owner.people),
  }
}

async function inMotion(demo: Demo): Promise<('appointments' | 'patients')[]> {
  const all = ['appointments', 'patients'] as const
  const moving: ('appointments' | 'patients')[] = []
  for (const slice of all) {
    if (STAGES[await stageOf(demo, slice)].stream !== 'off') moving.push(slice)
  }
  return moving
}

interface ServerFacts {
  readonly version: string
  readonly fsync: string
  readonly pages: string
  readonly commit: string
  readonly system: string
}

/** Settings that decide whether "committed" means anything, and that these are three servers, not one. */
export async function servers(demo: Demo): Promise<Record<string, ServerFacts>> {
  const { databases, running, screen } = demo
  const urls = {
    legacy: databases.superuser.legacy,
    services: databases.superuser.scheduling,
    control: running.control.url,
  }
  const facts: Record<string, ServerFacts> = {}
  screen.plain('servers   fsync, full_page_writes, synchronous_commit of each:')
  for (const [name, url] of Object.entries(urls)) {
    const rows = await query<ServerFacts>(
      url,
      `SELECT current_setting('server_version') AS version, current_setting('fsync') AS fsync,
         current_setting('full_page_writes') AS pages, boot AS commit, system_identifier::text AS system
       FROM pg_control_system(), (SELECT reset_val AS boot FROM pg_settings WHERE name = 'synchronous_commit') s`,
    )
    const fact = must(rows[0], 'the facts of a server')
    facts[name] = fact
    const settings = [fact.fsync, fact.pages, fact.commit].map(value => value.padEnd(4)).join('')
    screen.plain(`${name.padEnd(10)}${settings} system ${fact.system}`)
    if ([fact.fsync, fact.pages, fact.commit].some(value => value !== 'on')) {
      screen.bad(name, 'a crash there may lose what was acknowledged')
    }
  }
  if (new Set(Object.values(facts).map(each => each.system)).size < 3) {
    screen.bad('servers', 'they are not three')
  }
  return facts
}
