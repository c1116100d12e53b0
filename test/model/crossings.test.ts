import t from 'tap'
import { crossingKeys, onDeleteOf, unansweredCrossings } from '../../model/crossings.ts'
import type { CrossingFacts, ForeignKeyFact } from '../../model/crossings.ts'
import { renderDiagnostics } from '../../model/diagnostic.ts'
import { must } from '../../model/errors.ts'
import { requireProject } from '../../model/project.ts'
import { APPOINTMENTS_YAML, brief, load, swap } from '../support/project-files.ts'

function key(
  child: string,
  parent: string,
  onDelete: ForeignKeyFact['onDelete'] = 'no action',
): ForeignKeyFact {
  const [table = '', columns = ''] = child.split('.')
  const name = `${table}_fkey`
  return {
    name,
    table,
    columns: columns.split('+'),
    parentTable: parent,
    parentColumns: ['id'],
    onDelete,
  }
}

const FACTS: CrossingFacts = {
  foreignKeys: [
    key('appointments.patient_id', 'patients', 'cascade'),
    key('appointments.practitioner_id', 'practitioners'),
    key('prescriptions.appointment_id', 'appointments', 'set null'),
    key('invoices.patient_id', 'patients'),
    key('appointments.follows_id', 'appointments'),
  ],
  triggers: [
    { name: 'appointments_touch', table: 'appointments' },
    { name: 'patients_touch', table: 'patients' },
  ],
  sideWrites: new Map([
    ['messages', 0.31],
    ['appointments', 1],
    ['access_audit', 0.004],
  ]),
}
const NO_FACTS: CrossingFacts = { foreignKeys: [], triggers: [], sideWrites: new Map() }

function ask(text: string, facts: CrossingFacts, copies = ['patients', 'practitioners']) {
  const loaded = load({ slices: { appointments: text } })
  const slice = must(requireProject(loaded).slices[0], 'slice')
  const source = must(loaded.sources.slices.get('appointments'), 'source')
  return unansweredCrossings({ slice, source, copies, facts })
}

void t.test(
  'what has no answer is named, with the place of the answer and the line to add',
  async t => {
    const found = ask(APPOINTMENTS_YAML, FACTS)
    t.equal(
      renderDiagnostics(found, { color: false }),
      `slices/appointments.yaml:8:1  SIDE_WRITE
  31 % of the transactions of slice appointments also write table messages; who
  writes it after the move?
  8 | tables:
    | ^^^^^^
  hint: add a section: \`sideWrites: { messages: service | legacy | dropped,
  access_audit: service | legacy | dropped }\`

slices/appointments.yaml:8:1  SIDE_WRITE
  less than 1 % of the transactions of slice appointments also write table
  access_audit; who writes it after the move?
  8 | tables:
    | ^^^^^^
  hint: it is in the section that is to be added, above

slices/appointments.yaml:10:1  FK_CROSSES
  foreign key appointments.practitioner_id (appointments to practitioners)
  crosses the edge of slice appointments and has no answer
  10 | foreignKeys:                             # what \`banyan lint\` asks for
     | ^^^^^^^^^^^
  hint: add a line under foreignKeys: \`appointments.practitioner_id: copy |
  loose | refuse\` (copy: the service keeps it, against a read copy; loose: it is
  dropped while the service owns the table; refuse: legacy refuses to delete
  such a parent)`,
    )
  },
)

void t.test('keys without a section get one, which can be pasted as it is', async t => {
  const text = APPOINTMENTS_YAML.replace(/^foreignKeys:.*\n( {2}.*\n)+/m, '')
  const found = ask(text, { ...NO_FACTS, foreignKeys: FACTS.foreignKeys })
  t.match(
    found[0]?.hint,
    'add a section: `foreignKeys: { appointments.patient_id: copy | loose | refuse, appointments.practitioner_id: copy | loose | refuse, prescriptions.appointment_id: check | loose }` (check: legacy keeps the key, for its own writes; ',
  )
  t.same(
    found.slice(1).map(each => each.hint),
    Array.from({ length: 2 }, () => 'it is in the section that is to be added, above'),
  )
})

