/** All that enters the monolith's database besides gates and publications of slices (postgres/gate.ts); `down` leaves no trace. */
import { quote } from '../../postgres/sql.ts'
import { DECIDE, FUNCTIONS, grants, type Roles, TABLES } from '../ownership.ts'
import { dropPublications } from '../publications.ts'
import type { Migration } from '../runner.ts'
import { ABANDON } from './abandon.ts'

export function legacyMigrations(roles: Roles): Migration[] {
  return [
    {
      name: '0001-ownership',
      async up(db) {
        await db.raw(TABLES)
        await db.raw(FUNCTIONS + DECIDE + ABANDON)
        await db.raw(grants(roles, 'decide'))
      },
      down: dropPublications,
    },
    {
      name: '0002-loosened-key',
      async up(db) {
        await db.raw(LOOSENED)
        const readers = `${quote(roles.apply)}, ${quote(roles.capture)}`
        await db.raw(`GRANT SELECT ON banyan.loosened_key TO ${readers}`)
      },
      down: db => db.raw('DROP TABLE banyan.loosened_key'),
    },
  ]
}

/** Here, and not in the control database: whoever has the tables must also have the DDL that makes them whole again. */
const LOOSENED = `
CREATE TABLE banyan.loosened_key (
  relation text NOT NULL,
  name text NOT NULL,
  key jsonb NOT NULL,
  dropped_for text NOT NULL,
  dropped_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (relation, name)
);
COMMENT ON TABLE banyan.loosened_key IS 'foreign keys that are dropped because they cross a moved slice, with the DDL that brings them back';
`
