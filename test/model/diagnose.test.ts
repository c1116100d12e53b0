import t from 'tap'
import { renderDiagnostics } from '../../model/diagnostic.ts'
import { CONFIG_ERRORS } from '../../model/errors-config.ts'
import {
  APPOINTMENTS_YAML,
  BANYAN_YAML,
  brief,
  load,
  PATIENTS_YAML,
  swap,
} from '../support/project-files.ts'

const appointments = (part: string, by: string) => ({
  slices: { appointments: swap(APPOINTMENTS_YAML, part, by), patients: PATIENTS_YAML },
})
const banyan = (part: string, by: string) => ({ banyan: swap(BANYAN_YAML, part, by) })

void t.test('a typo is shown with its place, a caret and what was meant', async t => {
  const { diagnostics } = load(appointments('stage: canary', 'stgae: cannary'))
  t.equal(
    renderDiagnostics(diagnostics, { color: false }),
    `slices/appointments.yaml:1:1  KEY_MISSING  "stage" is missing
  1 | # slices/appointments.yaml
    | ^
  hint: add it as docs/config.md says, then run \`banyan lint\`

slices/appointments.yaml:3:1  KEY_UNKNOWN  unknown key "stgae"
  3 | stgae: cannary
    | ^^^^^
  hint: did you mean "stage"?`,
  )
})

void t.test('a wrong word is shown with its place, a caret and what was meant', async t => {
  const { diagnostics } = load(appointments('stage: canary', 'stage: cannary'))
  t.equal(
    renderDiagnostics(diagnostics, { color: false }),
    `slices/appointments.yaml:3:8  VALUE_UNKNOWN
  "cannary" is not one of: legacy, sync, shadow, canary, moved
  3 | stage: cannary
    |        ^^^^^^^
  hint: did you mean "canary"?`,
  )
})

void t.test('two places that clash are both shown', async t => {
  const { diagnostics } = load({
    slices: {
      appointments: APPOINTMENTS_YAML,
      patients: swap(PATIENTS_YAML, 'patients:', 'appointments:'),
    },
  })
  t.equal(
    renderDiagnostics(diagnostics, { color: false }),
    `slices/patients.yaml:4:11  TABLE_TAKEN
  table "appointments" is claimed by slice appointments and by slice patients; a
  table has one owner
  4 | tables: { appointments: { to: patient } }
    |           ^^^^^^^^^^^^
  and slices/appointments.yaml:9:3
  9 |   appointments: { to: appointment, columns: { practitioner_id: doctor_id …
    |   ^^^^^^^^^^^^
  hint: take it out of one of the two, then run \`banyan lint\``,
  )
})

void t.test('no line is wider than 80 columns, and the caret stays under its place', async t => {
  const { diagnostics } = load(banyan('practitioners]', 'practitioners, "a b"]'))
  const lines = renderDiagnostics(diagnostics, { color: false }).split('\n')
  t.ok(
    lines.every(line => line.length <= 80),
    lines.join('\n'),
  )
  const caret = lines.findIndex(line => line.includes('^'))
  const start = lines[caret]?.indexOf('^') ?? 0
  const end = (lines[caret]?.lastIndexOf('^') ?? 0) + 1
  t.equal(lines[caret - 1]?.slice(start, end), '"a b"')
})

