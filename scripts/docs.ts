/** Writes the generated pages and schemas: docs/errors.md, the tables of docs/config.md, schemas/. `--check`: are they fresh? */
import { mkdir, readFile, realpath, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { BanyanFile } from '../model/banyan-file.ts'
import { ABANDON_ERRORS } from '../model/errors-abandon.ts'
import { APPLY_ERRORS } from '../model/errors-apply.ts'
import { CONFIG_ERRORS } from '../model/errors-config.ts'
import { CONTROL_ERRORS } from '../model/errors-control.ts'
import { POSTGRES_ERRORS } from '../model/errors-postgres.ts'
import { PREFLIGHT_ERRORS } from '../model/errors-preflight.ts'
import { PROTOCOL_ERRORS } from '../model/errors-protocol.ts'
import { ROUTER_ERRORS } from '../model/errors-router.ts'
import { SYNC_ERRORS } from '../model/errors-sync.ts'
import { must } from '../model/errors.ts'
import { jsonSchemaOf } from '../model/schema-keys.ts'
import { SliceFile } from '../model/slice-file.ts'
import { configTable, errorsPage, fillBlock, printJson } from './docs-tables.ts'
import type { ErrorArea } from './docs-tables.ts'

/** Every table of errors in model/. A test compares this list with the folder. */
export const ERROR_AREAS: readonly ErrorArea[] = [
  { name: 'config', title: 'Files', rules: CONFIG_ERRORS },
  { name: 'router', title: 'The façade', rules: ROUTER_ERRORS },
  { name: 'postgres', title: 'Databases', rules: POSTGRES_ERRORS },
  { name: 'preflight', title: 'Tables that cannot be kept in step', rules: PREFLIGHT_ERRORS },
  { name: 'sync', title: 'Change streams and copies', rules: SYNC_ERRORS },
  { name: 'apply', title: 'Applying changes', rules: APPLY_ERRORS },
  { name: 'protocol', title: 'Gates, fences and decisions', rules: PROTOCOL_ERRORS },
  { name: 'control', title: 'Flips', rules: CONTROL_ERRORS },
  { name: 'abandon', title: 'A way back that is not whole', rules: ABANDON_ERRORS },
]

export interface GeneratedFile {
  /** Relative to the package. */
  readonly file: string
  readonly text: string
}

/** All generated files. `configPage` is docs/config.md as it is: its prose stays, its tables are replaced. */
export function generateDocs(configPage: string): GeneratedFile[] {
  const banyan = jsonSchemaOf(BanyanFile)
  const slice = jsonSchemaOf(SliceFile)
  const half = fillBlock(configPage, 'banyan.yaml', configTable(banyan))
  const page = fillBlock(must(half, 'the marks of banyan.yaml'), 'slices', configTable(slice))
  return [
    { file: 'docs/errors.md', text: errorsPage(ERROR_AREAS) },
    { file: 'docs/config.md', text: must(page, 'the marks of slices') },
    {
      file: 'schemas/banyan.schema.json',
      text: printJson({ title: 'banyan.yaml of Banyan', ...banyan }),
    },
    {
      file: 'schemas/slice.schema.json',
      text: printJson({ title: 'slices/<name>.yaml of Banyan', ...slice }),
    },
  ]
}

/** Writes what isn't as it should be, or with `check` only names it. Returns the names of those files. */
export async function refreshDocs(root: string, check: boolean): Promise<string[]> {
  const stale: string[] = []
  for (const { file, text } of generateDocs(await readFile(join(root, 'docs/config.md'), 'utf8'))) {
    const path = join(root, file)
    if ((await textOrNothing(path)) === text) continue
    stale.push(file)
    if (check) continue
    await mkdir(dirname(path), { recursive: true })
    await writeFile(path, text)
  }
  return stale
}

async function textOrNothing(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

async function main(): Promise<void> {
  const check = process.argv.includes('--check')
  // Compiled to <package>/<output>/scripts/docs.js.
  const stale = await refreshDocs(join(import.meta.dirname, '../..'), check)
  for (const file of stale) process.stdout.write(`${check ? 'stale' : 'wrote'} ${file}\n`)
  if (!check || stale.length === 0) return
  process.stdout.write('next: npm run docs\n')
  process.exitCode = 2
}

if (process.argv[1] && (await realpath(process.argv[1])) === import.meta.filename) await main()
