/** Who may import whom: the layout is the architecture, and this is what keeps it so. Reads source text. */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, posix } from 'node:path'
import t from 'tap'

interface Rule {
  /** A folder (`model/`), a file, or the beginning of its name (`sync/preflight*`); what is in the area itself is its own. */
  readonly may: readonly string[]
  /** Files beyond the rule, each with its reason. One that is no longer used is red too. */
  readonly except?: Readonly<Record<string, string>>
}

const ALL: Rule = { may: ['*'] }
const NOTHING: Rule = { may: [] }

/** By area: a folder, or a part of `services/` and `examples/`. A new folder needs a rule. */
const RULES: Readonly<Record<string, Rule>> = {
  model: NOTHING,
  postgres: { may: ['model/'] },
  router: { may: ['model/'] },
  sync: { may: ['model/', 'postgres/'] },
  'legacy-adapter': { may: ['model/', 'postgres/', 'sync/ports.ts'] },
  migrations: { may: ['model/', 'postgres/sql.ts'] },
  control: {
    may: ['model/', 'postgres/gate*', 'sync/ports.ts', 'sync/store.ts', 'sync/preflight*'],
    except: {
      'postgres/catalog.ts': 'what a table is made of is read in one place',
      'postgres/connection.ts': 'nobody connects in another way',
      'postgres/replication-start.ts': 'whether a stream goes on is asked as whoever opens it asks',
      'postgres/explain.ts':
        'what PostgreSQL says may quote a row: it is put into our words in one place',
      'postgres/abandon.ts': 'what settling finishes is begun here',
      'sync/pending.ts': 'what the way back would lose is counted where it is decided',
      'postgres/settle.ts': 'undo and recovery are one function, for workers and controllers',
      'postgres/sql.ts': 'names are quoted in one place',
      'sync/apply/table.ts': 'the port SyncStore says what a deleted parent takes along',
      'sync/writer-name.ts': 'a waiver is compared with the names that the census gives',
      'migrations/runner.ts': 'a slice on its way into sync brings our schema along',
      'migrations/legacy/ownership.ts': 'the same',
      'migrations/service/ownership.ts': 'the same',
    },
  },
  console: { may: ['model/', 'control/'] },
  'examples/clinic': NOTHING,
  'services/people': NOTHING,
  'services/scheduling': NOTHING,
  'services/template': NOTHING,
  scripts: ALL,
  bench: ALL,
  test: ALL,
}

/** Only these make the long-lived things out of their parts, and only these read what the process was given. */
const CONSTRUCTORS = ['scripts', 'bench', 'test']
const CONSTRUCTED = [
  'control/controller.ts',
  'control/router-link.ts',
  'control/sync-store.ts',
  'migrations/control/control.ts',
  'postgres/embedded.ts',
  'router/server.ts',
  'sync/worker.ts',
]
/** They end as programs of their own, without us. */
const PROGRAMS = ['examples/clinic', 'services/people', 'services/scheduling', 'services/template']
const MODEL_PACKAGES = ['picocolors', 'yaml', 'zod']

interface Import {
  readonly from: string
  /** A file of ours from the root, or a package. */
  readonly to: string
  readonly ours: boolean
  /** `import type`: nothing is left of it at run time. */
  readonly erased: boolean
  /** `import()`: loaded when it is needed, so no part of a cycle. */
  readonly late: boolean
}

