import t from 'tap'
import { parseReference, splitTableName } from '../../model/banyan-file.ts'
import { BanyanError } from '../../model/errors.ts'
import { loadProject, ownsTables, requireProject, sliceName } from '../../model/project.ts'
import { formatRoute, parseRoute } from '../../model/route.ts'
import {
  APPOINTMENTS_YAML,
  BANYAN_YAML,
  brief,
  load,
  PATIENTS_YAML,
  swap,
  texts,
} from '../support/project-files.ts'

void t.test('the example is valid, and every default is filled in', async t => {
  const { banyan, slices } = requireProject(load())
  t.match(banyan, {
    version: 1,
    capture: 'direct',
    control: { database: 'embedded' },
    limits: {
      maxSlots: 6,
      lagMaxMs: 1000,
      verifyMaxAgeMs: 86_400_000,
      sequenceHeadroom: 1000,
      copyWorkers: 2,
    },
    router: { listen: '127.0.0.1:8080' },
  })
  const [appointments, patients] = slices
  t.match(appointments, {
    name: 'appointments',
    file: 'slices/appointments.yaml',
    stage: 'canary',
    tables: {
      appointments: { to: 'appointment', columns: { practitioner_id: 'doctor_id' }, left: [] },
    },
    foreignKeys: {
      'appointments.patient_id': { answer: 'copy' },
      'prescriptions.appointment_id': { answer: 'loose' },
    },
    cutover: { holdMs: 2000, maxHeldBodyBytes: 262_144, drainMs: 1000, quietMs: 100 },
    shadow: { sample: 100 },
  })
  t.strictSame(appointments?.routes.map(formatRoute), [
    'GET /api/appointments/**',
    'POST /api/appointments',
    'DELETE,PATCH /api/appointments/:id',
  ])
  t.match(patients, {
    canary: { by: [], percent: 0, include: [] },
    foreignKeys: {},
    cutover: { maxHeld: 500, maxHeldBodyBytes: 262_144 },
  })
})

void t.test('a column is answered with its other name, or with false: it stays behind', async t => {
  const answered = 'practitioner_id: doctor_id, memo: false, fax: false'
  const text = swap(APPOINTMENTS_YAML, 'practitioner_id: doctor_id', answered)
  const { slices } = requireProject(
    load({ slices: { appointments: text, patients: PATIENTS_YAML } }),
  )
  const { columns, left } = slices[0]!.tables['appointments']!
  t.strictSame(
    { columns, left },
    { columns: { practitioner_id: 'doctor_id' }, left: ['memo', 'fax'] },
  )
})

void t.test('one reference stands for the three roles', async t => {
  const { banyan } = requireProject(load())
  const all = 'env:LEGACY_DATABASE_URL'
  t.strictSame(banyan.legacy.database, { setup: all, apply: all, capture: all })
  t.match(banyan.services['people']?.database, { capture: 'file:/run/secrets/people-capture' })
})

void t.test('a table is named in four ways', async t => {
  const slice = `service: people
stage: legacy
routes: [/x]
tables:
  a:
  b: true
  c: { columns: { x: y } }
  billing.d: { to: d }
`
  const { slices } = requireProject(load({ slices: { x: slice } }))
  t.strictSame(slices[0]?.tables, {
    a: { to: 'a', columns: {}, left: [] },
    b: { to: 'b', columns: {}, left: [] },
    c: { to: 'c', columns: { x: 'y' }, left: [] },
    'billing.d': { to: 'd', columns: {}, left: [] },
  })
  t.strictSame(splitTableName('billing.d'), { schema: 'billing', table: 'd' })
  t.strictSame(splitTableName('a'), { schema: 'public', table: 'a' })
})

void t.test('a slice without tables owns none', async t => {
  const { slices } = requireProject(
    load({ slices: { x: 'service: people\nstage: sync\nroutes: [/x]\n' } }),
  )
  t.equal(slices[0] && ownsTables(slices[0]), false)
})

void t.test('onDelete null is the word, whether YAML reads nothing or a text', async t => {
  for (const written of ['null', "'null'", '~']) {
    const by = `{ answer: loose, onDelete: ${written} }`
    const text = swap(APPOINTMENTS_YAML, 'appointment_id: loose', `appointment_id: ${by}`)
    const { slices } = requireProject(load({ slices: { appointments: text } }))
    t.strictSame(slices[0]?.foreignKeys['prescriptions.appointment_id'], {
      answer: 'loose',
      onDelete: 'null',
    })
  }
})

