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
const DATE = { type: ['string', 'null'], format: 'date' }
const TEXT_OR_NULL = { type: ['string', 'null'] }
const TAGS = { type: 'array', items: { type: 'string', maxLength: 100 }, maxItems: 64 }
const UUID = { type: 'string', format: 'uuid' }
const LIMIT = query('limit', { type: 'integer', minimum: 1, maximum: 100, default: 20 })
const ONE = [path('id', ID)]

const object = (properties: Record<string, object>, required = Object.keys(properties)) => ({
  type: 'object',
  properties,
  required,
})

const SCHEMAS = {
  Patient: object({
    id: ID,
    mrn: { type: 'string' },
    name: { type: 'string' },
    birth_date: DATE,
    phone: TEXT_OR_NULL,
    email: TEXT_OR_NULL,
    tags: TAGS,
    visits: { type: 'integer' },
    updated_at: INSTANT,
  }),
  NewPatient: object(
    {
      op_id: UUID,
      mrn: { type: 'string', maxLength: 40 },
      name: { type: 'string', maxLength: 200 },
      birth_date: DATE,
      phone: { ...TEXT_OR_NULL, maxLength: 40 },
      email: { ...TEXT_OR_NULL, maxLength: 200 },
      tags: TAGS,
    },
    ['mrn', 'name'],
  ),
  PatientChange: object(
    {
      phone: { ...TEXT_OR_NULL, maxLength: 40 },
      email: { ...TEXT_OR_NULL, maxLength: 200 },
      name: { type: 'string', maxLength: 200 },
    },
    [],
  ),
  Visits: object({ id: ID, visits: { type: 'integer' } }),
  Practitioner: object({
    id: ID,
    code: { type: 'string' },
    name: TEXT_OR_NULL,
    specialty: TEXT_OR_NULL,
  }),
  Operation: object({ op_id: UUID }, []),
  Status: object({ status: { type: 'string' } }),
  Error: object({ error: { type: 'string' }, detail: { type: 'string' } }, ['error']),
}

const patients = {
  '/api/patients': {
    get: {
      operationId: 'findPatients',
      parameters: [
        query('q', {
          type: 'string',
          maxLength: 100,
          description: 'The beginning of a name, or of a medical record number',
        }),
        LIMIT,
      ],
      responses: {
        '200': answer('By id', { type: 'array', items: ref('Patient') }),
        ...REFUSALS,
      },
    },
    post: {
      operationId: 'registerPatient',
      requestBody: input(ref('NewPatient')),
      responses: { '201': answer('Registered', ref('Patient')), ...REFUSALS, ...CONFLICT },
    },
  },
  '/api/patients/{id}': {
    parameters: ONE,
    get: {
      operationId: 'getPatient',
      responses: { '200': answer('The patient', ref('Patient')), ...REFUSALS, ...NOT_FOUND },
    },
    patch: {
      operationId: 'correctPatient',
      requestBody: input(ref('PatientChange')),
      responses: { '200': answer('Corrected', ref('Patient')), ...REFUSALS, ...NOT_FOUND },
    },
    delete: {
      operationId: 'deletePatient',
      responses: { '204': { description: 'Deleted' }, ...REFUSALS, ...NOT_FOUND },
    },
  },
  '/api/patients/{id}/visits': {
    parameters: ONE,
    post: {
      operationId: 'countVisit',
      requestBody: input(ref('Operation')),
      responses: { '200': answer('One more visit', ref('Visits')), ...REFUSALS, ...NOT_FOUND },
    },
  },
}

const practitioners = {
  '/api/practitioners': {
    get: {
      operationId: 'listPractitioners',
      responses: {
        '200': answer('By id', { type: 'array', items: ref('Practitioner') }),
        ...REFUSALS,
      },
    },
  },
  '/api/practitioners/{id}': {
    parameters: ONE,
    get: {
      operationId: 'getPractitioner',
      responses: {
        '200': answer('The practitioner', ref('Practitioner')),
        ...REFUSALS,
        ...NOT_FOUND,
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
  info: { title: 'People', version: '1.0.0', license: { name: 'MIT', identifier: 'MIT' } },
  security: [{ identity: [] }],
  paths: { ...patients, ...practitioners, ...ops },
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
