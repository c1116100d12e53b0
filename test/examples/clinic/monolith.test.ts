/** What the monolith answers, and what it leaves in its database. */
import t from 'tap'
import { AT, OP, asker, startMonolith } from './platform.ts'
import type { Json } from './platform.ts'

const { ask, database, url } = await startMonolith(t, { internalKey: 'secret' })
await database.rows(
  `insert into practitioners (code, name, specialty) values ('P1', 'Dr. Eva Lima', 'Cardiology'), ('P2', null, null)`,
)
let registered = 0
const register = async (): Promise<Json> => {
  const patient = { op_id: OP, mrn: `M${++registered}`, name: 'Zoë <Köhler>' }
  return (await ask('POST', '/api/patients', patient)).body
}
const patient = await register()
const booking = { op_id: OP, patient_id: patient.id, practitioner_id: 2, starts_at: AT }
const book = async (more: object = {}): Promise<Json> =>
  (await ask('POST', '/api/appointments', { ...booking, ...more })).body
const counts = () =>
  database.row(
    `select (select count(*) from appointments) as appointments, (select count(*) from messages) as messages,
       (select count(*) from access_audit) as audit, (select sum(taken) from slots) as taken`,
  )

await t.test('a booking is four tables in one transaction', async t => {
  const { status, text, body } = await ask('POST', '/api/appointments', { ...booking, fee: 12.5 })
  t.equal(status, 201)
  t.equal(
    text,
    `{"id":${body.id},"op_id":"${OP}","patient_id":${patient.id},"practitioner_id":2,"starts_at":"${AT}",` +
      `"status":"booked","notes":null,"details":{},"fee":"12.50","version":1,"updated_at":"${body.updated_at}"}`,
  )
  t.equal((await ask('GET', `/api/appointments/${body.id}`)).text, text)
  const xids = await database.rows(
    `select xmin from appointments union select xmin from messages union select xmin from access_audit
     union select xmin from slots`,
  )
  t.equal(xids.length, 1, 'all four rows are of one transaction')
  t.strictSame(await database.rows('select patient_id, dedupe, sent_at from messages'), [
    { patient_id: patient.id, dedupe: `booking:${OP}:${body.id}`, sent_at: null },
  ])
  t.strictSame(await database.rows('select actor, action, patient_id from access_audit'), [
    { actor: 'dr house', action: 'book', patient_id: patient.id },
  ])
})

await t.test('a booking that fails leaves nothing in any of them', async t => {
  const before = await counts()
  const { status, body } = await ask('POST', '/api/appointments', { ...booking, patient_id: 999 })
  t.equal(status, 409)
  t.strictSame(body, { error: 'conflict', detail: 'patient does not exist' })
  t.strictSame(await counts(), before)
})

await t.test('the database itself moves updated_at when an appointment changes', async t => {
  const { id, updated_at } = await book()
  await database.rows('update appointments set updated_at = $2 where id = $1', [id, AT])
  t.ok((await ask('GET', `/api/appointments/${id}`)).body.updated_at > updated_at)
  const { body } = await ask('PATCH', `/api/appointments/${id}`, { status: 'done', notes: 'n' })
  t.match(body, { id, version: 2, status: 'done', notes: 'n' })
})

await t.test('a cancellation gives the place back, unless something hangs on it', async t => {
  const [free, held] = [await book(), await book()]
  const prescription = { appointment_id: held.id, patient_id: patient.id, drug: 'A', dose: '1' }
  t.equal((await ask('POST', '/api/prescriptions', prescription)).status, 201)
  const { taken } = (await ask('GET', `/api/slots/2/${AT}`)).body
  t.equal((await ask('DELETE', `/api/appointments/${free.id}`)).status, 204)
  t.strictSame((await ask('DELETE', `/api/appointments/${held.id}`)).body, {
    error: 'conflict',
    detail: 'appointment has prescriptions, or does not exist',
  })
  t.equal((await ask('GET', `/api/slots/2/${AT}`)).body.taken, taken - 1)
})

await t.test('take and promote move one each time and leave a trace', async t => {
  const at = '2026-03-04T09:30:00.000Z'
  t.equal(
    (await ask('POST', `/api/slots/2/${at}/take`, { op_id: OP })).text,
    `{"practitioner_id":2,"starts_at":"${at}","taken":1}`,
  )
  t.equal((await ask('POST', `/api/slots/2/${at}/promote`, { op_id: OP })).status, 409)
  await database.rows('insert into waitlist values (2, $1, 1)', [at])
  t.equal((await ask('POST', `/api/slots/2/${at}/promote`, { op_id: OP })).body.taken, 2)
  t.strictSame((await ask('GET', `/api/slots/2/${at}`)).body, {
    practitioner_id: 2,
    starts_at: at,
    capacity: 1000,
    taken: 2,
    waiting: 0,
  })
  t.strictSame(
    await database.rows('select kind from slot_moves where starts_at = $1 order by at', [at]),
    [{ kind: 'take' }, { kind: 'promote' }],
  )
})

