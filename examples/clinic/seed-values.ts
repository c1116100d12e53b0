/** The words that seeded rows are made of, and the functions that choose among them. All of it is temporary. */

const VALUES: Readonly<Record<string, readonly string[]>> = {
  given: [
    ...[
      'Ana',
      'Bruno',
      'Carla',
      'Daniel',
      'Eva',
      'Filipe',
      'Greta',
      'Hugo',
      'Inês',
      'João',
      'Karin',
    ],
    ...[
      'Luís',
      'Maria',
      'Nuno',
      'Olga',
      'Pedro',
      'Quirin',
      'Rosa',
      'Søren',
      'Teresa',
      'Uwe',
      'Vera',
    ],
    ...['Walter', 'Xénia', 'Yara', 'Zoë', 'Amir', 'Chiara', 'Emre', 'Fatima', 'Giulia', 'Ivan'],
  ],
  family: [
    ...[
      'Almeida',
      'Barros',
      'Costa',
      'Dias',
      "O'Brien",
      'Fonseca',
      'Gomes',
      'Hansen',
      'Ibrahim',
      'Jansen',
    ],
    ...[
      'Köhler',
      'Lima',
      'Martins',
      'Novák',
      'Oliveira',
      'Pereira',
      'Quintela',
      'Ribeiro',
      'Santos',
      'Teixeira',
    ],
    ...[
      'Ünal',
      'Vieira',
      'Weber',
      'Ximenes',
      'Yilmaz',
      'Zimmer',
      'Araújo',
      'Brandt',
      'Cunha',
      'Duarte',
    ],
  ],
  specialty: [
    'General practice',
    'Cardiology',
    'Dermatology',
    'Paediatrics',
    'Orthopaedics',
    'Nursing',
  ],
  tag: [
    'diabetes',
    'allergy:penicillin',
    'allergy:latex',
    'pregnancy',
    'hypertension',
    'interpreter',
  ],
  status: [
    'booked',
    'booked',
    'booked',
    'done',
    'done',
    'done',
    'done',
    'arrived',
    'cancelled',
    'no_show',
  ],
  reason: [
    'Check-up',
    'Follow-up',
    'Vaccination',
    'Blood test',
    'Back pain',
    'Prescription renewal',
    'X-ray',
  ],
  channel: ['phone', 'web', 'desk'],
  drug: ['Amoxicillin', 'Ibuprofen', 'Metformin', 'Ramipril', 'Salbutamol', 'Levothyroxine'],
  dose: ['1 × 500 mg', '2 × 250 mg', '3 × 400 mg', '1 × 5 mg'],
}

const list = (values: readonly string[]) =>
  `array[${values.map(value => `'${value.replaceAll("'", "''")}'`).join(', ')}]`

const chosen = Object.entries(VALUES).map(([name, values]) => {
  const index = `1 + pg_temp.pick(i, salt, ${values.length})`
  return `when '${name}' then (${list(values)})[${index}]`
})

/** In front of everything: where the choice comes from. `$seed` is filled in. */
export const REFERENCE: readonly string[] = [
  `create function pg_temp.pick(i bigint, salt int, n int) returns int language sql immutable as $f$
     select ((hashint8extended(i, $seed * 1000003 + salt) & 9223372036854775807) % n)::int
   $f$`,
  `create function pg_temp.op(kind text, i bigint) returns uuid language sql immutable as $f$
     select md5(kind || ':' || '$seed' || ':' || i)::uuid
   $f$`,
]

export const GENERATORS: readonly string[] = [
  `create function pg_temp.one_of(kind text, i bigint, salt int) returns text language sql immutable as $f$
     select case kind ${chosen.join('\n')} end
   $f$`,
  `create function pg_temp.full_name(i bigint, salt int) returns text language sql immutable as $f$
     select pg_temp.one_of('given', i, salt) || ' ' || pg_temp.one_of('family', i, salt + 1000)
   $f$`,
  // One note in two hundred is a pasted letter of about 9 kB that doesn't compress: stored out of line (TOAST).
  `create function pg_temp.notes(i bigint) returns text language sql immutable as $f$
     select case
       when i % 200 = 7 then (select string_agg(md5(i || ':' || n || '$seed'), ' ') from generate_series(1, 280) n)
       when pg_temp.pick(i, 31, 3) = 0 then pg_temp.one_of('reason', i, 32) || ', asked for by phone.'
     end
   $f$`,
]