void t.test('color changes nothing but color', async t => {
  const { diagnostics } = load(appointments('canary:', 'canery:'))
  const colored = renderDiagnostics(diagnostics, { color: true })
  t.match(colored, '\u001b[')
  t.equal(colored.replace(/\u001b\[\d+m/g, ''), renderDiagnostics(diagnostics, { color: false }))
})

void t.test('all problems of all files come at once, in the order of the text', async t => {
  const { project, diagnostics } = load({
    banyan: swap(swap(BANYAN_YAML, 'version: 1', 'version: 2'), 'capture: direct', 'capure: x'),
    ...appointments('percent: 5', 'percent: 150, percnt: 1'),
  })
  t.equal(project, null)
  t.strictSame(brief(diagnostics), [
    'banyan.yaml:2:10 VALUE_UNKNOWN',
    'banyan.yaml:17:1 KEY_UNKNOWN',
    'slices/appointments.yaml:14:65 VALUE_RANGE',
    'slices/appointments.yaml:14:70 KEY_UNKNOWN',
  ])
})

void t.test('what is refused is never printed where it may be a secret', async t => {
  for (const literal of [
    'postgres://clinic:s3cr3t@db/clinic',
    'postgresql://clinic:s3cr3t@db:5432/clinic?sslmode=require',
    "host=db password='s3cr3t' user=x",
    'password=s3cr3t host=db',
    'https://clinic:s3cr3t@db',
  ]) {
    for (const change of [
      banyan('env:LEGACY_DATABASE_URL', `"${literal}"`),
      banyan('http://127.0.0.1:3000', `"${literal}"`),
      banyan('database: embedded', `database: "${literal}"`),
      banyan('setup: file:/run/secrets/people-setup', `setup: "${literal}"`),
      banyan('capture: direct', `"${literal}": 1`),
      banyan('capture: direct', `capture: ["${literal}"`),
    ]) {
      const { diagnostics } = load(change)
      t.ok(diagnostics.length > 0)
      t.notMatch(JSON.stringify(diagnostics), 's3cr3t', literal)
    }
  }
})

void t.test(
  'a literal URL is refused with the way to write it, in each place for a database',
  async t => {
    for (const change of [
      banyan('env:LEGACY_DATABASE_URL', 'postgres://db/clinic'),
      banyan('database: embedded', 'database: postgres://db/banyan'),
      banyan('file:/run/secrets/people-apply', 'postgresql://db/people'),
    ]) {
      const { diagnostics } = load(change)
      t.strictSame(
        diagnostics.map(one => one.code),
        ['SECRET_LITERAL'],
      )
      t.match(diagnostics[0]?.hint, '`env:NAME` or `file:PATH`')
    }
  },
)

void t.test('a unit that is named otherwise elsewhere is understood', async t => {
  const hints = (change: Parameters<typeof load>[0]) => load(change).diagnostics[0]?.hint
  t.equal(hints(appointments('262144', '256KB')), 'did you mean "256kB"?')
  t.equal(hints(appointments('262144', '1 MiB')), 'did you mean "1MB"?')
  t.equal(hints(appointments('2000', '2 sec')), 'did you mean "2s"?')
  t.equal(hints(appointments('2000', 'soon')), CONFIG_ERRORS.DURATION_INVALID.hint)
})

void t.test('a key in the wrong place is told where it belongs', async t => {
  const { diagnostics } = load(appointments('stage: canary', 'stage: canary\npercent: 5'))
  t.match(diagnostics[0], { code: 'KEY_UNKNOWN', hint: '"percent" belongs under canary; allowed' })
})

void t.test('a word beside a reference is suggested', async t => {
  const { diagnostics } = load(banyan('database: embedded', 'database: embeded'))
  t.match(diagnostics[0], { code: 'REFERENCE_INVALID', hint: 'did you mean "embedded"?' })
})

void t.test(
  'a percentage of writes is refused with its reason, however it is asked for',
  async t => {
    for (const change of [
      appointments('percent: 5', 'percent: 5, writes: 5'),
      appointments('percent: 5', 'percent: 5, percentWrites: 5'),
      appointments('percent: 5', 'percent: { reads: 5, writes: 5 }'),
      appointments('stage: canary', 'stage: canary\nwrites: 5'),
      appointments('stage: canary', 'stage: canary\nwrites: { percent: 5 }'),
      appointments('stage: canary', 'stage: canary\nwritesPercent: 5'),
    ]) {
      const { diagnostics } = load(change)
      t.strictSame(
        diagnostics.map(one => one.code),
        ['WRITES_PERCENT'],
      )
      t.match(diagnostics[0]?.message, 'percent moves reads; ownership of writes moves once')
    }
  },
)

void t.test('a slice without tables is told where its writes go', async t => {
  const { diagnostics } = load({
    slices: { search: 'service: people\nstage: sync\nroutes: [GET /s]\ncanary: { writes: 5 }\n' },
  })
  t.match(diagnostics[0], {
    code: 'KEY_UNKNOWN',
    hint: 'unsafe requests go to legacy until the stage is moved',
  })
})

void t.test('a key that a plain object cannot hold does not vanish', async t => {
  for (const change of [
    banyan('capture: direct', '__proto__: { a: 1 }'),
    appointments('appointments_touch: skip', '__proto__: run'),
  ]) {
    t.strictSame(
      load(change).diagnostics.map(one => one.code),
      ['KEY_UNKNOWN'],
    )
  }
})

void t.test('aliases are followed, and a bomb of them is refused', async t => {
  const followed = banyan(
    '  people:',
    '  a: { url: &url http://a, database: env:A }\n  b: { url: *url, database: env:B }\n  people:',
  )
  t.ok(load(followed).project)
  const bomb = ['a0: &a0 [x, x, x, x, x, x, x, x, x]']
  for (let i = 1; i < 9; i++) bomb.push(`a${i}: &a${i} [${`*a${i - 1}, `.repeat(9)}]`)
  const { diagnostics } = load({ banyan: bomb.join('\n') })
  t.strictSame(
    diagnostics.filter(one => one.file === 'banyan.yaml').map(one => one.code),
    ['YAML_ALIAS'],
  )
})

void t.test('a value reached through an alias is shown where it stands', async t => {
  const { diagnostics } = load({
    banyan: `version: 1
legacy: &one { url: http://a, database: env:A, aliasses: x }
services: { people: *one }
`,
    slices: {},
  })
  t.strictSame(brief(diagnostics), [
    'banyan.yaml:2:41 DATABASE_SHARED',
    'banyan.yaml:2:48 KEY_UNKNOWN',
  ])
})

void t.test('a text that is nested too deep, or no map, is refused and not followed', async t => {
  for (const text of [
    '['.repeat(60_000),
    '{a: '.repeat(15_000),
    '- '.repeat(30_000),
    '- 1',
    '7',
    '',
    '# nothing',
  ]) {
    const { project, diagnostics } = load({ banyan: text, slices: {} })
    t.equal(project, null)
    t.ok(diagnostics.length > 0, text.slice(0, 10))
    if (text.length > 1000) t.match(diagnostics[0]?.message, 'nested deeper than 32')
  }
})

void t.test('control characters of a file never reach the terminal', async t => {
  const { diagnostics } = load(banyan('express', '"\\e[31mexpress"'))
  const raw = load(banyan('express', '\u009b31mexpress'))
  for (const one of [...diagnostics, ...raw.diagnostics]) {
    t.notMatch(one.message + one.frame.replaceAll('\n', ''), /[\u0000-\u001f\u007f-\u009f]/)
  }
})

void t.test('Windows line ends and tabs leave the places where they are', async t => {
  const { diagnostics } = load({
    banyan: swap(BANYAN_YAML, 'express', 'expres').replaceAll('\n', '\r\n'),
  })
  t.strictSame(brief(diagnostics), ['banyan.yaml:6:12 VALUE_UNKNOWN'])
  t.match(diagnostics[0]?.frame, /expres\s.*\n {4}\| {12}\^{6}$/)
})
