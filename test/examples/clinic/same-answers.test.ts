/** For the same rows, the services' answers are the monolith's, byte for byte. */
import t from 'tap'
import { seed } from '../../../examples/clinic/seed.ts'
import { createApp as createPeople } from '../../../services/people/app.ts'
import { openDatabase as openPeople } from '../../../services/people/database.ts'
import { createVerifyIdentity as verifyPeople } from '../../../services/people/identity.ts'
import { migrate as migratePeople } from '../../../services/people/migrate.ts'
import { createApp as createScheduling } from '../../../services/scheduling/app.ts'
import { openDatabase as openScheduling } from '../../../services/scheduling/database.ts'
import { createVerifyIdentity as verifyScheduling } from '../../../services/scheduling/identity.ts'
import { migrate as migrateScheduling } from '../../../services/scheduling/migrate.ts'
import { testCluster } from '../../support/cluster.ts'
import { AT, OP, asker, startEdge, startMonolith } from './platform.ts'
import type { Answer, Ask, Json, Method } from './platform.ts'

/** Tables whose ids the service draws itself. */
const SERIAL = new Set(['practitioner', 'patient', 'appointment'])

const cluster = await testCluster(t)
const edge = await startEdge(t)
const monolith = await startMonolith(t, { cluster })
const databaseOf = async (name: string): Promise<string> => {
  await cluster.createRole(name)
  await cluster.createDatabase(name, { owner: name })
  return cluster.url(name, name)
}
const [schedulingUrl, peopleUrl] = [await databaseOf('scheduling'), await databaseOf('people')]
await migrateScheduling(schedulingUrl)
await migratePeople(peopleUrl)
const scheduling = openScheduling(schedulingUrl, 'scheduling')
const people = openPeople(peopleUrl, 'people')

await seed(monolith.databaseUrl, { patients: 120, appointments: 400, seed: 7 })
await addStrangeRows()
await copyRows()
const apps = {
  scheduling: createScheduling({
    database: scheduling,
    verifyIdentity: verifyScheduling({ jwksUrl: edge.jwksUrl, audience: 'scheduling' }),
    onBooked: () => {},
  }),
  people: createPeople({
    database: people,
    verifyIdentity: verifyPeople({ jwksUrl: edge.jwksUrl, audience: 'people' }),
  }),
}
t.teardown(async () => {
  for (const app of Object.values(apps)) await app.close()
  await scheduling.close()
  await people.close()
})
const askOf = async (name: keyof typeof apps): Promise<Ask> => {
  const url = await apps[name].listen({ port: 0, host: '127.0.0.1' })
  return asker(url, async () => ({ 'x-banyan-identity': await edge.token(name) }))
}
const services = { scheduling: await askOf('scheduling'), people: await askOf('people') }
const service = (path: string): Ask =>
  /^\/api\/(appointments|slots)/i.test(path) ? services.scheduling : services.people

interface Difference {
  readonly request: string
  readonly monolith: Pick<Answer, 'status' | 'type' | 'text'>
  readonly service: Pick<Answer, 'status' | 'type' | 'text'>
}

/** Asks both sides the same and lists what isn't the same. */
async function differences(
  requests: readonly (readonly [Method, string, object?])[],
  mask: (text: string) => string = text => text,
): Promise<Difference[]> {
  const found: Difference[] = []
  const shown = ({ status, type, text }: Answer) => ({ status, type, text: mask(text) })
  for (const [method, path, body] of requests) {
    const answers = [monolith.ask, service(path)].map(ask => ask(method, path, body))
    const [ours, theirs] = (await Promise.all(answers)).map(shown)
    if (!ours || !theirs) throw new Error('two answers')
    if (JSON.stringify(ours) === JSON.stringify(theirs)) continue
    found.push({ request: `${method} ${path}`, monolith: ours, service: theirs })
  }
  return found
}

const column = async (sql: string): Promise<unknown[]> =>
  (await monolith.database.rows(sql)).map(row => Object.values(row)[0])

