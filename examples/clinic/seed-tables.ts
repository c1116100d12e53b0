/** The statements that fill each table, parents before children; the functions they call are in seed-values. */
import type { SeedSize } from './seed.ts'

const FIRST_DAY = "timestamptz '2026-03-02 09:00:00+00'"
/** Half-hour slots from nine to five. */
const SLOTS_PER_DAY = 16
const APPOINTMENTS_PER_SLOT = 8

/** Table → insert, in the order in which they must run. `pg_temp.pick(i, salt, n)`: a number below n. */
export function tableStatements(size: SeedSize): Readonly<Record<string, string>> {
  return { ...schedule(size), ...RECORDS }
}

function schedule({ patients, appointments }: SeedSize): Record<string, string> {
  const practitioners = Math.min(400, Math.max(12, Math.round(patients / 250)))
  const slotsPerDay = practitioners * SLOTS_PER_DAY
  const days = Math.max(5, Math.ceil(appointments / (slotsPerDay * APPOINTMENTS_PER_SLOT)))
  const slot = (number: string) =>
    `${FIRST_DAY} + (${number}) / ${SLOTS_PER_DAY} * interval '1 day' + (${number}) % ${SLOTS_PER_DAY} * interval '30 minutes'`
  return {
    practitioners: `insert into practitioners (id, code, name, specialty)
      select i, 'P' || lpad(i::text, 4, '0'), 'Dr. ' || pg_temp.full_name(i, 100),
        pg_temp.one_of('specialty', i, 101)
      from generate_series(1, ${practitioners}) i`,
    patients: `insert into patients (id, mrn, name, birth_date, phone, email, tags, visits, op_id, updated_at)
      select i, 'MRN-' || lpad(i::text, 7, '0'), pg_temp.full_name(i, 1),
        date '1930-01-01' + pg_temp.pick(i, 3, 34000),
        case when pg_temp.pick(i, 4, 10) > 0 then '+351 9' || lpad(pg_temp.pick(i, 5, 100000000)::text, 8, '0') end,
        case when pg_temp.pick(i, 6, 3) > 0 then 'patient' || i || '@example.org' end,
        case when pg_temp.pick(i, 7, 4) = 0 then array[pg_temp.one_of('tag', i, 8)] else '{}' end,
        pg_temp.pick(i, 9, 20), pg_temp.op('patient', i),
        ${FIRST_DAY} - pg_temp.pick(i, 10, 31536000) * interval '1 second'
      from generate_series(1, ${patients}) i`,
    appointments: `insert into appointments
        (id, op_id, patient_id, practitioner_id, starts_at, status, notes, details, fee, version, updated_at)
      select i, pg_temp.op('appointment', i), 1 + pg_temp.pick(i, 20, ${Math.max(patients, 1)}),
        1 + pg_temp.pick(i, 21, ${practitioners}), ${slot(`pg_temp.pick(i, 22, ${days * SLOTS_PER_DAY})`)},
        pg_temp.one_of('status', i, 23), pg_temp.notes(i),
        jsonb_build_object('reason', pg_temp.one_of('reason', i, 24), 'room', 1 + pg_temp.pick(i, 25, 40),
          'channel', pg_temp.one_of('channel', i, 26)),
        (20 + pg_temp.pick(i, 27, 200))::numeric + 0.5 * pg_temp.pick(i, 28, 2),
        1 + pg_temp.pick(i, 29, 3), ${FIRST_DAY} - pg_temp.pick(i, 30, 2592000) * interval '1 second'
      from generate_series(1, ${appointments}) i`,
    slots: `insert into slots (practitioner_id, starts_at, capacity, taken)
      select grid.practitioner_id, grid.starts_at, 1000, coalesce(booked.taken, 0)
      from (select p as practitioner_id, ${slot('n')} as starts_at
        from generate_series(1, ${practitioners}) p, generate_series(0, ${days * SLOTS_PER_DAY - 1}) n) grid
      left join (select practitioner_id, starts_at, count(*) as taken from appointments group by 1, 2) booked
        using (practitioner_id, starts_at)`,
    waitlist: `insert into waitlist (practitioner_id, starts_at, waiting)
      select practitioner_id, starts_at, 5 + pg_temp.pick(n, 41, 300)
      from (select *, row_number() over (order by practitioner_id, starts_at) as n from slots) numbered
      where pg_temp.pick(n, 40, 4) = 0`,
  }
}

const RECORDS: Readonly<Record<string, string>> = {
  prescriptions: `insert into prescriptions (id, appointment_id, patient_id, drug, dose, written_at)
    select pg_temp.op('prescription', id), id, patient_id, pg_temp.one_of('drug', id, 50),
      pg_temp.one_of('dose', id, 51), starts_at + interval '20 minutes'
    from appointments where status = 'done' and pg_temp.pick(id, 52, 3) = 0`,
  medical_records: `insert into medical_records (id, patient_id, entry, at)
    select pg_temp.op('record', id), id,
      jsonb_build_object('title', pg_temp.one_of('reason', id, 60), 'author', 'Dr. ' || pg_temp.full_name(id, 61)),
      updated_at
    from patients`,
  invoices: `insert into invoices (appointment_id, patient_id, amount, status, issued_at)
    select id, patient_id, fee, case when pg_temp.pick(id, 70, 5) = 0 then 'open' else 'paid' end,
      starts_at + interval '1 day'
    from appointments where status = 'done' and pg_temp.pick(id, 71, 2) = 0 order by id`,
  messages: `insert into messages (patient_id, body, dedupe, sent_at)
    select patient_id, 'Your appointment on ' || to_char(starts_at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') || ' is booked.',
      'booking:' || op_id || ':' || id, updated_at
    from appointments where id % 3 = 0 order by id`,
  access_audit: `insert into access_audit (actor, action, patient_id, at)
    select 'reception', 'book', patient_id, updated_at from appointments where id % 3 = 0 order by id`,
}
