/** Appointments, slots and waiting lists. */
import type { ClinicMigration } from '../migrate.ts'

export const scheduling: ClinicMigration = {
  name: '002-scheduling',
  up: async database => {
    await database.raw(`
      create table slots (
        practitioner_id bigint references practitioners,
        starts_at timestamptz,
        capacity int not null,
        taken int not null default 0,
        primary key (practitioner_id, starts_at)
      );
      create table waitlist (
        practitioner_id bigint,
        starts_at timestamptz,
        waiting int not null default 0,
        primary key (practitioner_id, starts_at)
      );
      create table slot_moves (
        id uuid primary key default gen_random_uuid(),
        op_id uuid not null,
        practitioner_id bigint,
        starts_at timestamptz,
        kind text,
        at timestamptz default now()
      );
      create table appointments (
        id bigserial primary key,
        op_id uuid not null,
        patient_id bigint not null references patients on delete cascade,
        practitioner_id bigint not null references practitioners,
        starts_at timestamptz not null,
        status text not null default 'booked',
        notes text,
        details jsonb not null default '{}',
        fee numeric(10, 2) not null default 0,
        version int not null default 1,
        updated_at timestamptz not null default now()
      );
      create index appointments_by_patient on appointments (patient_id);
      create index appointments_by_slot on appointments (practitioner_id, starts_at);
    `)
    await database.raw(`
      create function appointments_touch() returns trigger language plpgsql as $body$
      begin
        new.updated_at := clock_timestamp();
        return new;
      end
      $body$;
      create trigger appointments_touch before update on appointments
        for each row execute function appointments_touch();
    `)
  },
  down: async database => {
    await database.raw(`
      drop table appointments, slot_moves, waitlist, slots;
      drop function appointments_touch();
    `)
  },
}
