/** The OpenAPI document says what the routes do: no more, no less, and in the same words. */
import t from 'tap'
import { serviceRoutes } from '../app.ts'
import { OPENAPI } from '../openapi.ts'
import { AT, OP, startService } from './support/service.ts'

const METHODS = new Set(['get', 'post', 'patch', 'put', 'delete'])

await t.test('each documented operation has a route, and each route is documented', async t => {
  const { database } = await startService(t)
  const routes = serviceRoutes({ database, onBooked: () => {} }).map(
    ({ method, url }) => `${String(method)} ${url.replaceAll(/:(\w+)/g, '{$1}')}`,
  )
  const documented = Object.entries(OPENAPI.paths).flatMap(([path, item]) =>
    Object.keys(item)
      .filter(key => METHODS.has(key))
      .map(method => `${method.toUpperCase()} ${path}`),
  )
  t.strictSame(routes.sort(), documented.sort())
})

await t.test('every $ref leads somewhere, and every path parameter is declared', async t => {
  for (const [, name] of JSON.stringify(OPENAPI).matchAll(/#\/components\/schemas\/(\w+)/g)) {
    t.ok(name !== undefined && name in OPENAPI.components.schemas, String(name))
  }
  for (const [path, item] of Object.entries(OPENAPI.paths)) {
    const declared = 'parameters' in item ? item.parameters.map(parameter => parameter.name) : []
    t.strictSame(
      [...path.matchAll(/\{(\w+)\}/g)].map(match => match[1]),
      declared,
      path,
    )
  }
})

await t.test('answers have the properties that their schemas name, in that order', async t => {
  const { ask } = await startService(t)
  const { Appointment, Slot, TakenSlot, Error } = OPENAPI.components.schemas
  const names = (schema: { properties: object }) => Object.keys(schema.properties)
  const booking = { op_id: OP, patient_id: 1, practitioner_id: 2, starts_at: AT }
  const appointment = await ask('POST', '/api/appointments', booking)
  t.strictSame(Object.keys(appointment.body), names(Appointment))
  t.strictSame(Object.keys((await ask('GET', `/api/slots/2/${AT}`)).body), names(Slot))
  const taken = await ask('POST', `/api/slots/2/${AT}/take`, { op_id: OP })
  t.strictSame(Object.keys(taken.body), names(TakenSlot))
  t.strictSame(Object.keys((await ask('GET', '/api/slots/2/x')).body), names(Error))
  t.strictSame((await ask('GET', '/openapi.json')).body, JSON.parse(JSON.stringify(OPENAPI)))
})
