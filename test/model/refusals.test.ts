import t from 'tap'
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

// Codes that no file has by itself: the files' absence, an edit, and what only the database can ask.
type Elsewhere =
  | 'CONFIG_MISSING'
  | 'CONFIG_INVALID'
  | 'EDIT_REFUSED'
  | 'SECRET_MISSING'
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
  NAME_INVALID: [
    banyan('  people:', '  copies: { url: http://a, database: env:A }\n  people:'),
    'banyan.yaml:9:3',
  ],
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

void t.test('every code has a file that has it, at its place, with a frame and a hint', async t => {
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

void t.test('the codes of the router that files have are the router’s own', async t => {
  for (const code of ['ROUTE_INVALID', 'ROUTE_CONFLICT', 'UPSTREAM_URL', 'KEY_RULE'] as const) {
    t.ok(ROUTER_ERRORS[code])
    t.notOk(code in CONFIG_ERRORS)
  }
})
