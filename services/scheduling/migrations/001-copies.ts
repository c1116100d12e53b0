/** What others own and this service must know: read copies, kept in step from outside, never written by it. */
import type { ServiceMigration } from '../migrate.ts'

export const copies: ServiceMigration = {
  name: '001-copies',
  up: async database => {
    await database.raw(`
      create table practitioners (
        id bigint primary key,
        code text not null,
        name text,
        specialty text
      );
      create table patients (
        id bigint primary key,
        mrn text not null,
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
    await database.raw('drop table patients, practitioners')
  },
}
