/**
 * What the databases themselves say of the laws, read when all is quiet. Every commit of the application leaves its
 * instant in a table of ours, by a trigger that replicas don't fire; each must lie where its side was the owner.
 */
import { readRogue } from '../../control/store/findings.ts'
import { readStreams } from '../../control/store/streams.ts'
import { checkLedger } from '../../examples/clinic/ledger.ts'
import { compareSides } from '../../examples/clinic/ledger/compare.ts'
import type { Side } from '../../examples/clinic/ledger/side.ts'
import type { DemoDatabase } from '../../scripts/demo/project.ts'
import { type Demo, quiet, stageOf } from '../../scripts/demo/stage.ts'
import { STAGES } from '../../model/stage.ts'
import { connect } from '../../postgres/connection.ts'

/** Slice → its tables, on each side, with their keys. */
const WATCHED: readonly {
  readonly database: DemoDatabase
  readonly slice: string
  readonly table: string
  readonly key: readonly string[]
}[] = [
  ...watched('legacy', 'appointments', ['appointments', 'slot_moves'], ['id']),
  ...watched('legacy', 'appointments', ['slots', 'waitlist'], ['practitioner_id', 'starts_at']),
  ...watched('scheduling', 'appointments', ['appointment', 'slot_move'], ['id']),
  ...watched('scheduling', 'appointments', ['slot'], ['doctor_id', 'starts_at']),
  ...watched('scheduling', 'appointments', ['waitlist'], ['practitioner_id', 'starts_at']),
]

function watched(database: DemoDatabase, slice: string, tables: string[], key: string[]) {
  return tables.map(table => ({ database, slice, table, key }))
}

/** `urls`: superusers'. Banyan's applier writes as a replica and fires none of these. */
export async function watchCommits(urls: Readonly<Record<DemoDatabase, string>>): Promise<void> {
  for (const database of new Set(WATCHED.map(each => each.database))) {
    const client = await connect({ url: urls[database], applicationName: 'chaos' })
    try {
      await client.query(`
        CREATE SCHEMA chaos;
        CREATE TABLE chaos.commit (slice text, key text);
        CREATE FUNCTION chaos.note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
        DECLARE r jsonb := pg_catalog.to_jsonb(CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END);
        BEGIN
          INSERT INTO chaos.commit VALUES (TG_ARGV[0], TG_TABLE_NAME || ' ' || (r->>TG_ARGV[1]) || coalesce(' ' || (r->>TG_ARGV[2]), ''));
          RETURN NULL;
        END $$;`)
      for (const { slice, table, key } of WATCHED.filter(each => each.database === database)) {
        const args = [slice, ...key].map(each => `'${each}'`).join(', ')
        await client.query(
          `CREATE TRIGGER chaos_commit AFTER INSERT OR UPDATE OR DELETE ON public.${table}
           FOR EACH ROW EXECUTE FUNCTION chaos.note(${args})`,
        )
      }
    } finally {
      await client.end()
    }
  }
}

export interface Judged {
  /** Broken laws, in words; empty: all held. */
  readonly violations: readonly string[]
  /** Application commits whose place was checked. */
  readonly commits: number
}

/** Pauses the load, waits until everything is applied, looks, and lets the load go on. */
export async function judge(demo: Demo): Promise<Judged> {
  const { load, databases, journal, opened } = demo
  await load.pause()
  await quiet(demo)
  const violations: string[] = []
  const appointments = await sideOf(demo, 'appointments', databases.owner.scheduling)
  const patients = await sideOf(demo, 'patients', databases.owner.people)
  const { legacy } = databases.owner
  const ledger = await checkLedger({ journal, owner: { appointments, patients }, legacy })
  for (const [kind, count] of Object.entries(ledger.findings.counts)) {
    if (count > 0) violations.push(`L3 ledger: ${count} ${kind}`)
  }
  const compare = () =>
    compareSides({
      legacy,
      services: { scheduling: databases.owner.scheduling, people: databases.owner.people },
      slices: ['appointments', 'patients', 'copies'],
      waitUntilQuiet: () => Promise.resolve(),
    })
  const sides = await compare()
  if (!sides.equal) {
    // A row that comes late is a broken word (everything was said to be applied); one that never comes is a lost one.
    const streams = await readStreams(opened.store)
    await quiet(demo)
    const later = (await compare()).equal ? 'only late' : 'still'
    const told = streams.map(each => `${each.name} ${each.watermark}`).join(', ')
    for (const { table, missing, extra, different, examples } of sides.tables) {
      const unequal = missing + extra + different
      if (unequal === 0) continue
      violations.push(
        `L3 sides: ${unequal} rows of ${table}: ${examples.join(', ')} (${later}; ${told})`,
      )
    }
  }
  const rogue = await readRogue(opened.store)
  if (rogue.length > 0) violations.push(`L2 ${rogue.length} writes where nobody owned`)
  const owners = await ownedCommits(demo, 'appointments')
  violations.push(...owners.violations, ...(await words(demo)))
  await load.resume()
  return { violations, commits: owners.commits }
}