await t.test(
  'all that a patient has is counted, goes with the patient, and reading it is noted',
  async t => {
    const { id } = await register()
    const appointment = await book({ patient_id: id })
    const prescription = { appointment_id: appointment.id, patient_id: id, drug: 'A', dose: '1' }
    await ask('POST', '/api/prescriptions', prescription)
    const { body } = await ask('GET', `/api/patients/${id}/summary`)
    t.strictSame(body.counts, {
      appointments: 1,
      prescriptions: 1,
      medical_records: 0,
      invoices: 0,
      messages: 1,
    })
    t.match(await database.row('select * from access_audit order by id desc limit 1'), {
      action: 'read',
      patient_id: id,
    })
    t.equal((await ask('DELETE', `/api/patients/${id}`)).status, 204)
    for (const table of ['appointments', 'prescriptions', 'messages']) {
      t.strictSame(
        await database.rows(`select 1 from ${table} where patient_id = $1`, [id]),
        [],
        table,
      )
    }
  },
)

await t.test('a patient with invoices stays', async t => {
  const { id } = await register()
  const appointment = await book({ patient_id: id })
  const invoice = { appointment_id: appointment.id, patient_id: id, amount: '10.00' }
  t.match((await ask('POST', '/api/invoices', invoice)).body, { amount: '10.00', status: 'open' })
  t.match(await ask('DELETE', `/api/patients/${id}`), { status: 409, body: { error: 'conflict' } })
})

await t.test('a message with the same key is stored once', async t => {
  const message = { dedupe: 'k', patient_id: patient.id, body: 'hello' }
  const post = asker(url, async () => ({ 'x-internal-key': 'secret' }))
  t.strictSame((await post('POST', '/internal/messages', message)).body, { stored: true })
  t.strictSame((await post('POST', '/internal/messages', message)).body, { stored: false })
  t.match(await post('POST', '/internal/messages', { ...message, dedupe: 'l', patient_id: 999 }), {
    status: 409,
  })
  t.equal((await ask('POST', '/internal/messages', message)).status, 401, 'without the key')
})

await t.test('nobody gets anywhere under /api without a session', async t => {
  const stranger = asker(url, async () => ({ cookie: 'clinic_sid=abcdef; other=1' }))
  for (const path of ['/api/patients', '/API/patients', '/api', '/api/', '/api/nothing']) {
    const { status, text } = await stranger('GET', path)
    t.equal(status, 401, path)
    t.equal(text, '{"error":"unauthenticated"}')
  }
  t.equal((await stranger('GET', '/internal/whoami')).status, 401)
  t.strictSame((await ask('GET', '/internal/whoami')).body, { sub: 'dr house', role: 'clinician' })
  t.strictSame((await ask('GET', '/api/nothing')).body, { error: 'not_found' })
})

await t.test('paths are matched as Express would', async t => {
  const same = [`/api/patients/${patient.id}`, `/API/Patients/${patient.id}/`]
  for (const path of same) t.equal((await ask('GET', path)).status, 200, path)
  const other = [`/api//patients/${patient.id}`, `/api/%70atients/${patient.id}`]
  for (const path of other) t.equal((await ask('GET', path)).status, 404, path)
  t.equal((await ask('GET', '/api/patients/%zz')).status, 400)
  const head = await ask('HEAD', `/api/patients/${patient.id}`)
  t.match(head, { status: 200, text: '' })
})

await t.test('a body that is no JSON object, or too long, is refused', async t => {
  t.match((await ask('POST', '/api/patients', [])).body, { error: 'bad_request' })
  const long = await ask('POST', '/api/patients', { name: 'x'.repeat(1_100_000) })
  t.equal(long.status, 413)
  t.equal((await ask('GET', '/health')).status, 200, 'and the server goes on')
})

await t.test('pages show what is stored, and never as markup', async t => {
  await book()
  const list = await ask('GET', '/appointments')
  t.equal(list.type, 'text/html; charset=utf-8')
  t.match(list.text, 'Zoë &lt;Köhler&gt;')
  t.match((await ask('GET', `/patients/${patient.id}`)).text, '<h1>Zoë &lt;Köhler&gt;</h1>')
  t.match((await ask('GET', '/')).text, 'Signed in as dr house')
  t.equal((await asker(url, async () => ({}))('GET', '/appointments')).status, 302)
})

await t.test('the report counts days and money', async t => {
  const at = '2026-05-05T23:30:00.000Z'
  await book({ starts_at: at, fee: '10.10', practitioner_id: 1 })
  const { id } = await book({ starts_at: at, fee: '5', practitioner_id: 1 })
  const report = () =>
    database.rows(
      `select day, practitioner, appointments, revenue from reporting_daily where day = '2026-05-05'`,
    )
  const line = { day: '2026-05-05', practitioner: 'Dr. Eva Lima' }
  t.strictSame(await report(), [{ ...line, appointments: 2, revenue: '15.10' }])
  await ask('PATCH', `/api/appointments/${id}`, { status: 'cancelled' })
  t.strictSame(await report(), [{ ...line, appointments: 1, revenue: '10.10' }])
})

await t.test('a database that refuses is an internal error, not a story', async t => {
  await database.rows(`create function refuse() returns trigger language plpgsql as
    $$ begin raise exception 'this side is closed' using errcode = 'BNY01'; end $$`)
  await database.rows(
    'create trigger refuse before insert on appointments execute function refuse()',
  )
  const { status, text } = await ask('POST', '/api/appointments', booking)
  t.equal(status, 500)
  t.equal(text, '{"error":"internal"}')
})
