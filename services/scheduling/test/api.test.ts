/** What the scheduling service answers, and what it leaves in its database. */
import t from 'tap'
import { createVerifyIdentity } from '../identity.ts'
import { startEdge } from './support/identity.ts'
import { AT, OP, startService } from './support/service.ts'
import type { Json } from './support/service.ts'

await t.test('scheduling', async t => {
  const { ask, app, database, edge, bookings } = await startService(t)
  const booking = { op_id: OP, patient_id: 1, practitioner_id: 2, starts_at: AT }
  const book = async (more: object = {}) =>
    (await ask('POST', '/api/appointments', { ...booking, ...more })).body
  const slot = async (at: string) => (await ask('GET', `/api/slots/2/${at}`)).body

  await t.test(
    'a booking is an appointment, a taken slot and a message, in one transaction',
    async t => {
      const { status, text, body } = await ask('POST', '/api/appointments', {
        ...booking,
        fee: 12.5,
      })
      t.equal(status, 201)
      t.equal(
        text,
        `{"id":${body.id},"op_id":"${OP}","patient_id":1,"practitioner_id":2,"starts_at":"${AT}","status":"booked",` +
          `"notes":null,"details":{},"fee":"12.50","version":1,"updated_at":"${body.updated_at}"}`,
      )
      t.equal((await ask('GET', `/api/appointments/${body.id}`)).text, text)
      t.strictSame(await slot(AT), {
        practitioner_id: 2,
        starts_at: AT,
        capacity: 1000,
        taken: 1,
        waiting: 0,
      })
      t.strictSame(await database.rows('select dedupe, patient_id, body from outbox'), [
        {
          dedupe: `booking:${OP}:${body.id}`,
          patient_id: 1,
          body: `Your appointment on ${AT} is booked.`,
        },
      ])
      t.equal(bookings(), 1)
    },
  )

  await t.test('a booking for a patient who is not here leaves nothing behind', async t => {
    const before = await database.row(
      'select (select count(*) from outbox) as m, (select sum(taken) from slot) as s',
    )
    const { status, body } = await ask('POST', '/api/appointments', { ...booking, patient_id: 99 })
    t.equal(status, 409)
    t.strictSame(body, { error: 'conflict', detail: 'patient does not exist' })
    const practitioner = await ask('POST', '/api/appointments', { ...booking, practitioner_id: 99 })
    t.strictSame(practitioner.body, { error: 'conflict', detail: 'practitioner does not exist' })
    t.strictSame(
      await database.row(
        'select (select count(*) from outbox) as m, (select sum(taken) from slot) as s',
      ),
      before,
    )
  })

  await t.test(
    'the same op_id may come twice: it is the caller who knows what repeats',
    async t => {
      const [first, second] = [await book(), await book()]
      t.not(first.id, second.id)
    },
  )

  await t.test('a change counts the version and moves updated_at', async t => {
    const before = await book({ notes: 'x'.repeat(20_000), details: { b: 1, a: 2 } })
    const { status, body } = await ask('PATCH', `/api/appointments/${before.id}`, {
      status: 'done',
    })
    t.equal(status, 200)
    t.strictSame(
      { ...body, updated_at: '' },
      { ...before, status: 'done', version: 2, updated_at: '' },
    )
    t.ok(body.updated_at > before.updated_at)
    t.equal(
      (await ask('PATCH', `/api/appointments/${before.id}`, { notes: null })).body.notes,
      null,
    )
    t.equal((await ask('PATCH', `/api/appointments/${before.id}`, {})).status, 400)
    t.equal((await ask('PATCH', '/api/appointments/999999', { status: 'done' })).status, 404)
  })

  await t.test('a cancellation gives the place back, even one at an odd microsecond', async t => {
    const at = '2026-03-03T10:00:00.123Z'
    const { id } = await book({ starts_at: '2026-03-03T10:00:00.123456Z' })
    t.equal(
      (await ask('GET', '/api/slots?practitioner_id=2&limit=500')).body.find(
        (each: Json) => each.starts_at === at,
      ).taken,
      1,
    )
    t.equal((await ask('DELETE', `/api/appointments/${id}`)).status, 204)
    t.equal(
      (await ask('GET', '/api/slots?practitioner_id=2&limit=500')).body.find(
        (each: Json) => each.starts_at === at,
      ).taken,
      0,
    )
    t.equal((await ask('DELETE', `/api/appointments/${id}`)).status, 404)
  })

  await t.test('lists are newest first, by patient, and never longer than asked', async t => {
    const [a, b] = [await book({ patient_id: 2 }), await book({ patient_id: 2 })]
    const { body } = await ask('GET', '/api/appointments?patient_id=2')
    t.strictSame(body, [b, a])
    t.strictSame((await ask('GET', '/api/appointments?patient_id=2&limit=1')).body, [b])
    for (const limit of ['0', '501', 'x', '']) {
      t.equal((await ask('GET', `/api/appointments?limit=${limit}`)).status, 400, `limit=${limit}`)
    }
  })

  await t.test('take and promote move one each time and leave a trace', async t => {
    const at = '2026-03-04T09:30:00.000Z'
    const taken = await ask('POST', `/api/slots/2/${at}/take`, { op_id: OP })
    t.equal(taken.text, `{"practitioner_id":2,"starts_at":"${at}","taken":1}`)
    t.strictSame((await ask('POST', `/api/slots/2/${at}/promote`, { op_id: OP })).body, {
      error: 'conflict',
      detail: 'nobody is waiting',
    })
    await database.rows('insert into waitlist values (2, $1, 1)', [at])
    t.equal((await ask('POST', `/api/slots/2/${at}/promote`, { op_id: OP })).body.taken, 2)
    t.equal((await ask('POST', `/api/slots/2/${at}/promote`, { op_id: OP })).status, 409)
    t.strictSame(await slot(at), {
      practitioner_id: 2,
      starts_at: at,
      capacity: 1000,
      taken: 2,
      waiting: 0,
    })
    t.strictSame(
      await database.rows('select kind from slot_move where starts_at = $1 order by at', [at]),
      [{ kind: 'take' }, { kind: 'promote' }],
    )
  })

  await t.test('paths match in any case and with a last slash', async t => {
    t.equal((await ask('GET', '/API/Appointments/')).status, 200)
  })

  await t.test('what cannot be right is refused by name', async t => {
    const cases: readonly [object, string][] = [
      [{ op_id: 'x' }, 'op_id must be a UUID'],
      [{ patient_id: -1 }, 'patient_id must be a positive integer'],
      [{ starts_at: '2026-03-02' }, 'starts_at must be an ISO 8601 time with its offset'],
      [{ fee: '1.234' }, 'fee must be an amount like 12.50'],
      [{ details: [] }, 'details must be an object'],
      [{ starts_at: '2026-02-31T09:00:00Z' }, 'a value is malformed or out of range'],
      [{ op_id: undefined }, 'op_id is required'],
    ]
    for (const [more, detail] of cases) {
      const { status, body } = await ask('POST', '/api/appointments', { ...booking, ...more })
      t.equal(status, 400, detail)
      t.strictSame(body, { error: 'bad_request', detail })
    }
    t.equal((await ask('GET', '/api/appointments/none')).status, 400)
    t.strictSame((await ask('GET', '/api/nothing')).body, { error: 'not_found' })
  })

  await t.test('nothing about anybody is said without a valid identity', async t => {
    const now = Math.floor(Date.now() / 1000)
    const tokens = {
      none: undefined,
      nonsense: 'abc',
      forged: await edge.forgedToken(),
      expired: await edge.token({ exp: now - 10 }),
      'for another service': await edge.token({ aud: 'people' }),
      'from another issuer': await edge.token({ iss: 'mallory' }),
      'for an hour': await edge.token({ exp: now + 3600 }),
    }
    for (const [name, token] of Object.entries(tokens)) {
      for (const url of ['/api/appointments', '/api/nothing']) {
        const headers = token === undefined ? {} : { 'x-banyan-identity': token }
        const response = await app.inject({ url, headers })
        t.equal(response.statusCode, 401, `${name} ${url}`)
        t.equal(response.body, '{"error":"unauthenticated"}')
      }
    }
    for (const url of ['/health', '/ready', '/openapi.json'])
      t.equal((await app.inject(url)).statusCode, 200)
  })

  await t.test('a database that refuses is an internal error, not a story', async t => {
    await database.rows(`create function refuse() returns trigger language plpgsql as
      $$ begin raise exception 'this side is closed' using errcode = 'BNY01'; end $$`)
    await database.rows(
      'create trigger refuse before insert on appointment execute function refuse()',
    )
    const { status, text } = await ask('POST', '/api/appointments', booking)
    t.equal(status, 500)
    t.equal(text, '{"error":"internal"}')
    await database.rows('drop trigger refuse on appointment')
  })

  await t.test('a deleted patient takes the appointments along', async t => {
    await database.rows('delete from patients where id = 2')
    t.strictSame((await ask('GET', '/api/appointments?patient_id=2')).body, [])
  })
})

await t.test('while the keys are out of reach nobody is called a stranger', async t => {
  const verify = createVerifyIdentity({
    jwksUrl: 'http://127.0.0.1:9/jwks.json',
    audience: 'scheduling',
  })
  const token = await (await startEdge(t, 'scheduling')).token()
  const error = await verify(token).catch((error: unknown) => error)
  t.match(error, { status: 503, body: { error: 'unavailable' } })
})
