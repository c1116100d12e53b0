/** Practitioners and patients: what this service is for. */
import type { ServiceMigration } from '../migrate.ts'

export const people: ServiceMigration = {
  name: '001-people',
  up: async database => {
    await database.raw(`
      create table practitioner (
        id bigserial primary key,
        code text not null unique,
        name text,
        specialty text
      );
      create table patient (
        id bigserial primary key,
        mrn text not null unique,
        name text not null,
        birth_date date,
        phone text,
        email text,
        tags text[] not null default '{}',
        visits int not null default 0,
        op_id uuid,
        updated_at timestamptz not null default now()
      );
    `)
  },
  down: async database => {
    await database.raw('drop table patient, practitioner')
  },
}