async function sideOf(demo: Demo, slice: string, service: string): Promise<Side> {
  const { owner: side } = STAGES[await stageOf(demo, slice)]
  return { side, url: side === 'legacy' ? demo.databases.owner.legacy : service }
}

type Owner = 'legacy' | 'service'

/** When a side may take the application's commits, µs of the machine's clock. */
interface Turn {
  readonly side: Owner
  readonly at: number
  readonly open: boolean
}

/**
 * L2, key by key: a side commits only between an opening and its next fence. A fence's own commit closes its side; the
 * decision comes before anybody opens: the new owner after PROMOTED, the old one again after ABORTED.
 */
async function ownedCommits(demo: Demo, slice: string): Promise<Judged> {
  const { superuser } = demo.databases
  const urls = { legacy: superuser.legacy, service: superuser.scheduling }
  const instant = `extract(epoch from pg_xact_commit_timestamp(x.xmin))::float8 * 1e6 AS at`
  const fences: { side: Owner; epoch: string; at: number }[] = []
  const found: { side: Owner; key: string; at: number }[] = []
  for (const side of ['legacy', 'service'] as const) {
    const of = <T>(columns: string, table: string) =>
      rows<T>(urls[side], `SELECT ${columns}, ${instant} FROM ${table} x WHERE slice = '${slice}'`)
    const closed = await of<{ epoch: string; at: number }>('epoch::text', 'banyan.fence')
    fences.push(...closed.map(each => ({ side, ...each })))
    const commits = await of<{ key: string; at: number }>('key', 'chaos.commit')
    found.push(...commits.map(each => ({ side, ...each })))
  }
  const decisions = await rows<{ epoch: string; verdict: string; at: number }>(
    urls.legacy,
    `SELECT epoch::text, verdict, ${instant} FROM banyan.decision x WHERE slice = '${slice}'`,
  )
  const turns: Turn[] = fences.map(({ side, at }) => ({ side, at, open: false }))
  for (const { epoch, verdict, at } of decisions) {
    const fenced = fences.find(each => each.epoch === epoch)?.side
    if (!fenced) continue // Aborted before its fence: nobody was closed.
    const side = (verdict === 'PROMOTED') === (fenced === 'legacy') ? 'service' : 'legacy'
    turns.push({ side, at, open: true })
  }
  turns.sort((a, b) => a.at - b.at)
  const wrong = found.filter(({ side, at }) => {
    const last = turns.findLast(each => each.side === side && each.at < at)
    return !(last?.open ?? side === 'legacy')
  })
  const violations = (['legacy', 'service'] as const).flatMap(side => {
    const here = wrong.filter(each => each.side === side)
    if (here.length === 0) return []
    const keys = [...new Set(here.map(each => each.key))].slice(0, 3).join(', ')
    return [`L2 ${here.length} commits in ${side} while it was closed: ${keys}`]
  })
  return { violations, commits: found.length }
}

/** Exactly one side of each slice is open. */
async function words(demo: Demo): Promise<string[]> {
  const { superuser } = demo.databases
  const open = async (url: string, slice: string): Promise<boolean> => {
    const [row] = await rows<{ open: boolean }>(
      url,
      `SELECT banyan.word_of(banyan.number_of('${slice}')) % 2 = 1 AS open`,
    )
    return row?.open ?? false
  }
  const wrong: string[] = []
  for (const [slice, service] of [
    ['appointments', superuser.scheduling],
    ['patients', superuser.people],
  ] as const) {
    const [here, there] = [await open(superuser.legacy, slice), await open(service, slice)]
    const owner = STAGES[await stageOf(demo, slice)].owner
    if (here && there) wrong.push(`L2 ${slice} is open on both sides`)
    else if (!here && !there) wrong.push(`L4 ${slice} is closed on both sides`)
    else if ((owner === 'legacy') !== here)
      wrong.push(`L4 ${slice}: its stage and its words disagree`)
  }
  return wrong
}

async function rows<T>(url: string, sql: string): Promise<T[]> {
  const client = await connect({ url, applicationName: 'chaos' })
  try {
    return (await client.query(sql)).rows as T[]
  } finally {
    await client.end()
  }
}
