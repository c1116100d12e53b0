/** All that enters the monolith's database besides gates and publications of slices (postgres/gate.ts); `down` leaves no trace. */
import { DECIDE, FUNCTIONS, grants, type Roles, TABLES } from '../ownership.ts'
import { dropPublications } from '../publications.ts'
import type { Migration } from '../runner.ts'
import { ABANDON, ABORT_AFTER_RESTORE } from './abandon.ts'

export function legacyMigrations(roles: Roles): Migration[] {
  return [
    {
      name: '0001-ownership',
      async up(db) {
        await db.raw(TABLES)
        await db.raw(FUNCTIONS + DECIDE + ABANDON + ABORT_AFTER_RESTORE)
        await db.raw(grants(roles, 'decide'))
      },
      down: dropPublications,
    },
  ]
}
