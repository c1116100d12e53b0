import t from 'tap'
import { acrossFrom, personOf, planOf, shortHash } from '../../control/plan.ts'
import { must } from '../../model/errors.ts'
import { loadProject } from '../../model/project.ts'
import { STAGE_NAMES } from '../../model/stage.ts'

const BANYAN = `version: 1
legacy: { url: http://127.0.0.1:1, database: env:A }
services:
  rooms: { url: http://127.0.0.1:2, database: env:B, copies: [doctors] }
  other: { url: http://127.0.0.1:3, database: env:C }
`
const SLICE = `service: rooms
stage: canary
routes: ['* /visits/**']
tables:
  visits: { to: visit, columns: { doctor_id: physician_id } }
  seats: true
foreignKeys: { visits.doctor_id: copy, bills.visit_id: loose }
canary: { by: [cookie:sid], percent: 5 }
cutover: { quietMs: 20ms }
`

const STEP = { slice: 'visits', from: 'canary', to: 'moved', percent: 0, epoch: 3 } as const

function hash(change: { slice?: [string, string]; banyan?: [string, string]; step?: object } = {}) {
  const edited = (text: string, [from, to]: [string, string] = ['', '']): string => {
    if (!text.includes(from)) throw new Error(`no "${from}" to change`)
    return text.replace(from, to)
  }
  const loaded = loadProject({
    banyan: { file: 'banyan.yaml', text: edited(BANYAN, change.banyan) },
    slices: [{ file: 'slices/visits.yaml', text: edited(SLICE, change.slice) }],
  })
  const project = must(loaded.project, JSON.stringify(loaded.diagnostics))
  return planOf(project, { ...STEP, ...change.step }).hash
}

void t.test('a hash changes with everything that the decision rests on', async t => {
  const before = hash()
  t.match(before, /^[0-9a-f]{64}$/)
  t.equal(shortHash({ hash: before }), before.slice(0, 6))
  for (const change of [
    { slice: ["['* /visits/**']", "['* /visits/**', 'GET /rooms']"] },
    { slice: ['  seats: true\n', ''] },
    { slice: ['doctor_id: physician_id', 'doctor_id: doctor'] },
    { slice: ['bills.visit_id: loose', 'bills.visit_id: check'] },
    { slice: ['quietMs: 20ms', 'quietMs: 21ms'] },
    { slice: ['by: [cookie:sid]', 'by: [header:x-tenant]'] },
    { slice: ['quietMs: 20ms', 'quietMs: 20ms, approvals: 1'] },
    { slice: ['service: rooms', 'service: other'] },
    { banyan: ['copies: [doctors]', 'copies: [doctors, wards]'] },
    { banyan: ['http://127.0.0.1:2', 'http://127.0.0.1:4'] },
    { step: { from: 'moved' } },
    { step: { to: 'shadow' } },
    { step: { percent: 5 } },
    { step: { epoch: 4 } },
  ] as Parameters<typeof hash>[0][]) {
    t.not(hash(change), before, JSON.stringify(change))
  }
})

void t.test('and with nothing else', async t => {
  const before = hash()
  for (const change of [
    // What the flip itself writes.
    { slice: ['stage: canary', 'stage: moved'] },
    { slice: ['percent: 5', 'percent: 50'] },
    { slice: ['cutover:', '# a comment\ncutover:'] },
    { banyan: ['http://127.0.0.1:3', 'http://127.0.0.1:5'] },
    // As it is read back where it was stored.
    { step: { hash: before, by: 'ann' } },
  ] as Parameters<typeof hash>[0][]) {
    t.equal(hash(change), before, JSON.stringify(change))
  }
  const moved = SLICE.split('\n')
    .filter(line => line !== '')
    .reverse()
  const tables = ['  seats: true', '  visits: { to: visit, columns: { doctor_id: physician_id } }']
  const others = moved.filter(line => !line.startsWith('  ') && line !== 'tables:')
  const text = [...others, 'tables:', ...tables, ''].join('\n')
  t.equal(hash({ slice: [SLICE, text] }), before, 'lines that are moved about')
})

void t.test('one person on two machines is one person', async t => {
  t.equal(personOf('ann@laptop'), personOf('Ann@bastion'))
  t.not(personOf('ann@ops'), personOf('bob@ops'))
  t.equal(personOf('ann'), 'ann')
  t.not(personOf('@ops'), 'ops')
})

void t.test('only canary and moved have a step across', async t => {
  t.same(
    STAGE_NAMES.map(stage => acrossFrom(stage)),
    [undefined, undefined, undefined, 'moved', 'canary', undefined],
  )
})
