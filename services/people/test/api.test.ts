/** What the people service answers, and what it leaves in its database. */
import t from 'tap'
import { createVerifyIdentity } from '../identity.ts'
import { startEdge } from './support/identity.ts'
import { OP, startService } from './support/service.ts'
import type { Json } from './support/service.ts'

await t.test('people', async t => {
  const { ask, app, database, edge } = await startService(t)
  let registered = 0
  const register = async (more: object = {}): Promise<Json> => {
    const patient = { op_id: OP, mrn: `M${++registered}`, name: 'Zoë Köhler', ...more }
    return (await ask('POST', '/api/patients', patient)).body
  }

  await t.test('a registered patient is there, every field as it was sent', async t => {
    const { status, text, body } = await ask('POST', '/api/patients', {
      op_id: OP,
      mrn: 'A-1',
      name: "Ana O'Brien",
      birth_date: '1980-02-29',
      phone: '+351 912345678',
      email: null,
      tags: ['diabetes', 'a "quoted", tag'],
    })
    t.equal(status, 201)
    t.equal(
      text,
      `{"id":${body.id},"mrn":"A-1","name":"Ana O'Brien","birth_date":"1980-02-29",` +
        `"phone":"+351 912345678","email":null,"tags":["diabetes","a \\"quoted\\", tag"],"visits":0,` +
        `"updated_at":"${body.updated_at}"}`,
    )
    t.equal((await ask('GET', `/api/patients/${body.id}`)).text, text)
    t.strictSame(await database.row('select op_id from patient where id = $1', [body.id]), {
      op_id: OP,
    })
  })

  await t.test('a record number belongs to one patient', async t => {
    const { mrn } = await register()
    const { status, body } = await ask('POST', '/api/patients', { mrn, name: 'Other' })
    t.equal(status, 409)
    t.strictSame(body, { error: 'conflict', detail: 'mrn is already in use' })
  })

  await t.test('a correction changes what it names, and null clears', async t => {
    const before = await register({ phone: '1', email: 'a@example.org' })
    const { body } = await ask('PATCH', `/api/patients/${before.id}`, { phone: null, name: 'New' })
    t.strictSame(
      { ...body, updated_at: '' },
      { ...before, phone: null, name: 'New', updated_at: '' },
    )
    t.ok(body.updated_at > before.updated_at)
    for (const [change, status] of [
      [{}, 400],
      [{ name: null }, 400],
      [{ mrn: 'x' }, 400],
    ] as const) {
      t.equal((await ask('PATCH', `/api/patients/${before.id}`, change)).status, status)
    }
    t.equal((await ask('PATCH', '/api/patients/999999', { name: 'New' })).status, 404)
  })

  await t.test('visits counted at the same time are all counted', async t => {
    const { id } = await register()
    const visit = () => ask('POST', `/api/patients/${id}/visits`, { op_id: OP })
    const answers = await Promise.all(Array.from({ length: 20 }, visit))
    t.strictSame(
      answers.map(({ body }) => body.visits).sort((a, b) => a - b),
      Array.from({ length: 20 }, (_, index) => index + 1),
    )
    t.strictSame((await visit()).body, { id, visits: 21 })
    t.equal((await ask('POST', '/api/patients/999999/visits', { op_id: OP })).status, 404)
  })

  await t.test('a deleted patient is gone', async t => {
    const { id } = await register()
    t.equal((await ask('DELETE', `/api/patients/${id}`)).status, 204)
    t.equal((await ask('GET', `/api/patients/${id}`)).status, 404)
    t.equal((await ask('DELETE', `/api/patients/${id}`)).status, 404)
  })

  await t.test('patients are found by how a name or a number begins, taken literally', async t => {
    const ids = async (q: string) =>
      (await ask('GET', `/api/patients?q=${encodeURIComponent(q)}`)).body.map((p: Json) => p.id)
    const percent = await register({ name: '100% Real', mrn: 'Q_1' })
    const upper = await register({ name: 'UPPER Case', mrn: 'QX1' })
    t.strictSame(await ids('100%'), [percent.id])
    t.strictSame(await ids('upper c'), [upper.id])
    t.strictSame(await ids('Q_'), [percent.id])
    t.strictSame(await ids('%'), [])
    t.equal((await ask('GET', '/api/patients?limit=1')).body.length, 1)
    for (const limit of ['0', '101', 'x', '']) {
      t.equal((await ask('GET', `/api/patients?limit=${limit}`)).status, 400, `limit=${limit}`)
    }
  })

  await t.test('practitioners are listed and found', async t => {
    t.equal(
      (await ask('GET', '/api/practitioners')).text,
      '[{"id":1,"code":"P1","name":"Dr. Eva Lima","specialty":"Cardiology"},{"id":2,"code":"P2","name":null,"specialty":null}]',
    )
    t.equal((await ask('GET', '/API/Practitioners/2/')).body.code, 'P2')
    t.equal((await ask('GET', '/api/practitioners/3')).status, 404)
  })

  await t.test('what cannot be right is refused by name', async t => {
    const cases: readonly [object, string][] = [
      [{ mrn: undefined }, 'mrn is required'],
      [{ name: 7 }, 'name must be a text of at most 200 characters'],
      [{ birth_date: '1.2.1980' }, 'birth_date must be a date, YYYY-MM-DD'],
      [{ birth_date: '1980-02-31' }, 'a value is malformed or out of range'],
      [{ tags: 'a' }, 'tags must be a list of texts'],
      [{ op_id: 'x' }, 'op_id must be a UUID'],
    ]
    for (const [more, detail] of cases) {
      const patient = { mrn: 'R1', name: 'Ana', ...more }
      const { status, body } = await ask('POST', '/api/patients', patient)
      t.equal(status, 400, detail)
      t.strictSame(body, { error: 'bad_request', detail })
    }
    t.strictSame((await ask('GET', '/api/patients/1/summary')).body, { error: 'not_found' })
  })

  await t.test('nothing about anybody is said without a valid identity', async t => {
    const now = Math.floor(Date.now() / 1000)
    const tokens = {
      none: undefined,
      nonsense: 'abc',
      forged: await edge.forgedToken(),
      expired: await edge.token({ exp: now - 10 }),
      'for another service': await edge.token({ aud: 'scheduling' }),
      'from another issuer': await edge.token({ iss: 'mallory' }),
      'for an hour': await edge.token({ exp: now + 3600 }),
    }
    for (const [name, token] of Object.entries(tokens)) {
      for (const url of ['/api/patients', '/api/nothing']) {
        const headers = token === undefined ? {} : { 'x-banyan-identity': token }
        const response = await app.inject({ url, headers })
        t.equal(response.statusCode, 401, `${name} ${url}`)
        t.equal(response.body, '{"error":"unauthenticated"}')
      }
    }
    for (const url of ['/health', '/ready', '/openapi.json']) {
      t.equal((await app.inject(url)).statusCode, 200)
    }
  })

  await t.test('a database that refuses is an internal error, not a story', async t => {
    await database.rows(`create function refuse() returns trigger language plpgsql as
      $$ begin raise exception 'this side is closed' using errcode = 'BNY01'; end $$`)
    await database.rows('create trigger refuse before insert on patient execute function refuse()')
    const { status, text } = await ask('POST', '/api/patients', { mrn: 'X', name: 'Ana' })
    t.equal(status, 500)
    t.equal(text, '{"error":"internal"}')
  })
})

await t.test('while the keys are out of reach nobody is called a stranger', async t => {
  const verify = createVerifyIdentity({
    jwksUrl: 'http://127.0.0.1:9/jwks.json',
    audience: 'people',
  })
  const token = await (await startEdge(t, 'people')).token()
  const error = await verify(token).catch((error: unknown) => error)
  t.match(error, { status: 503, body: { error: 'unavailable' } })
})
