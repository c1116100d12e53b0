import t from 'tap'
import { sequenceStarts, type SequenceRow } from '../../control/sequences.ts'

const row = (relation: string, attribute: string, last: string, top = '9223372036854775807') =>
  ({
    relation,
    attribute,
    sequence: `${relation}_${attribute}_seq`,
    last,
    top,
  }) satisfies SequenceRow
const SLICE = { tables: { visits: { to: 'visit', columns: { no: 'number' }, left: [] } } }

void t.test('the new owner draws past both sides, whoever that is', async t => {
  const rows = {
    legacy: [row('public.visits', 'no', '700', '2147483647'), row('public.bills', 'id', '9')],
    service: [row('public.visit', 'number', '40')],
  }
  t.same(sequenceStarts(SLICE, rows, 'service'), [
    {
      ...{ sequence: 'public.visit_number_seq', table: 'public.visit', column: 'number' },
      ...{ other: '700', typeMax: '2147483647' },
    },
  ])
  t.match(sequenceStarts(SLICE, rows, 'legacy'), [
    { sequence: 'public.visits_no_seq', column: 'no', other: '40', typeMax: '2147483647' },
  ])
})

void t.test('a sequence that only the new owner has is moved as well', async t => {
  const rows = { legacy: [], service: [row('public.visit', 'number', '1')] }
  t.match(sequenceStarts(SLICE, rows, 'service'), [
    { sequence: 'public.visit_number_seq', other: '0', typeMax: '9223372036854775807' },
  ])
  t.same(sequenceStarts(SLICE, rows, 'legacy'), [], 'legacy draws its numbers otherwise')
})
