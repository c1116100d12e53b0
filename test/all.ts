/**
 * Runs every test file as a plain Node process, two at a time. tap itself would put its loaders (TypeScript, mocks,
 * coverage) before each file and, through NODE_OPTIONS, before every process that a test starts: a second of CPU each, for
 * nothing, since what runs here is compiled. `npx tap dist/test/<file>` runs one file as ever, and names lines of its source.
 */
import { readdirSync } from 'node:fs'
import { join, relative } from 'node:path'
import t from 'tap'

const ROOT = join(import.meta.dirname, '../..')
/** Of one file, as .taprc has it. */
const TIMEOUT_MS = 240_000
/** The longest begin first, so that both jobs end together; what isn't here follows. */
const FIRST = [
  'test/chaos/',
  'test/e2e/',
  'test/scripts/',
  'test/sync/',
  'test/postgres/',
  'test/examples/',
]

const files = ['dist/test', 'dist/services']
  .flatMap(folder => readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true }))
  .map(entry => relative(ROOT, join(entry.parentPath, entry.name)))
  .filter(file => file.endsWith('.test.js') && !file.includes('/fixtures/'))
  .sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1))

function rank(file: string): number {
  const index = FIRST.findIndex(folder => file.startsWith(`dist/${folder}`))
  return index < 0 ? FIRST.length : index
}

t.jobs = 2
t.setTimeout(0)
for (const file of files) {
  // Not by the environment of the spawn: tap would put its loaders back there.
  const command = ['NODE_OPTIONS=', process.execPath, file]
  void t.spawn('env', command, { buffered: true, name: file, timeout: TIMEOUT_MS, cwd: ROOT })
}
