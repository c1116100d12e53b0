import fc from 'fast-check'
import t from 'tap'
import { UNCHANGED } from '../../model/change.ts'
import {
  backwards,
  completeMapping,
  inverse,
  mapRow,
  NOTHING_LEFT,
  type TableMapping,
} from '../../model/mapping.ts'

const SEED = Number(process.env['SEED'] ?? 7)
const plain = (name: string) => ({ name, generated: null })
const wanted = {
  table: 'public.appointments',
  to: 'public.appointment',
  renames: new Map([['practitioner_id', 'doctor_id']]),
  left: NOTHING_LEFT,
}

await t.test('a mapping holds every column that both sides have and neither computes', async t => {
  const source = [
    ...['id', 'practitioner_id', 'legacy_only', 'total'].map(plain),
    { name: 'search', generated: 'stored' },
  ]
  const target = [
    ...['search', 'id', 'doctor_id', 'new_only'].map(plain),
    { name: 'total', generated: 'stored' },
  ]
  const mapping = completeMapping(wanted, source, target)
  t.strictSame(
    [...mapping.columns],
    [
      ['id', 'id'],
      ['practitioner_id', 'doctor_id'],
    ],
  )
  t.match(mapping, { table: 'public.appointments', to: 'public.appointment' })
})

await t.test('a column that stays behind is carried in neither direction', async t => {
  const legacy = ['id', 'note', 'memo'].map(plain)
  const service = ['id', 'note'].map(plain)
  const renames = new Map([['memo', 'note']])
  const left = { table: new Set(['note']), to: new Set<string>() }
  const there = completeMapping({ ...wanted, renames, left }, legacy, service)
  t.strictSame(Object.fromEntries(there.columns), { id: 'id', memo: 'note' })
  const back = completeMapping(backwards({ ...wanted, renames, left }), service, legacy)
  t.strictSame(back, inverse(there))
  const alone = completeMapping(backwards({ ...wanted, renames: new Map(), left }), service, legacy)
  t.strictSame([...alone.columns.keys()], ['id'])
})

await t.test('two columns can not go to the same one', async t => {
  const source = ['practitioner_id', 'doctor_id'].map(plain)
  t.throws(() => completeMapping(wanted, source, [plain('doctor_id')]), { code: 'MAPPING_CLASH' })
})

await t.test('a row goes over and comes back as it was, without what does not travel', async t => {
  t.comment(`seed ${SEED}`)
  const name = fc.string({ minLength: 1, maxLength: 5 })
  const value = fc.oneof(fc.string(), fc.constant(null), fc.constant(UNCHANGED))
  const row = fc.uniqueArray(fc.tuple(name, value), { selector: ([key]) => key })
  const property = fc.property(row, fc.nat(), (entries, skip) => {
    const travels = entries.filter((_, i) => i % 3 !== skip % 3)
    const columns = new Map(travels.map(([from], i) => [from, `to_${i}`]))
    const mapping: TableMapping = { table: 'a', to: 'b', columns }
    const there = mapRow(mapping, new Map(entries))
    t.strictSame([...mapRow(inverse(mapping), there)], travels)
    t.strictSame(inverse(inverse(mapping)), mapping)
  })
  fc.assert(property, { seed: SEED, numRuns: 50 })
})
