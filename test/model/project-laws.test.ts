import fc from 'fast-check'
import t from 'tap'
import { stringify } from 'yaml'
import { loadProject, requireProject } from '../../model/project.ts'
import type { Project, ProjectTexts } from '../../model/project.ts'
import { formatRoute } from '../../model/route.ts'
import { FK_ANSWERS } from '../../model/slice-file.ts'
import { APPOINTMENTS_YAML, BANYAN_YAML, texts } from '../support/project-files.ts'

const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31)
t.comment(`SEED=${seed}`)

const name = fc
  .stringMatching(/^[a-z][a-z0-9_]{0,12}$/)
  .filter(text => !/^(legacy|copies)/.test(text))
const table = fc
  .stringMatching(/^[A-Za-z_][A-Za-z0-9_$]{0,20}$/)
  .filter(text => text !== '__proto__')
// That one key can't be data in a plain object, and is refused.
const writer = fc.string({ minLength: 1 }).filter(text => text !== '__proto__')
const reference = fc.oneof(
  fc.stringMatching(/^[A-Z][A-Z0-9_]{0,20}$/).map(text => `env:${text}`),
  fc.stringMatching(/^\/[a-z/.-]{0,20}[a-z]$/).map(text => `file:${text}`),
)
const url = fc.stringMatching(/^https?:\/\/[a-z][a-z0-9.-]{0,20}(:[1-9][0-9]{1,3})?$/)
const durationMs = (min: number, max: number) =>
  fc.integer({ min, max }).chain(ms => fc.constantFrom(ms, `${ms}ms`))
const source = fc
  .tuple(fc.constantFrom('header', 'cookie'), fc.stringMatching(/^[a-z][a-z0-9-]{0,10}$/))
  .map(([kind, key]) => `${kind}:${key}`)
const optional = { requiredKeys: [] as [] }

const answer = fc.oneof(
  fc.constantFrom(...FK_ANSWERS),
  fc.record({
    answer: fc.constant('loose'),
    onDelete: fc.constantFrom('keep', 'null', 'cascade', null),
  }),
)
const canary = fc.record({
  by: fc.array(source, { minLength: 1, maxLength: 3 }),
  percent: fc.double({ min: 0, max: 100, noNaN: true }),
  include: fc.array(
    source.map(text => `${text}=1`),
    { maxLength: 3 },
  ),
})
const cutover = fc.record(
  {
    holdMs: durationMs(1500, 60_000),
    maxHeld: fc.nat(1000),
    maxHeldBodyBytes: fc.oneof(
      fc.nat(100_000),
      fc.nat(1000).map(n => `${n}kB`),
    ),
    quietMs: durationMs(0, 900),
  },
  optional,
)

/** A valid project as it may be written: each table and route is named after its slice, so that none clash. */
const written = fc
  .uniqueArray(name, { minLength: 1, maxLength: 3 })
  .chain(names =>
    fc.record({
      names: fc.constant(names),
      slices: fc.array(
        fc.record(
          {
            stage: fc.constantFrom('legacy', 'sync', 'shadow', 'canary', 'moved'),
            service: fc.constantFrom(...names),
            methods: fc.subarray(['GET', 'POST', 'PATCH'], { minLength: 1 }),
            tables: fc.uniqueArray(table, { maxLength: 4 }),
            mapped: fc.boolean(),
            foreignKeys: fc.dictionary(fc.stringMatching(/^[a-z]{1,9}\.[a-z]{1,9}$/), answer),
            triggers: fc.dictionary(table, fc.constantFrom('run', 'skip')),
            sideWrites: fc.dictionary(table, fc.constantFrom('service', 'legacy', 'dropped')),
            writers: fc.dictionary(writer, fc.constant('waived')),
            canary,
            cutover,
            shadow: fc.record({ sample: fc.integer({ min: 0, max: 100 }) }),
          },
          { requiredKeys: ['stage', 'service', 'methods', 'canary'] },
        ),
        { maxLength: 4 },
      ),
      urls: fc.array(url, { minLength: 4, maxLength: 4 }),
      references: fc.uniqueArray(reference, { minLength: 5, maxLength: 5 }),
      limits: fc.record(
        { lagMaxMs: durationMs(1, 60_000), maxSlots: fc.integer({ min: 1, max: 64 }) },
        optional,
      ),
      aliases: fc.constantFrom('express', 'rails', 'spring', 'aspnet', 'php', 'strict'),
    }),
  )
  .map(made => {
    const [legacy = '', control = '', ...others] = made.references
    const banyan = {
      version: 1,
      legacy: { url: made.urls[3], database: legacy, aliases: made.aliases },
      services: Object.fromEntries(
        made.names.map((service, i) => [service, { url: made.urls[i], database: others[i] }]),
      ),
      control: { database: control },
      limits: made.limits,
    }
    const slices = made.slices.map(({ methods, tables, mapped, ...slice }, i) => ({
      ...slice,
      routes: [`${methods.join(',')} /s${i}/:id`, `/s${i}/**`],
      tables: Object.fromEntries(
        (tables ?? []).map(one => [
          `${one}_${i}`,
          mapped ? { to: `${one}_${i}x`, columns: { a: 'b', c: false } } : null,
        ]),
      ),
    }))
    return render(banyan, slices)
  })