async function everyGet(): Promise<readonly (readonly ['GET', string])[]> {
  const slots = await column(
    `select practitioner_id || '/' || to_char(starts_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
     from slots order by taken desc, starts_at limit 150`,
  )
  const patients = await column('select id from patients')
  const paths = [
    ...(await column('select id from appointments')).map(id => `/api/appointments/${String(id)}`),
    ...patients.map(id => `/api/patients/${String(id)}`),
    ...patients.map(id => `/api/appointments?patient_id=${String(id)}`),
    ...(await column('select id from practitioners')).map(id => `/api/practitioners/${String(id)}`),
    ...slots.map(slot => `/api/slots/${String(slot)}`),
    ...[
      '/api/practitioners',
      '/api/patients',
      '/api/patients?limit=100',
      '/api/patients?q=MRN-00000',
    ],
    ...[
      '/api/patients?q=jo&limit=3',
      '/api/patients?q=%C3%9CN',
      '/api/patients?q=%25',
      '/api/patients?q=',
    ],
    ...['/api/appointments', '/api/appointments?limit=500', '/API/Appointments/1/', '/api/slots'],
    ...['/api/slots?limit=500', '/api/slots?practitioner_id=3', '/api/slots?practitioner_id=99999'],
    ...['/api/appointments/999999', '/api/patients/999999', '/api/practitioners/999999'],
    ...['/api/appointments/x', '/api/patients/0', '/api/practitioners/-1', '/api/slots/x/y'],
    ...['/api/patients?limit=101', '/api/appointments?limit=no', '/api/slots?practitioner_id='],
    ...[
      `/api/slots/1/2026-13-01T00:00:00Z`,
      '/api/slots/1/2026-03-02',
      '/api/slots/1',
      '/api/patients/%zz',
    ],
  ]
  return paths.map(path => ['GET', path] as const)
}

await t.test('every GET', async t => {
  const requests = await everyGet()
  t.strictSame(await differences(requests), [])
  t.ok(requests.length > 700, `${requests.length} compared`)
})

await t.test('a single different row is found, and only that one', async t => {
  await people.rows(`update patient set name = name || ' ' where id = 5`)
  const found = await differences([
    ['GET', '/api/patients/4'],
    ['GET', '/api/patients/5'],
  ])
  t.strictSame(
    found.map(({ request }) => request),
    ['GET /api/patients/5'],
  )
  await people.rows(`update patient set name = rtrim(name) where id = 5`)
})

await t.test('writes that are refused are refused in the same words', async t => {
  const booking = { op_id: OP, patient_id: 1, practitioner_id: 1, starts_at: AT }
  const patient = { op_id: OP, mrn: 'NEW-1', name: 'Ana' }
  const requests: [Method, string, object?][] = [
    ...bad('op_id', 'patient_id', 'practitioner_id', 'starts_at').map(
      (more): [Method, string, object] => ['POST', '/api/appointments', { ...booking, ...more }],
    ),
    ...bad('mrn', 'name').map((more): [Method, string, object] => [
      'POST',
      '/api/patients',
      { ...patient, ...more },
    ]),
    ['POST', '/api/appointments', { ...booking, patient_id: 999_999 }],
    ['POST', '/api/appointments', { ...booking, practitioner_id: 999_999 }],
    ['POST', '/api/appointments', { ...booking, fee: '1.234' }],
    ['POST', '/api/appointments', { ...booking, details: [] }],
    ['POST', '/api/appointments', { ...booking, starts_at: '2026-02-31T00:00:00Z' }],
    ['POST', '/api/appointments', []],
    ['POST', '/api/appointments'],
    ['POST', '/api/patients', { ...patient, mrn: 'MRN-0000001' }],
    ['POST', '/api/patients', { ...patient, tags: [1] }],
    ['POST', '/api/patients', { ...patient, name: 'x'.repeat(1_100_000) }],
    ['PATCH', '/api/appointments/1', {}],
    ['PATCH', '/api/appointments/999999', { status: 'done' }],
    ['PATCH', '/api/patients/1', { name: null }],
    ['PATCH', '/api/patients/999999', { name: 'Ana' }],
    ['POST', '/api/patients/999999/visits', { op_id: OP }],
    ['DELETE', '/api/patients/999999'],
    ['DELETE', '/api/appointments/999999'],
    ['POST', `/api/slots/999/${AT}/take`, { op_id: OP }],
    ['POST', `/api/slots/1/${AT}/take`, {}],
    ['POST', '/api/slots/1/2001-01-01T00:00:00Z/promote', { op_id: OP }],
    ['PATCH', '/api/slots/1', {}],
  ]
  t.strictSame(await differences(requests), [])
})

