import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { loadProject } from '../../model/project.ts'
import { branches } from '../../model/schema-keys.ts'
import type { JsonSchema } from '../../model/schema-keys.ts'
import { renderDiagnostics } from '../../model/diagnostic.ts'
import { ERROR_AREAS, generateDocs, refreshDocs } from '../../scripts/docs.ts'
import { BANYAN_YAML, swap } from '../support/project-files.ts'

// Compiled to <package>/<output>/test/scripts.
const ROOT = join(import.meta.dirname, '../../..')
const page = await readFile(join(ROOT, 'docs/config.md'), 'utf8')

void t.test('the generated files are fresh', async t => {
  t.strictSame(await refreshDocs(ROOT, true), [], 'write them with: npm run docs')
})

void t.test('every table of errors in model/ is in the manual', async t => {
  const files = (await readdir(join(ROOT, 'model'))).filter(file => /^errors-.*\.ts$/.test(file))
  const names = ERROR_AREAS.map(area => `errors-${area.name}.ts`)
  t.strictSame(names.toSorted(), files.toSorted())
})

void t.test('the manual and the tables have the same codes, and none is used twice', async t => {
  const manual = await readFile(join(ROOT, 'docs/errors.md'), 'utf8')
  const written = [...manual.matchAll(/^\| `([A-Z_0-9]+)` \|/gm)].map(match => match[1])
  const known = ERROR_AREAS.flatMap(area => Object.keys(area.rules))
  t.strictSame(written, known)
  const twice = known.filter((code, index) => known.indexOf(code) < index)
  t.strictSame(twice, [])
})

void t.test('every hint of the files’ codes ends in a command', async t => {
  const config = ERROR_AREAS.find(area => area.name === 'config')
  for (const rule of Object.values(config?.rules ?? {})) {
    t.match(rule.hint, /`banyan [^`]+`$/, rule.code)
  }
})

void t.test('the check finds a stale page and writes nothing; a run mends it', async t => {
  const root = t.testdir({ docs: { 'config.md': swap(page, '| `stage` |', '| `stagger` |') } })
  const all = generateDocs(page).map(one => one.file)
  t.strictSame(await refreshDocs(root, true), all)
  t.match(await readFile(join(root, 'docs/config.md'), 'utf8'), 'stagger')
  t.strictSame(await refreshDocs(root, false), all)
  t.strictSame(await refreshDocs(root, true), [])
  t.equal(await readFile(join(root, 'docs/config.md'), 'utf8'), page)
})

void t.test('the examples of the page are valid', async t => {
  const [, banyan = '', slice = ''] = [...page.matchAll(/```yaml\n(.*?)```/gs)].map(m => m[1])
  const { diagnostics, project } = loadProject({
    banyan: { file: 'banyan.yaml', text: banyan },
    slices: [{ file: 'slices/appointments.yaml', text: slice }],
  })
  t.strictSame(diagnostics, [])
  t.equal(project?.slices.length, 1)
})

void t.test('the screen of the page is what is printed', async t => {
  const screen = /```\n(slices.*?)\n```/s.exec(page)?.[1]
  const { diagnostics } = loadProject({
    banyan: { file: 'banyan.yaml', text: BANYAN_YAML },
    slices: [
      {
        file: 'slices/appointments.yaml',
        text: 'service: scheduling\nstage: cannary\nroutes: [/api/appointments]\n',
      },
    ],
  })
  t.equal(screen, renderDiagnostics(diagnostics, { color: false }))
})

void t.test('every key of both formats says what it means, and every limit its unit', async t => {
  for (const file of ['banyan', 'slice']) {
    const text = await readFile(join(ROOT, `schemas/${file}.schema.json`), 'utf8')
    for (const [path, key] of keysOf(JSON.parse(text) as JsonSchema, '')) {
      t.match(key.description, /\S/, path)
      const numbers = branches(key).filter(one => one.minimum !== undefined)
      if (numbers.length === 0) continue
      t.match(key.description, /\((?:milliseconds|bytes|percent|[a-z]+)[^)]*\)\. [A-Z].+\.$/, path)
      t.ok(
        numbers.every(one => one.maximum !== undefined),
        `${path} has a maximum`,
      )
      t.not(key.default, undefined, `${path} has a default`)
    }
  }
})

function keysOf(schema: JsonSchema, path: string): [string, JsonSchema][] {
  return branches(schema).flatMap(branch => [
    ...Object.entries(branch.properties ?? {}).flatMap(([key, value]): [string, JsonSchema][] => [
      [`${path}.${key}`, value],
      ...keysOf(value, `${path}.${key}`),
    ]),
    ...(branch.additionalProperties ? keysOf(branch.additionalProperties, `${path}.*`) : []),
  ])
}
