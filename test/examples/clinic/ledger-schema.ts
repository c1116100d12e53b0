/** The clinic's tables as the ledger's tests need them, and what a right sync makes of them. */

export const LEGACY_TABLES = `
  CREATE TABLE practitioners (id bigserial PRIMARY KEY, code text UNIQUE NOT NULL, name text,
    specialty text);
  CREATE TABLE patients (id bigserial PRIMARY KEY, mrn text UNIQUE NOT NULL, name text NOT NULL,
    birth_date date, phone text, email text, tags text[] NOT NULL DEFAULT '{}',
    visits int NOT NULL DEFAULT 0, op_id uuid,
    updated_at timestamptz NOT NULL DEFAULT now());
  CREATE TABLE slots (practitioner_id bigint REFERENCES practitioners, starts_at timestamptz,
    capacity int NOT NULL, taken int NOT NULL DEFAULT 0, PRIMARY KEY (practitioner_id, starts_at));
  CREATE TABLE waitlist (practitioner_id bigint, starts_at timestamptz,
    waiting int NOT NULL DEFAULT 0, PRIMARY KEY (practitioner_id, starts_at));
  CREATE TABLE slot_moves (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), op_id uuid NOT NULL,
    practitioner_id bigint, starts_at timestamptz, kind text, at timestamptz DEFAULT now());
  CREATE TABLE appointments (id bigserial PRIMARY KEY, op_id uuid NOT NULL,
    patient_id bigint NOT NULL REFERENCES patients ON DELETE CASCADE,
    practitioner_id bigint NOT NULL REFERENCES practitioners, starts_at timestamptz NOT NULL,
    status text NOT NULL DEFAULT 'booked', notes text, details jsonb NOT NULL DEFAULT '{}',
    fee numeric(10,2) NOT NULL DEFAULT 0, version int NOT NULL DEFAULT 1,
    updated_at timestamptz NOT NULL DEFAULT now());
  CREATE TABLE prescriptions (id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    appointment_id bigint REFERENCES appointments, patient_id bigint, drug text, dose text);
  INSERT INTO practitioners (code, name)
    SELECT 'P' || i, 'Doctor ' || i FROM generate_series(1, 3) i;
  INSERT INTO patients (mrn, name, visits)
    SELECT 'M' || i, 'Patient ' || i, i % 4 FROM generate_series(1, 40) i;
  INSERT INTO slots SELECT p, timestamptz '2030-01-01 08:00Z' + n * interval '1 hour', 1000, n
    FROM generate_series(1, 3) p, generate_series(1, 4) n;
  INSERT INTO waitlist SELECT practitioner_id, starts_at, 150 FROM slots WHERE taken <= 2;
  INSERT INTO appointments (op_id, patient_id, practitioner_id, starts_at)
    SELECT gen_random_uuid(), 1 + i % 40, 1 + i % 3, '2030-01-01 08:00Z'
    FROM generate_series(1, 60) i;`

/**
 * Turns a copy of the monolith's database into the scheduling service's: what a right sync leaves
 * behind.
 */
export const AS_SCHEDULING = `
  ALTER TABLE appointments RENAME TO appointment;
  ALTER TABLE appointment RENAME practitioner_id TO doctor_id;
  ALTER TABLE slots RENAME TO slot;
  ALTER TABLE slot RENAME practitioner_id TO doctor_id;
  ALTER TABLE slot_moves RENAME TO slot_move;`

/** The same for the people service's. */
export const AS_PEOPLE = `
  ALTER TABLE patients RENAME TO patient;
  ALTER TABLE practitioners RENAME TO practitioner;`

/**
 * A gate that is closed: it refuses every write of appointments, whoever writes, a replica
 * session's too.
 */
export const closedGate = (table: string): string => `
  CREATE OR REPLACE FUNCTION closed() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      RAISE EXCEPTION 'closed' USING ERRCODE = 'BNY01', HINT = 'write to the service';
    END $$;
  CREATE TRIGGER banyan_gate BEFORE INSERT OR UPDATE OR DELETE ON ${table}
    FOR EACH STATEMENT EXECUTE FUNCTION closed();
  ALTER TABLE ${table} ENABLE ALWAYS TRIGGER banyan_gate;`
