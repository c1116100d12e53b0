/** Messages to patients, who read what, and who is signed in. */
import type { ClinicMigration } from '../migrate.ts'

export const communication: ClinicMigration = {
  name: '004-communication',
  up: async database => {
    await database.raw(`
      create table messages (
        id bigserial primary key,
        patient_id bigint references patients on delete cascade,
        body text,
        dedupe text unique,
        sent_at timestamptz
      );
      create index messages_by_patient on messages (patient_id);
      create table access_audit (
        id bigserial primary key,
        actor text,
        action text,
        patient_id bigint,
        at timestamptz default now()
      );
      create table sessions (
        sid text primary key,
        username text,
        role text,
        created_at timestamptz default now()
      );
    `)
  },
  down: async database => {
    await database.raw('drop table sessions, access_audit, messages')
  },
}
