import t from 'tap'
import { renderDiagnostics } from '../../model/diagnostic.ts'
import { CONFIG_ERRORS } from '../../model/errors-config.ts'
import { ROUTER_ERRORS } from '../../model/errors-router.ts'
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

t.test('a typo is shown with its place, a caret and what was meant', async t => {
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

t.test('a wrong word is shown with its place, a caret and what was meant', async t => {
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

t.test('two places that clash are both shown', async t => {
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

t.test('no line is wider than 80 columns, and the caret stays under its place', async t => {
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

t.test('color changes nothing but color', async t => {
  const { diagnostics } = load(appointments('canary:', 'canery:'))
  const colored = renderDiagnostics(diagnostics, { color: true })
  t.match(colored, '\u001b[')
  // eslint-disable-next-line no-control-regex
  t.equal(colored.replace(/\u001b\[\d+m/g, ''), renderDiagnostics(diagnostics, { color: false }))
})

t.test('all problems of all files come at once, in the order of the text', async t => {
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

// Codes that no file has by itself: the files' absence, an edit, and what only the database can ask.
type Elsewhere =
  | 'CONFIG_MISSING'
  | 'CONFIG_INVALID'
  | 'EDIT_REFUSED'
  | 'FK_CROSSES'
  | 'FK_ANSWER'
  | 'FK_COPY'
  | 'TRIGGER_UNANSWERED'
  | 'SIDE_WRITE'
type Codes = Exclude<keyof typeof CONFIG_ERRORS, Elsewhere> | FromRouter
type FromRouter =
  'ROUTE_INVALID' | 'ROUTE_CONFLICT' | 'UPSTREAM_URL' | 'KEY_RULE' | 'WHOAMI_INVALID'

/** For every code a file that has it, and where. The compiler wants them all. */
const REFUSALS: Readonly<Record<Codes, readonly [Parameters<typeof load>[0], string]>> = {
  FILE_TOO_LARGE: [{ banyan: '#'.repeat(70_000) }, 'banyan.yaml:1:1'],
  FILE_NAME: [{ slices: { 'My-Slice': PATIENTS_YAML } }, 'slices/My-Slice.yaml:1:1'],
  YAML_SYNTAX: [banyan('version: 1', 'version: [1'), 'banyan.yaml:3:1'],
  YAML_ALIAS: [banyan('version: 1', 'version: *one'), 'banyan.yaml:2:10'],
  KEY_TWICE: [banyan('capture: direct', 'version: 1'), 'banyan.yaml:17:1'],
  KEY_UNKNOWN: [banyan('capture: direct', 'kafka: x'), 'banyan.yaml:17:1'],
  KEY_MISSING: [banyan('cookie: clinic_sid, ', ''), 'banyan.yaml:15:1'],
  TYPE_WRONG: [banyan('url: http://127.0.0.1:3000', 'url: 3000'), 'banyan.yaml:4:8'],
  VALUE_UNKNOWN: [banyan('express', 'expres'), 'banyan.yaml:6:12'],
  VALUE_RANGE: [appointments('percent: 5', 'percent: -1'), 'slices/appointments.yaml:14:65'],
  LIST_LENGTH: [
    { slices: { patients: PATIENTS_YAML.replace(/routes: .*/, 'routes: []') } },
    'slices/patients.yaml:3:9',
  ],
  LIST_TWICE: [banyan('[patients, ', '[practitioners, '), 'banyan.yaml:8:108'],
  NAME_INVALID: [banyan('  people:', '  copies_people:'), 'banyan.yaml:9:3'],
  TABLE_NAME: [appointments('to: app', 'to: public.app'), 'slices/appointments.yaml:9:23'],
  COLUMN_NAME: [appointments(': doctor_id', ': doctor.id'), 'slices/appointments.yaml:9:64'],
  SECRET_LITERAL: [
    banyan('env:LEGACY_DATABASE_URL', 'postgres://clinic:secret@db/clinic'),
    'banyan.yaml:5:13',
  ],
  REFERENCE_INVALID: [banyan('env:LEGACY', '$LEGACY'), 'banyan.yaml:5:13'],
  DATABASE_SHARED: [banyan('env:SCHEDULING', 'env:LEGACY'), 'banyan.yaml:8:55'],
  COOKIE_NAME: [banyan('clinic_sid', 'clinic_sid=1'), 'banyan.yaml:15:21'],
  LISTEN_INVALID: [banyan('127.0.0.1:8080', '127.0.0.1:80800'), 'banyan.yaml:18:20'],
  DURATION_INVALID: [appointments('holdMs: 2000', 'holdMs: 2 s'), 'slices/appointments.yaml:15:20'],
  SIZE_INVALID: [appointments('262144', '256KB'), 'slices/appointments.yaml:15:58'],
  WRITES_PERCENT: [appointments('percent: 5', 'writes: 5'), 'slices/appointments.yaml:14:56'],
  CANARY_KEY: [
    { slices: { patients: swap(PATIENTS_YAML, 'stage: sync', 'stage: canary') } },
    'slices/patients.yaml:2:8',
  ],
  BUDGET_ORDER: [appointments('maxHeld: 500', 'drainMs: 2s'), 'slices/appointments.yaml:15:35'],
  SERVICE_MISSING: [appointments('scheduling', 'schedule'), 'slices/appointments.yaml:2:10'],
  TABLE_TAKEN: [
    { slices: { a: PATIENTS_YAML, b: PATIENTS_YAML.replace(/routes: .*/, 'routes: [/b]') } },
    'slices/b.yaml:4:11',
  ],
  TARGET_TAKEN: [
    { slices: { patients: swap(PATIENTS_YAML, '{ patients:', '{ patient: true, patients:') } },
    'slices/patients.yaml:4:26',
  ],
  COLUMN_TAKEN: [
    appointments('columns: {', 'columns: { a: doctor_id,'),
    'slices/appointments.yaml:9:78',
  ],
  COPY_OWNED: [banyan('[patients, ', '[appointments, '), 'banyan.yaml:8:93'],
  FK_KEY: [appointments('appointments.patient_id', 'patient_id'), 'slices/appointments.yaml:11:3'],
  FK_ON_DELETE: [
    appointments('patient_id: copy', 'patient_id: { answer: copy, onDelete: null }'),
    'slices/appointments.yaml:11:54',
  ],
  ROUTE_INVALID: [appointments('POST /api', 'POST api'), 'slices/appointments.yaml:6:5'],
  ROUTE_CONFLICT: [
    appointments('POST /api/appointments', 'GET,PUT /api/appointments/**'),
    'slices/appointments.yaml:6:5',
  ],
  UPSTREAM_URL: [banyan('127.0.0.1:3000', 'me:secret@127.0.0.1:3000'), 'banyan.yaml:4:8'],
  KEY_RULE: [appointments('header:x-tenant-id', 'x-tenant-id'), 'slices/appointments.yaml:14:16'],
  WHOAMI_INVALID: [banyan('GET /internal', 'POST /internal'), 'banyan.yaml:15:41'],
}

t.test('every code has a file that has it, at its place, with a frame and a hint', async t => {
  for (const [code, [change, at]] of Object.entries(REFUSALS)) {
    const { project, diagnostics } = load(change)
    t.equal(project, null, code)
    t.strictSame(brief(diagnostics), [`${at} ${code}`], code)
    for (const one of diagnostics) {
      t.notMatch(one.message, /%\d|%s|undefined|\?$/, one.message)
      t.not(one.hint, '', code)
      t.match(one.frame, /^ {2}\d+ \| .*\n +\| +\^/, one.frame)
    }
  }
})

t.test('what is refused is never printed where it may be a secret', async t => {
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

t.test(
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

t.test('a unit that is named otherwise elsewhere is understood', async t => {
  const hints = (change: Parameters<typeof load>[0]) => load(change).diagnostics[0]?.hint
  t.equal(hints(appointments('262144', '256KB')), 'did you mean "256kB"?')
  t.equal(hints(appointments('262144', '1 MiB')), 'did you mean "1MB"?')
  t.equal(hints(appointments('2000', '2 sec')), 'did you mean "2s"?')
  t.equal(hints(appointments('2000', 'soon')), CONFIG_ERRORS.DURATION_INVALID.hint)
})

t.test('a key in the wrong place is told where it belongs', async t => {
  const { diagnostics } = load(appointments('stage: canary', 'stage: canary\npercent: 5'))
  t.match(diagnostics[0], { code: 'KEY_UNKNOWN', hint: '"percent" belongs under canary; allowed' })
})

t.test('a word beside a reference is suggested', async t => {
  const { diagnostics } = load(banyan('database: embedded', 'database: embeded'))
  t.match(diagnostics[0], { code: 'REFERENCE_INVALID', hint: 'did you mean "embedded"?' })
})

t.test('a percentage of writes is refused with its reason, however it is asked for', async t => {
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
})

t.test('a slice without tables is told where its writes go', async t => {
  const { diagnostics } = load({
    slices: { search: 'service: people\nstage: sync\nroutes: [GET /s]\ncanary: { writes: 5 }\n' },
  })
  t.match(diagnostics[0], {
    code: 'KEY_UNKNOWN',
    hint: 'unsafe requests go to legacy until the stage is moved',
  })
})

t.test('a key that a plain object cannot hold does not vanish', async t => {
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

t.test('aliases are followed, and a bomb of them is refused', async t => {
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

t.test('a value reached through an alias is shown where it stands', async t => {
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

t.test('a text that is nested too deep, or no map, is refused and not followed', async t => {
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
  }
})

t.test('control characters of a file never reach the terminal', async t => {
  const { diagnostics } = load(banyan('express', '"\\e[31mexpress"'))
  const raw = load(banyan('express', '\u009b31mexpress'))
  for (const one of [...diagnostics, ...raw.diagnostics]) {
    // eslint-disable-next-line no-control-regex
    t.notMatch(one.message + one.frame.replaceAll('\n', ''), /[\u0000-\u001f\u007f-\u009f]/)
  }
})

t.test('Windows line ends and tabs leave the places where they are', async t => {
  const { diagnostics } = load({
    banyan: swap(BANYAN_YAML, 'express', 'expres').replaceAll('\n', '\r\n'),
  })
  t.strictSame(brief(diagnostics), ['banyan.yaml:6:12 VALUE_UNKNOWN'])
  t.match(diagnostics[0]?.frame, /expres\s.*\n {4}\| {12}\^{6}$/)
})

t.test('the codes of the router that files have are the router’s own', async t => {
  for (const code of ['ROUTE_INVALID', 'ROUTE_CONFLICT', 'UPSTREAM_URL', 'KEY_RULE'] as const) {
    t.ok(ROUTER_ERRORS[code])
    t.notOk(code in CONFIG_ERRORS)
  }
})