void t.test('when all is answered, nothing is asked', async t => {
  const text = swap(
    APPOINTMENTS_YAML,
    'triggers:',
    `  appointments.practitioner_id: refuse
sideWrites: { messages: legacy, access_audit: dropped }
triggers:`,
  )
  t.strictSame(brief(ask(text, FACTS)), [])
})

void t.test('only keys with one end in the slice cross its edge', async t => {
  const slice = { tables: { appointments: { to: 'appointment', columns: {}, left: [] } } }
  t.strictSame(
    crossingKeys(slice, FACTS.foreignKeys).map(one => [one.key, one.outside]),
    [
      ['appointments.patient_id', 'parent'],
      ['appointments.practitioner_id', 'parent'],
      ['prescriptions.appointment_id', 'child'],
    ],
  )
})

void t.test('a key of several columns is named by all of them', async t => {
  const foreignKeys = [key('moves.practitioner_id+starts_at', 'appointments')]
  t.match(ask(APPOINTMENTS_YAML, { ...NO_FACTS, foreignKeys })[0], {
    code: 'FK_CROSSES',
    hint: '`moves.practitioner_id+starts_at: check | loose`',
  })
  const text = swap(
    APPOINTMENTS_YAML,
    'triggers:',
    '  moves.practitioner_id+starts_at: check\ntriggers:',
  )
  t.strictSame(ask(text, { ...NO_FACTS, foreignKeys }), [])
})

void t.test('an answer for the other direction is refused with those that make sense', async t => {
  const crossed = swap(
    swap(APPOINTMENTS_YAML, 'patient_id: copy', 'patient_id: check'),
    'appointment_id: loose',
    'appointment_id: copy',
  )
  const found = ask(crossed, { ...NO_FACTS, foreignKeys: FACTS.foreignKeys })
  t.match(found, [
    { code: 'FK_CROSSES' },
    { code: 'FK_ANSWER', line: 11, hint: 'answer `copy` or `loose` or `refuse`' },
    { code: 'FK_ANSWER', line: 12, hint: 'answer `check` or `loose`' },
  ])
})

void t.test('copy needs the read copy', async t => {
  t.match(ask(APPOINTMENTS_YAML, { ...NO_FACTS, foreignKeys: FACTS.foreignKeys }, []), [
    { code: 'FK_CROSSES' },
    { code: 'FK_COPY', line: 11, hint: 'add patients to services.scheduling.copies' },
  ])
})

void t.test('a trigger on an owned table needs its word; one elsewhere does not', async t => {
  const text = swap(APPOINTMENTS_YAML, 'triggers: { appointments_touch: skip }\n', '')
  t.match(ask(text, { ...NO_FACTS, triggers: FACTS.triggers }), [
    { code: 'TRIGGER_UNANSWERED', hint: '`triggers: { appointments_touch: run | skip }`' },
  ])
})

void t.test(
  'an answer to nothing that looks like the missing one is where the typo is',
  async t => {
    const text = swap(
      swap(APPOINTMENTS_YAML, 'prescriptions.', 'prescription.'),
      'appointments_touch',
      'appointment_touch',
    )
    const facts = { ...FACTS, sideWrites: new Map(), foreignKeys: FACTS.foreignKeys.slice(2, 3) }
    t.match(ask(text, facts), [
      {
        code: 'FK_CROSSES',
        line: 12,
        column: 3,
        hint: 'did you mean "prescriptions.appointment_id"?',
      },
      {
        code: 'TRIGGER_UNANSWERED',
        line: 13,
        column: 13,
        hint: 'did you mean "appointments_touch"?',
      },
    ])
  },
)

void t.test(
  'a deleted parent does to a loose key what the file says, else what the key did',
  async t => {
    const slice = {
      tables: { appointments: { to: 'appointment', columns: {}, left: [] as string[] } },
      foreignKeys: { 'prescriptions.appointment_id': { answer: 'loose', onDelete: 'keep' } },
    } as const
    const by = (list: readonly ForeignKeyFact[], answers: Parameters<typeof onDeleteOf>[0]) =>
      crossingKeys(slice, list).map(one => onDeleteOf(answers, one))
    const keys = FACTS.foreignKeys.slice(0, 3)
    t.strictSame(by(keys, { foreignKeys: {} }), ['cascade', 'keep', 'null'])
    t.strictSame(by(keys, slice), ['cascade', 'keep', 'keep'])
  },
)
