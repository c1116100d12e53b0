/** All that enters the monolith's database besides gates and publications of slices (postgres/gate.ts); `down` leaves no trace. */
import { quote } from '../../postgres/sql.ts'
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
    {
      name: '0002-loosened-key',
      async up(db) {
        await db.raw(LOOSENED)
        const readers = `${quote(roles.apply)}, ${quote(roles.capture)}`
        await db.raw(`GRANT SELECT ON banyan.loosened_key TO ${readers}`)
      },
      down: db => db.raw('DROP TABLE banyan.loosened_key'),
    },
    {
      name: '0003-raised-trigger',
      async up(db) {
        await db.raw(RAISED)
      },
      async down(db) {
        await db.raw(LOWER)
      },
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

/** Here, and not in the control database: whoever has the tables must also know what they were. */
const RAISED = `
CREATE TABLE banyan.raised_trigger (
  relation text NOT NULL,
  name text NOT NULL,
  PRIMARY KEY (relation, name)
);
COMMENT ON TABLE banyan.raised_trigger IS 'triggers of the application that are ENABLE ALWAYS so that they fire for the apply role too, and were not before';
`

/** One that somebody has dropped, or set otherwise since, is left as it is. */
const LOWER = `DO $$
  DECLARE t record;
  BEGIN
    FOR t IN SELECT banyan.relid(r.relation) AS relid, r.name FROM banyan.raised_trigger r JOIN pg_catalog.pg_trigger g
      ON g.tgrelid = banyan.relid(r.relation) AND g.tgname = r.name AND g.tgenabled = 'A'
    LOOP
      EXECUTE pg_catalog.format('ALTER TABLE ONLY %s ENABLE TRIGGER %I', t.relid, t.name);
    END LOOP;
  END $$;
  DROP TABLE banyan.raised_trigger;
`