const STATIC = /^(?:import|export)\s+(type\s)?(?:[^'"`;]*?\sfrom\s+)?'([^']+)'/gm
const DYNAMIC = /\bimport\(\s*'([^']+)'\s*\)/g

function importsOf(file: string, text: string): Import[] {
  const found = (name: string, erased: boolean, late: boolean): Import => {
    const ours = name.startsWith('.')
    const to = ours ? posix.join(posix.dirname(file), name) : name
    return { from: file, to, ours, erased, late }
  }
  return [
    ...[...text.matchAll(STATIC)].map(match => found(match[2]!, match[1] !== undefined, false)),
    ...[...text.matchAll(DYNAMIC)].map(match => found(match[1]!, false, true)),
  ]
}

function areaOf(file: string): string {
  const [folder = '', part = ''] = file.split('/')
  return folder === 'services' || folder === 'examples' ? `${folder}/${part}` : folder
}

function fits(file: string, pattern: string): boolean {
  if (pattern.endsWith('*')) return file.startsWith(pattern.slice(0, -1))
  return pattern.endsWith('/') ? file.startsWith(pattern) : file === pattern
}

/** All that the sources do and may not. */
function violations(sources: ReadonlyMap<string, string>): string[] {
  return [...sources].flatMap(([file, text]) => {
    const area = areaOf(file)
    const rule = RULES[area]
    if (!rule) return [`${file}: ${area} has no rule`]
    const found = importsOf(file, text).flatMap(each => {
      if (!allowed(each, rule)) return [`${file} imports ${each.to}`]
      const constructs = CONSTRUCTED.includes(each.to) && !each.erased
      return constructs && !CONSTRUCTORS.includes(area) ? [`${file} constructs ${each.to}`] : []
    })
    const reads = /\bprocess\.(?:env|argv)\b/.test(text)
    const may = CONSTRUCTORS.includes(area) || PROGRAMS.includes(area)
    return reads && !may ? [...found, `${file} reads what the process was given`] : found
  })
}

function allowed({ from, to, ours }: Import, { may, except = {} }: Rule): boolean {
  const area = areaOf(from)
  if (!ours) return area !== 'model' || MODEL_PACKAGES.includes(to)
  return areaOf(to) === area || Object.hasOwn(except, to) || may.some(each => fits(to, each))
}

/** Files that need each other before either is there. */
function cycles(sources: ReadonlyMap<string, string>): string[] {
  const found: string[] = []
  const path: string[] = []
  const done = new Set<string>()
  const visit = (file: string): void => {
    const at = path.indexOf(file)
    if (at >= 0) found.push([...path.slice(at), file].join(' → '))
    if (at >= 0 || done.has(file)) return
    path.push(file)
    for (const each of importsOf(file, sources.get(file) ?? '')) {
      if (each.ours && !each.erased && !each.late) visit(each.to)
    }
    path.pop()
    done.add(file)
  }
  for (const file of sources.keys()) visit(file)
  return found
}

/** Where package.json is: this runs compiled, somewhere below. */
function rootOf(folder: string): string {
  const names = readdirSync(folder)
  return names.includes('package.json') && names.includes('tsconfig.json')
    ? folder
    : rootOf(dirname(folder))
}

const LEFT_OUT = /^(?:node_modules|dist|data|\..*)$/

function readSources(): Map<string, string> {
  const root = rootOf(import.meta.dirname)
  const sources = new Map<string, string>()
  const walk = (folder: string): void => {
    for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
      const path = posix.join(folder, entry.name)
      if (entry.isDirectory()) {
        if (!LEFT_OUT.test(entry.name)) walk(path)
      } else if (folder !== '' && path.endsWith('.ts')) {
        sources.set(path, readFileSync(join(root, path), 'utf8'))
      }
    }
  }
  walk('')
  return sources
}

const sources = readSources()

void t.test('every import is one that its area may make', async t => {
  t.ok(sources.size > 200, `${sources.size} files`)
  const ours = [...sources].flatMap(each => importsOf(...each)).filter(each => each.ours)
  t.ok(ours.length > 800, `${ours.length} imports`)
  t.strictSame(violations(sources), [])
})

void t.test('no file needs itself by way of others', async t => {
  t.strictSame(cycles(sources), [])
})

void t.test('every exception is in use', async t => {
  const all = [...sources].flatMap(each => importsOf(...each))
  for (const [area, { except = {} }] of Object.entries(RULES)) {
    for (const file of Object.keys(except)) {
      t.ok(
        all.some(each => each.to === file && areaOf(each.from) === area),
        `${area} imports ${file}`,
      )
    }
  }
})

/** A file, what is planted in it, and what is said of it. */
// prettier-ignore
const PLANTED: readonly (readonly [file: string, text: string, says: readonly string[]])[] = [
  ['model/a.ts', "import { a } from './b.ts'", []],
  ['model/a.ts', "import { a } from '../postgres/sql.ts'", ['model/a.ts imports postgres/sql.ts']],
  ['model/a.ts', "import type { A } from '../sync/ports.ts'", ['model/a.ts imports sync/ports.ts']],
  ['model/a.ts', "import { readFile } from 'node:fs/promises'", ['model/a.ts imports node:fs/promises']],
  ['model/a.ts', "import pg from 'pg'", ['model/a.ts imports pg']],
  ['router/a.ts', "import { a } from '../postgres/sql.ts'", ['router/a.ts imports postgres/sql.ts']],
  ['router/lanes/a.ts', "export * from '../../sync/ports.ts'", ['router/lanes/a.ts imports sync/ports.ts']],
  ['postgres/a.ts', "import {\n  a,\n  b,\n} from '../sync/plan.ts'", ['postgres/a.ts imports sync/plan.ts']],
  ['sync/apply/a.ts', "await import('../../control/flip.ts')", ['sync/apply/a.ts imports control/flip.ts']],
  ['sync/a.ts', "import '../router/server.ts'", ['sync/a.ts imports router/server.ts']],
  ['control/a.ts', "import { a } from '../sync/preflight-columns.ts'", []],
  ['control/a.ts', "import { a } from '../sync/apply/writer.ts'", ['control/a.ts imports sync/apply/writer.ts']],
  ['control/store/a.ts', "import { a } from '../../postgres/slot.ts'", ['control/store/a.ts imports postgres/slot.ts']],
  ['control/a.ts', "import { createSyncStore } from './sync-store.ts'", ['control/a.ts constructs control/sync-store.ts']],
  ['control/a.ts', 'const url = process.env.URL', ['control/a.ts reads what the process was given']],
  ['migrations/legacy/a.ts', "import { a } from '../../postgres/gate.ts'", ['migrations/legacy/a.ts imports postgres/gate.ts']],
  ['services/people/a.ts', "import { a } from '../../model/stage.ts'", ['services/people/a.ts imports model/stage.ts']],
  ['services/people/a.ts', "import { a } from '../scheduling/app.ts'", ['services/people/a.ts imports services/scheduling/app.ts']],
  ['services/people/a.ts', 'const port = process.env.PORT', []],
  ['examples/clinic/load/a.ts', "import type { A } from '../../../sync/ports.ts'", ['examples/clinic/load/a.ts imports sync/ports.ts']],
  ['examples/clinic/ledger.ts', "import { a } from '../../control/flip.ts'", ['examples/clinic/ledger.ts imports control/flip.ts']],
  ['scripts/a.ts', "import { createRouter } from '../router/server.ts'", []],
  ['helpers/a.ts', '', ['helpers/a.ts: helpers has no rule']],
]

void t.test('a planted import is found', async t => {
  for (const [file, text, says] of PLANTED) {
    t.strictSame(violations(new Map([[file, text]])), says, `${file}: ${text}`)
  }
  const a = "import { b } from './b.ts'"
  const planted = (b: string) =>
    cycles(
      new Map([
        ['model/a.ts', a],
        ['model/b.ts', b],
      ]),
    )
  t.strictSame(planted("export { a } from './a.ts'"), ['model/a.ts → model/b.ts → model/a.ts'])
  t.strictSame(planted("import type { A } from './a.ts'"), [], 'a type is not needed to begin')
  t.strictSame(planted("const a = import('./a.ts')"), [])
})
