import { execFile } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import { parse } from 'yaml'
import { editKey } from '../../model/edit.ts'
import { readSlice } from '../../model/project.ts'
import { unifiedDiff } from '../../model/unified-diff.ts'
import { APPOINTMENTS_YAML, swap } from '../support/project-files.ts'

const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31)
t.comment(`SEED=${seed}`)

const run = promisify(execFile)
const FILE = 'slices/appointments.yaml'
const edit = (text: string, path: readonly string[], value: string | number) =>
  editKey({ file: FILE, text, path, value })

void t.test('a stage is changed and every other byte stays', async t => {
  const { text, diff } = edit(APPOINTMENTS_YAML, ['stage'], 'moved')
  t.equal(text, swap(APPOINTMENTS_YAML, 'stage: canary', 'stage: moved'))
  t.equal(
    diff,
    `--- a/slices/appointments.yaml
+++ b/slices/appointments.yaml
@@ -1,6 +1,6 @@
 # slices/appointments.yaml
 service: scheduling
-stage: canary
+stage: moved
 routes:
   - GET /api/appointments/**
   - POST /api/appointments
`,
  )
})

void t.test('a key inside a flow map is changed in place', async t => {
  const { text } = edit(APPOINTMENTS_YAML, ['canary', 'percent'], 12.5)
  t.equal(text, swap(APPOINTMENTS_YAML, 'percent: 5', 'percent: 12.5'))
})

void t.test('comments, quotes, anchors, spaces and line ends stay as they are', async t => {
  const cases: readonly (readonly [string, string])[] = [
    ['stage:   canary   # why', 'stage:   moved   # why'],
    ['stage: "canary"', 'stage: "moved"'],
    ["stage: 'canary' # x", "stage: 'moved' # x"],
    ['stage: &here canary', 'stage: &here moved'],
    ['{ a: 1, stage: canary }', '{ a: 1, stage: moved }'],
    ['"stage": canary', '"stage": moved'],
    ['a: 1\r\nstage: canary\r\nb: 2\r\n', 'a: 1\r\nstage: moved\r\nb: 2\r\n'],
    ['---\nstage: canary\n...\n', '---\nstage: moved\n...\n'],
  ]
  for (const [before, after] of cases) t.equal(edit(before, ['stage'], 'moved').text, after)
})

void t.test('a key without a value gets one', async t => {
  t.equal(edit('stage:\nb: 1\n', ['stage'], 'sync').text, 'stage: sync\nb: 1\n')
  t.equal(edit('stage: # later\n', ['stage'], 'sync').text, 'stage: sync # later\n')
  t.equal(edit('canary:\n', ['canary', 'percent'], 5).text, 'canary: { percent: 5 }\n')
})

void t.test('a missing key is added at the end of its map, with its indentation', async t => {
  const cases: readonly (readonly [string, string])[] = [
    ['canary:\n  by: [a]  # why\nb: 1\n', 'canary:\n  by: [a]  # why\n  percent: 5\nb: 1\n'],
    ['canary:\n    by:\n        - a\n', 'canary:\n    by:\n        - a\n    percent: 5\n'],
    ['canary: { by: [a] } # why\n', 'canary: { by: [a], percent: 5 } # why\n'],
    ['canary: {}\n', 'canary: { percent: 5 }\n'],
    ['canary: { by: [a], }\n', 'canary: { by: [a], percent: 5 }\n'],
    ['a: 1 # x\n', 'a: 1 # x\ncanary:\n  percent: 5\n'],
    ['a: 1\r\n', 'a: 1\r\ncanary:\r\n  percent: 5\r\n'],
    ['a: 1', 'a: 1\ncanary:\n  percent: 5'],
    ['', 'canary:\n  percent: 5\n'],
    ['# nothing yet', '# nothing yet\ncanary:\n  percent: 5\n'],
    ['a: |\n  text\n\n', 'a: |\n  text\ncanary:\n  percent: 5\n\n'],
  ]
  for (const [before, after] of cases) {
    t.equal(edit(before, ['canary', 'percent'], 5).text, after, JSON.stringify(before))
  }
})

