/** Doctors and nurses: read only here, they are entered by the hospital's personnel office. */
import type { Database } from './database.ts'
import { notFound } from './errors.ts'
import { id } from './input.ts'
import { ok } from './routes.ts'
import type { Route } from './routes.ts'

const COLUMNS = 'id, code, name, specialty'

export function practitionerRoutes(database: Database): readonly Route[] {
  return [
    [
      'GET',
      '/api/practitioners',
      async () => ok(await database.rows(`select ${COLUMNS} from practitioners order by id`)),
    ],
    [
      'GET',
      '/api/practitioners/:id',
      async ({ params }) => {
        const found = await database.row(`select ${COLUMNS} from practitioners where id = $1`, [
          id(params.id, 'id'),
        ])
        if (!found) throw notFound()
        return ok(found)
      },
    ],
  ]
}
