/** Practitioners and patients. */
import type { ClinicMigration } from '../migrate.ts'

export const people: ClinicMigration = {
  name: '001-people',
  up: async database => {
    await database.raw(`
      create table practitioners (
        id bigserial primary key,
        code text not null unique,
        name text,
        specialty text
      );
      create table patients (
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
      create index patients_by_name on patients (lower(name collate "C") text_pattern_ops);
      create index patients_by_mrn on patients (mrn text_pattern_ops);
    `)
  },
  down: async database => {
    await database.raw('drop table patients, practitioners')
  },
}
