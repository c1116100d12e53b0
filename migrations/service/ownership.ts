/** What enters a service's database; `down` leaves no trace. */
import { FUNCTIONS, grants, type Roles, TABLES } from '../ownership.ts'
import { dropPublications } from '../publications.ts'
import type { Migration } from '../runner.ts'
import { CLOSE } from './close.ts'

export function serviceMigrations(roles: Roles): Migration[] {
  return [
    {
      name: '0001-ownership',
      async up(db) {
        await db.raw(TABLES)
        await db.raw(FUNCTIONS + CLOSE)
        await db.raw(grants(roles, 'copy'))
      },
      down: dropPublications,
    },
  ]
}