await t.test('writes that succeed are answered the same, but for the clock', async t => {
  const [{ id: appointment } = {}, { id: patient } = {}] = [
    await monolith.database.row('select max(id) + 1 as id from appointments'),
    await monolith.database.row('select max(id) + 1 as id from patients'),
  ]
  const booking = { op_id: OP, patient_id: 1, practitioner_id: 1, starts_at: AT }
  const [a, p] = [`/api/appointments/${String(appointment)}`, `/api/patients/${String(patient)}`]
  const clock = (text: string) => text.replaceAll(/"updated_at":"[^"]{24}"/g, '"updated_at":now')
  const requests: [Method, string, object?][] = [
    ['POST', '/api/appointments', { ...booking, notes: 'Grüße\n', details: { z: 1, a: [1.5] } }],
    ['PATCH', a, { status: 'done', notes: null }],
    ['POST', `/api/slots/1/${AT}/take`, { op_id: OP }],
    ['GET', `/api/slots/1/${AT}`],
    ['DELETE', a],
    ['GET', a],
    ['POST', '/api/patients', { op_id: OP, mrn: 'N-1', name: 'Zoë', tags: ['a,b', '"', ''] }],
    ['PATCH', p, { phone: '+1', email: null }],
    ['POST', `${p}/visits`, { op_id: OP }],
    ['GET', p],
    ['DELETE', p],
    ['GET', p],
  ]
  t.strictSame(await differences(requests, clock), [])
})

function bad(...names: readonly string[]): Json[] {
  return names.flatMap(name => [{ [name]: undefined }, { [name]: {} }, { [name]: '\0' }])
}

/** Rows of the kind that only real life has. */
async function addStrangeRows(): Promise<void> {
  const { database } = monolith
  await database.rows(
    `insert into patients (mrn, name, birth_date, tags, visits, updated_at) values
       ('S-1', E'Ünal "the\\\\one"\\n\\t\\u2028', '0001-01-01', array['a,b', '{}', '"', '', 'NULL'], 2147483647,
        '1969-12-31 23:59:59.9999995+00'),
       ('S-2', '', null, '{}', -1, 'infinity'), ('S-3', '100%_\\', '9999-12-31', array['é'], 0, '0044-03-15 BC')`,
  )
  await database.rows(
    `insert into appointments (op_id, patient_id, practitioner_id, starts_at, notes, details, fee, updated_at) values
       ('${OP}', 1, 1, '2026-03-29 01:59:59.123456+00', repeat('ø', 50000),
        '{"b": 1.0, "a": {"10": 1, "2": 12345678901234567890}, "é": null}', 99999999.99, '2026-03-29 03:00:00.0001+02'),
       ('${OP}', 1, 2, '2026-10-25 00:30:00+00', '', '{}', 0.005, '10000-01-01 00:00:00+00')`,
  )
  await database.rows(
    `insert into slots values (1, '2026-03-29 01:59:59.123456+00', 0, -1), (2, '2026-10-25 00:30:00+00', 1, 1)`,
  )
}

/** Through JSON text, so that no value passes a client on its way. */
async function copyRows(): Promise<void> {
  const appointment = `select id, op_id, patient_id, practitioner_id as doctor_id, starts_at, status, notes, details,
    fee, version, updated_at from appointments`
  const slot = 'select practitioner_id as doctor_id, starts_at, capacity, taken from slots'
  await fill(people, {
    practitioner: 'select * from practitioners',
    patient: 'select * from patients',
  })
  await fill(scheduling, {
    practitioners: 'select * from practitioners',
    patients: 'select * from patients',
    appointment,
    slot,
    waitlist: 'select * from waitlist',
  })
}

async function fill(
  target: Pick<typeof people, 'rows'>,
  tables: Readonly<Record<string, string>>,
): Promise<void> {
  for (const [table, select] of Object.entries(tables)) {
    const row = await monolith.database.row(`select json_agg(t)::text as rows from (${select}) t`)
    await target.rows(
      `insert into ${table} select * from json_populate_recordset(null::${table}, $1::json)`,
      [row?.rows],
    )
    if (!SERIAL.has(table)) continue
    const sequence = `pg_get_serial_sequence('${table}', 'id')`
    await target.rows(`select setval(${sequence}, max(id)) from ${table}`)
  }
}
