/** What this service promises, as an OpenAPI 3.1 document; a test compares it with the routes and with real answers. */

const ref = (name: string) => ({ $ref: `#/components/schemas/${name}` })
const jsonBody = (schema: object) => ({ content: { 'application/json': { schema } } })
const answer = (description: string, schema: object) => ({ description, ...jsonBody(schema) })
const input = (schema: object) => ({ required: true, ...jsonBody(schema) })
const refusal = (description: string) => answer(description, ref('Error'))

const REFUSALS = {
  '400': refusal('The request is malformed'),
  '401': refusal('No valid identity'),
}
const NOT_FOUND = { '404': refusal('There is no such thing') }
const CONFLICT = { '409': refusal('It contradicts what is stored') }

const path = (name: string, schema: object) => ({ name, in: 'path', required: true, schema })
const query = (name: string, schema: object) => ({ name, in: 'query', schema })
const ID = { type: 'integer', minimum: 1 }
const INSTANT = { type: 'string', format: 'date-time' }
const UUID = { type: 'string', format: 'uuid' }
const LIMIT = query('limit', { type: 'integer', minimum: 1, maximum: 500, default: 50 })
const SLOT_KEY = [path('practitionerId', ID), path('startsAt', INSTANT)]
const OPERATION = ref('Operation')

const object = (properties: Record<string, object>, required = Object.keys(properties)) => ({
  type: 'object',
  properties,
  required,
})

const SCHEMAS = {
  Appointment: object({
    id: ID,
    op_id: UUID,
    patient_id: ID,
    practitioner_id: ID,
    starts_at: INSTANT,
    status: { type: 'string' },
    notes: { type: ['string', 'null'] },
    details: { type: 'object' },
    fee: { type: 'string', description: 'An amount with two decimals' },
    version: { type: 'integer' },
    updated_at: INSTANT,
  }),
  NewAppointment: object(
    {
      op_id: UUID,
      patient_id: ID,
      practitioner_id: ID,
      starts_at: INSTANT,
      notes: { type: ['string', 'null'], maxLength: 100_000 },
      details: { type: 'object' },
      fee: { type: ['string', 'number'] },
    },
    ['op_id', 'patient_id', 'practitioner_id', 'starts_at'],
  ),
  AppointmentChange: object(
    {
      status: { type: 'string', pattern: '^[a-z][a-z_-]{0,31}$' },
      notes: { type: ['string', 'null'], maxLength: 100_000 },
      details: { type: 'object' },
    },
    [],
  ),
  Slot: object({
    practitioner_id: ID,
    starts_at: INSTANT,
    capacity: { type: 'integer' },
    taken: { type: 'integer' },
    waiting: { type: 'integer' },
  }),
  TakenSlot: object({ practitioner_id: ID, starts_at: INSTANT, taken: { type: 'integer' } }),
  Operation: object({ op_id: UUID }),
  Status: object({ status: { type: 'string' } }),
  Error: object({ error: { type: 'string' }, detail: { type: 'string' } }, ['error']),
}

const appointments = {
  '/api/appointments': {
    get: {
      operationId: 'listAppointments',
      parameters: [query('patient_id', ID), LIMIT],
      responses: {
        '200': answer('Newest first', { type: 'array', items: ref('Appointment') }),
        ...REFUSALS,
      },
    },
    post: {
      operationId: 'bookAppointment',
      requestBody: input(ref('NewAppointment')),
      responses: { '201': answer('Booked', ref('Appointment')), ...REFUSALS, ...CONFLICT },
    },
  },
  '/api/appointments/{id}': {
    parameters: [path('id', ID)],
    get: {
      operationId: 'getAppointment',
      responses: {
        '200': answer('The appointment', ref('Appointment')),
        ...REFUSALS,
        ...NOT_FOUND,
      },
    },
    patch: {
      operationId: 'changeAppointment',
      requestBody: input(ref('AppointmentChange')),
      responses: { '200': answer('Changed', ref('Appointment')), ...REFUSALS, ...NOT_FOUND },
    },
    delete: {
      operationId: 'cancelAppointment',
      responses: { '204': { description: 'Cancelled' }, ...REFUSALS, ...NOT_FOUND },
    },
  },
}

const slots = {
  '/api/slots': {
    get: {
      operationId: 'listSlots',
      parameters: [query('practitioner_id', ID), LIMIT],
      responses: {
        '200': answer('By practitioner and time', { type: 'array', items: ref('Slot') }),
        ...REFUSALS,
      },
    },
  },
  '/api/slots/{practitionerId}/{startsAt}': {
    parameters: SLOT_KEY,
    get: {
      operationId: 'getSlot',
      responses: { '200': answer('The slot', ref('Slot')), ...REFUSALS, ...NOT_FOUND },
    },
  },
  '/api/slots/{practitionerId}/{startsAt}/take': {
    parameters: SLOT_KEY,
    post: {
      operationId: 'takeSlot',
      requestBody: input(OPERATION),
      responses: { '200': answer('One more taken', ref('TakenSlot')), ...REFUSALS, ...CONFLICT },
    },
  },
  '/api/slots/{practitionerId}/{startsAt}/promote': {
    parameters: SLOT_KEY,
    post: {
      operationId: 'promoteFromWaitlist',
      requestBody: input(OPERATION),
      responses: {
        '200': answer('One less waiting, one more taken', ref('TakenSlot')),
        ...REFUSALS,
        ...CONFLICT,
      },
    },
  },
}

const ops = {
  '/health': {
    get: {
      operationId: 'health',
      security: [],
      responses: { '200': answer('The process lives', ref('Status')) },
    },
  },
  '/ready': {
    get: {
      operationId: 'ready',
      security: [],
      responses: {
        '200': answer('The database answers', ref('Status')),
        '503': answer('It does not', ref('Status')),
      },
    },
  },
  '/openapi.json': {
    get: {
      operationId: 'openapi',
      security: [],
      responses: { '200': answer('This document', { type: 'object' }) },
    },
  },
}

export const OPENAPI = {
  openapi: '3.1.0',
  info: { title: 'Scheduling', version: '1.0.0', license: { name: 'MIT', identifier: 'MIT' } },
  security: [{ identity: [] }],
  paths: { ...appointments, ...slots, ...ops },
  components: {
    securitySchemes: {
      identity: {
        type: 'apiKey',
        in: 'header',
        name: 'x-banyan-identity',
        description: 'A JWT of at most 60 s, issued by the edge for this service',
      },
    },
    schemas: SCHEMAS,
  },
}
