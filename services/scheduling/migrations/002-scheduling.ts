/** Appointments, slots and waiting lists: what this service is for. */
import type { ServiceMigration } from '../migrate.ts'

export const scheduling: ServiceMigration = {
  name: '002-scheduling',
  up: async database => {
    await database.raw(`
      create table slot (
        doctor_id bigint references practitioners,
        starts_at timestamptz,
        capacity int not null,
        taken int not null default 0,
        primary key (doctor_id, starts_at)
      );
      create table waitlist (
        practitioner_id bigint,
        starts_at timestamptz,
        waiting int not null default 0,
        primary key (practitioner_id, starts_at)
      );
      create table slot_move (
        id uuid primary key default gen_random_uuid(),
        op_id uuid not null,
        practitioner_id bigint,
        starts_at timestamptz,
        kind text,
        at timestamptz default now()
      );
      create table appointment (
        id bigserial primary key,
        op_id uuid not null,
        patient_id bigint not null references patients on delete cascade,
        doctor_id bigint not null references practitioners,
        starts_at timestamptz not null,
        status text not null default 'booked',
        notes text,
        details jsonb not null default '{}',
        fee numeric(10, 2) not null default 0,
        version int not null default 1,
        updated_at timestamptz not null default now()
      );
      create index appointment_by_patient on appointment (patient_id);
      create index appointment_by_slot on appointment (doctor_id, starts_at);
    `)
  },
  down: async database => {
    await database.raw('drop table appointment, slot_move, waitlist, slot')
  },
}
