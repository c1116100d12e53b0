/** What is written about a patient, and what is owed. */
import type { ClinicMigration } from '../migrate.ts'

export const records: ClinicMigration = {
  name: '003-records',
  up: async database => {
    await database.raw(`
      create table prescriptions (
        id uuid primary key,
        appointment_id bigint references appointments,
        patient_id bigint references patients on delete cascade,
        drug text,
        dose text,
        written_at timestamptz
      );
      create index prescriptions_by_patient on prescriptions (patient_id);
      create index prescriptions_by_appointment on prescriptions (appointment_id);
      create table medical_records (
        id uuid primary key,
        patient_id bigint references patients on delete cascade,
        entry jsonb,
        at timestamptz
      );
      create index medical_records_by_patient on medical_records (patient_id);
      create table invoices (
        id bigserial primary key,
        appointment_id bigint references appointments,
        patient_id bigint references patients,
        amount numeric(12, 2),
        status text,
        issued_at timestamptz
      );
      create index invoices_by_patient on invoices (patient_id);
      create index invoices_by_appointment on invoices (appointment_id);
    `)
  },
  down: async database => {
    await database.raw('drop table invoices, medical_records, prescriptions')
  },
}
