/** The clinic's files are valid, and answer every question that its real schema asks. */
import { readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { unansweredCrossings } from '../../../model/crossings.ts'
import type { CrossingFacts } from '../../../model/crossings.ts'
import { loadProject } from '../../../model/project.ts'
import { startMonolith } from './platform.ts'

// The compiled test runs from the output folder; the YAML files are where they were written.
const FOLDER = join(process.cwd(), 'examples/clinic')

const read = async (file: string) => ({ file, text: await readFile(join(FOLDER, file), 'utf8') })
const slices = (await readdir(join(FOLDER, 'slices'))).sort().map(name => `slices/${name}`)
const { project, diagnostics, sources } = loadProject({
  banyan: await read('banyan.yaml'),
  slices: await Promise.all(slices.map(read)),
})

await t.test('the files have no mistake', async t => {
  t.strictSame(
    diagnostics.map(({ file, line, code, message }) => ({ file, line, code, message })),
    [],
  )
  t.strictSame(
    project?.slices.map(({ name, stage }) => [name, stage]),
    [
      ['appointments', 'legacy'],
      ['patients', 'legacy'],
      ['practitioners', 'legacy'],
    ],
  )
})

await t.test('each key, trigger and side write that crosses a slice has its answer', async t => {
  const { database } = await startMonolith(t)
  const foreignKeys = (await database.rows(
    `select conname as name, conrelid::regclass::text as "table", confrelid::regclass::text as "parentTable",
       array(select attname::text from pg_attribute where attrelid = conrelid and attnum = any(conkey)) as columns,
       array(select attname::text from pg_attribute where attrelid = confrelid and attnum = any(confkey)) as "parentColumns",
       case confdeltype when 'c' then 'cascade' else 'no action' end as "onDelete"
     from pg_constraint where contype = 'f'`,
  )) as unknown as CrossingFacts['foreignKeys']
  const triggers = (await database.rows(
    `select tgname as name, tgrelid::regclass::text as "table" from pg_trigger where not tgisinternal`,
  )) as unknown as CrossingFacts['triggers']
  t.equal(foreignKeys.length, 9)
  t.equal(triggers.length, 1)
  const written: Readonly<Record<string, readonly string[]>> = {
    appointments: ['messages', 'access_audit'],
  }
  for (const slice of project?.slices ?? []) {
    const source = sources.slices.get(slice.name)
    if (!source) throw new Error(`no source of ${slice.name}`)
    const sideWrites = new Map((written[slice.name] ?? []).map(table => [table, 1]))
    const copies = project?.banyan.services[slice.service]?.copies ?? []
    const facts = { foreignKeys, triggers, sideWrites }
    t.strictSame(unansweredCrossings({ slice, source, copies, facts }), [], slice.name)
    const silent = { ...slice, foreignKeys: {} }
    const asked = unansweredCrossings({ slice: silent, source, copies, facts })
    t.equal(
      asked.length,
      Object.keys(slice.foreignKeys).length,
      `${slice.name}: no answer without a question`,
    )
  }
})