void t.test('a mistake in one place does not hide a clash in another', async t => {
  const { diagnostics } = load({
    banyan: swap(BANYAN_YAML, 'express', 'expres'),
    slices: {
      appointments: swap(APPOINTMENTS_YAML, 'stage: canary', 'stage: cannary'),
      patients: swap(
        swap(PATIENTS_YAML, 'service: people', 'service: peeple'),
        "'GET,POST /api/patients'",
        "'POST /api/appointments'",
      ),
    },
  })
  t.strictSame(brief(diagnostics), [
    'banyan.yaml:6:12 VALUE_UNKNOWN',
    'slices/appointments.yaml:3:8 VALUE_UNKNOWN',
    'slices/patients.yaml:1:10 SERVICE_MISSING',
    'slices/patients.yaml:3:10 ROUTE_CONFLICT',
  ])
})

void t.test('a service that is nearly named is suggested', async t => {
  const { diagnostics } = load({
    slices: { patients: swap(PATIENTS_YAML, 'service: people', 'service: poeple') },
  })
  t.match(diagnostics, [{ code: 'SERVICE_MISSING', hint: 'did you mean "people"?' }])
})

void t.test('a clash names both slices and both places', async t => {
  const { diagnostics } = load({
    slices: {
      appointments: APPOINTMENTS_YAML,
      other: 'service: people\nstage: sync\nroutes:\n  - DELETE /api/appointments/:nr\n',
    },
  })
  t.equal(diagnostics.length, 1)
  t.match(diagnostics[0], {
    code: 'ROUTE_CONFLICT',
    file: 'slices/other.yaml',
    line: 4,
    column: 5,
    message: /"PATCH,DELETE \/api\/appointments\/:id" \(slice appointments\).*\(slice other\)/,
    frame: /and slices\/appointments\.yaml:7:5/,
  })
})

void t.test('routes that differ only by what the framework ignores clash', async t => {
  const project = texts({
    slices: {
      a: 'service: people\nstage: sync\nroutes: [GET /api/X]\n',
      b: 'service: people\nstage: sync\nroutes: [GET /API/x]\n',
    },
  })
  t.strictSame(brief(loadProject(project).diagnostics), [])
  const folded = loadProject(project, aliases => route => {
    return aliases === 'express' ? parseRoute(formatRoute(route).replace(/\/.*/, lower)) : route
  })
  t.strictSame(brief(folded.diagnostics), ['slices/b.yaml:3:10 ROUTE_CONFLICT'])
})

function lower(text: string): string {
  return text.toLowerCase()
}

void t.test('a more specific route of another slice is no clash, in whatever order', async t => {
  const slice = (route: string) => `service: people\nstage: sync\nroutes: ['${route}']\n`
  const routes = ['GET /api/patients/:id', 'GET /api/patients/search', 'GET /api/**', '/api/a/b/c']
  for (const list of [routes, routes.toReversed()]) {
    const slices = Object.fromEntries(list.map((route, i) => [`s${i}`, slice(route)]))
    t.strictSame(brief(load({ slices }).diagnostics), [])
  }
})

void t.test('the same name in two services is no clash', async t => {
  const slice = (service: string, table: string) =>
    `service: ${service}\nstage: sync\nroutes: [/${table}]\ntables: { ${table}: { to: t } }\n`
  t.ok(load({ slices: { a: slice('people', 'a'), b: slice('scheduling', 'b') } }).project)
  t.strictSame(
    brief(load({ slices: { a: slice('people', 'a'), b: slice('people', 'b') } }).diagnostics),
    ['slices/b.yaml:4:11 TARGET_TAKEN'],
  )
})

void t.test('a copy with the name of an owned table of the service is refused', async t => {
  const banyan = swap(BANYAN_YAML, '[patients,', '[appointment,')
  t.match(load({ banyan }).diagnostics, [{ code: 'TARGET_TAKEN', file: 'banyan.yaml', line: 8 }])
})

void t.test('a slice file whose name ends otherwise is not silently left aside', async t => {
  const project = texts()
  const slices = [{ file: 'slices/patients.yml', text: PATIENTS_YAML }]
  t.match(loadProject({ ...project, slices }).diagnostics, [
    { code: 'FILE_NAME', message: 'it ends in .yaml' },
  ])
  t.equal(sliceName('slices/patients.yml'), 'patients')
})

void t.test('what is needed and isn’t valid is an error with a code', async t => {
  t.throws(() => requireProject(load({ banyan: 'version: 2' })), BanyanError)
  try {
    requireProject(load({ banyan: swap(BANYAN_YAML, 'express', 'expres') }))
    t.fail('did not throw')
  } catch (error) {
    t.match(error, { code: 'CONFIG_INVALID', message: 'the files have 1 problem' })
  }
})

void t.test('a reference says where the secret is', async t => {
  t.strictSame(parseReference('env:X_1'), { kind: 'env', name: 'X_1' })
  t.strictSame(parseReference('file:/run/a:b'), { kind: 'file', path: '/run/a:b' })
})