function render(banyan: unknown, slices: readonly object[]): ProjectTexts {
  return {
    banyan: { file: 'banyan.yaml', text: stringify(banyan) },
    slices: slices.map((slice, i) => ({ file: `slices/s${i}.yaml`, text: stringify(slice) })),
  }
}

/** What was read, written out again as the files would say it. */
function writeOut({ banyan, slices }: Project): ProjectTexts {
  const files = slices.map(({ name: _, file: __, routes, tables, ...slice }) => {
    const mappings = Object.entries(tables).map(([table, { to, columns, left }]) => {
      const behind = Object.fromEntries([...left].map(column => [column, false]))
      return [table, { to, columns: { ...columns, ...behind } }]
    })
    return {
      ...slice,
      routes: routes.map(formatRoute),
      tables: Object.fromEntries(mappings) as object,
    }
  })
  return render(banyan, files)
}

void t.test(
  'what is read from a valid project, written out and read again is the same',
  async t => {
    let moved = 0
    fc.assert(
      fc.property(written, project => {
        const first = requireProject(loadProject(project))
        const second = requireProject(loadProject(writeOut(first)))
        moved += first.slices.length
        return JSON.stringify(sorted(second)) === JSON.stringify(sorted(first))
      }),
      { numRuns: 200, seed },
    )
    t.ok(moved > 100, `${moved} slices`)
  },
)

// The order of keys means nothing in a map.
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).map(([key, one]) => [key, sorted(one)] as const)
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)))
}

void t.test(
  'a file that is cut anywhere is a project or has diagnostics, and never throws',
  async t => {
    const outcomes = { valid: 0, refused: 0 }
    const bytes = { banyan: Buffer.from(BANYAN_YAML), slice: Buffer.from(APPOINTMENTS_YAML) }
    for (let end = 0; end <= bytes.banyan.length; end++) {
      settle(texts({ banyan: bytes.banyan.subarray(0, end).toString() }))
    }
    for (let end = 0; end <= bytes.slice.length; end++) {
      settle(texts({ slices: { appointments: bytes.slice.subarray(0, end).toString() } }))
    }
    function settle(project: ProjectTexts): void {
      const { project: value, diagnostics } = loadProject(project)
      if ((value === null) !== diagnostics.length > 0) t.fail('neither valid nor refused')
      const texts = new Map([project.banyan, ...project.slices].map(one => [one.file, one.text]))
      for (const one of diagnostics) {
        const lines = (texts.get(one.file) ?? '').split('\n')
        const width = (lines[one.line - 1] ?? '').length
        if (one.line > lines.length || one.column > width + 1) t.fail(`no such place: ${one.frame}`)
      }
      outcomes[value ? 'valid' : 'refused']++
    }
    t.ok(outcomes.valid > 20 && outcomes.refused > 1000, JSON.stringify(outcomes))
  },
)

void t.test(
  'a file with any of its characters replaced is a project or has diagnostics',
  async () => {
    const text = fc.constantFrom(BANYAN_YAML, APPOINTMENTS_YAML)
    const piece = fc.oneof(
      fc.string({ maxLength: 4 }),
      fc.constantFrom(
        '{',
        '[',
        '- ',
        ': ',
        '*a',
        '&a ',
        '"',
        '\t',
        '|',
        '#',
        '? ',
        '!!x ',
        '%',
        '---',
      ),
    )
    fc.assert(
      fc.property(text, fc.nat(800), fc.nat(5), piece, (whole, at, skip, by) => {
        const changed = whole.slice(0, at) + by + whole.slice(at + skip)
        const banyan = whole === BANYAN_YAML
        const { project, diagnostics } = loadProject(
          texts(banyan ? { banyan: changed } : { slices: { appointments: changed } }),
        )
        return (project === null) === diagnostics.length > 0
      }),
      { numRuns: 300, seed },
    )
  },
)