void t.test('what already stands there gives no diff', async t => {
  const { text, diff } = edit(APPOINTMENTS_YAML, ['stage'], 'canary')
  t.equal(text, APPOINTMENTS_YAML)
  t.equal(diff, '')
})

void t.test('an edit that would change more than its key is refused', async t => {
  const cases: readonly (readonly [string, readonly string[]])[] = [
    ['a: &s canary\nstage: *s\n', ['stage']],
    ['stage: &s canary\na: *s\n', ['stage']],
    ['canary: &c { percent: 1 }\nb: *c\n', ['canary', 'percent']],
    ['b: &c { percent: 1 }\ncanary: *c\n', ['canary', 'percent']],
    ['canary: { percent: [1] }\n', ['canary', 'percent']],
    ['canary: 5\n', ['canary', 'percent']],
    ['stage: |\n  canary\n', ['stage']],
    ['stage: [canary\n', ['stage']],
    ['- stage\n', ['stage']],
    ['{canary}\n', ['canary', 'percent']],
    ['stage: a\nstage: b\n', ['stage']],
    ['stage: *nowhere\n', ['stage']],
  ]
  for (const [text, path] of cases) {
    t.throws(() => edit(text, path, 5), { code: 'EDIT_REFUSED' }, JSON.stringify(text))
  }
})

void t.test('whatever is set is read back, and nothing else has changed', async () => {
  const value = fc.oneof(fc.string(), fc.double({ noNaN: true, noDefaultInfinity: true }))
  const path = fc.constantFrom(['stage'], ['canary', 'percent'], ['new'], ['cutover', 'a b', 'c'])
  fc.assert(
    fc.property(path, value, (path, value) => {
      let text: string
      try {
        text = edit(APPOINTMENTS_YAML, path, value).text
      } catch (error) {
        // A text that can't stand on one line in that place is refused, never written wrongly.
        return (error as { code?: string }).code === 'EDIT_REFUSED' && /[\n\r]/.test(String(value))
      }
      const after = parse(text) as Record<string, unknown>
      const before = parse(APPOINTMENTS_YAML) as Record<string, unknown>
      const head = path[0] ?? ''
      delete before[head]
      const { [head]: changed, ...others } = after
      const found = path.slice(1).reduce((map, key) => (map as typeof after)[key], changed)
      return JSON.stringify(others) === JSON.stringify(before) && found === value
    }),
    { seed },
  )
})

void t.test('an edited slice is still valid', async t => {
  for (const stage of ['legacy', 'sync', 'shadow', 'canary', 'moved']) {
    const { text } = edit(APPOINTMENTS_YAML, ['stage'], stage)
    t.equal(readSlice({ file: FILE, text }).value?.stage, stage)
  }
})

void t.test('the diff is a patch that git applies', async t => {
  const folder = t.testdir({ slices: {} })
  const cases: readonly (readonly [string, string])[] = [
    [APPOINTMENTS_YAML, edit(APPOINTMENTS_YAML, ['stage'], 'moved').text],
    [APPOINTMENTS_YAML, edit(APPOINTMENTS_YAML, ['shadow', 'sample'], 10).text],
    ['stage: sync', edit('stage: sync', ['stage'], 'shadow').text],
    ['a: 1', edit('a: 1', ['stage'], 'shadow').text],
    ['a: 1\r\nstage: sync\r\n', edit('a: 1\r\nstage: sync\r\n', ['stage'], 'shadow').text],
    ['a\nb\nc\nd\ne\nf\ng\nh\n', 'a\nb\nX\nd\ne\nY\nZ\nh\n'],
    ['a\nb\n', 'a\n'],
  ]
  for (const [before, after] of cases) {
    await writeFile(join(folder, FILE), before)
    await writeFile(join(folder, 'patch'), unifiedDiff(FILE, before, after))
    await run('git', ['apply', '--whitespace=nowarn', 'patch'], { cwd: folder })
    t.equal(await readFile(join(folder, FILE), 'utf8'), after, JSON.stringify(before))
  }
})
