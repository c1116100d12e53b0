/** Doctors and nurses: read only here, they are entered by the hospital's personnel office. */
import type { RouteOptions } from 'fastify'
import type { Database, Row } from './database.ts'
import { notFound } from './errors.ts'
import { id } from './input.ts'
import type { JsonObject } from './input.ts'

const COLUMNS = 'id, code, name, specialty'

export function practitionerRoutes(database: Database): readonly RouteOptions[] {
  return [
    {
      method: 'GET',
      url: '/api/practitioners',
      handler: async () => database.rows(`select ${COLUMNS} from practitioner order by id`),
    },
    {
      method: 'GET',
      url: '/api/practitioners/:id',
      handler: async request => getPractitioner(database, request.params as JsonObject),
    },
  ]
}

async function getPractitioner(database: Database, params: JsonObject): Promise<Row> {
  const sql = `select ${COLUMNS} from practitioner where id = $1`
  const found = await database.row(sql, [id(params.id, 'id')])
  if (!found) throw notFound()
  return found
}
