/** Sequences that a column merely draws from move on with the owner, like those that it owns. */
import t from 'tap'
import { prepare } from '../../postgres/gate.ts'
import { gateSides, outcome, preparation, put } from './gate-sides.ts'

const sides = await gateSides(t)
const { service: at, system } = sides
const app = await at.app()

interface SequenceRow {
  relation: string
  attribute: string
  sequence: string
  last_value: string
  type_max: string
}

const DDL = `CREATE SEQUENCE public.tickets; CREATE SEQUENCE public."Invoices"; CREATE DOMAIN public.no AS bigint;
  CREATE TABLE public.orders (id bigint PRIMARY KEY DEFAULT nextval('public.tickets'),
    invoice text DEFAULT 'INV-' || nextval('public."Invoices"'), own serial, made public.no GENERATED ALWAYS AS (1) STORED);
  CREATE TABLE public.returns (id int PRIMARY KEY DEFAULT nextval('public.tickets'), amount numeric, at date);
  CREATE SEQUENCE public.amounts OWNED BY public.returns.amount`

await t.test('a sequence that is only a default is known, and moves past both sides', async t => {
  const relations = ['public.orders', 'public.returns']
  const slice = await sides.slice({
    ddl: { legacy: DDL, service: DDL },
    relations: { legacy: relations, service: relations },
  })
  const { rows } = await at.apply.query<SequenceRow>(
    'SELECT * FROM banyan.sequences_of($1) ORDER BY relation, attribute',
    [slice.name],
  )
  t.strictSame(
    rows.map(row => [row.relation, row.attribute, row.sequence, row.type_max]),
    [
      ['public.orders', 'id', 'public.tickets', '9223372036854775807'],
      ['public.orders', 'invoice', 'public."Invoices"', '9223372036854775807'],
      ['public.orders', 'own', 'public.orders_own_seq', '2147483647'],
      ['public.returns', 'amount', 'public.amounts', '9223372036854775807'],
      ['public.returns', 'id', 'public.tickets', '2147483647'],
    ],
  )
  await at.apply.query(
    `INSERT INTO public.orders (id, invoice, own) VALUES (40, 'INV-x', 1); INSERT INTO public.returns VALUES (50, 7.5)`,
  )
  await put(at, slice, system, 'closed 0, REACHED 1@A, progress 0@A')
  const sequences = rows.map(row => ({
    ...{ sequence: row.sequence, table: row.relation, column: row.attribute },
    ...{ other: row.sequence.includes('Invoices') ? '30' : '1', typeMax: row.type_max },
  }))
  const wanted = { ...preparation('service', slice, 1), sequences, headroom: 100 }
  t.equal(await outcome(prepare(at.apply, wanted)), 'done')
  const next = async (sequence: string) =>
    Number((await app.query<{ n: string }>('SELECT nextval($1) AS n', [sequence])).rows[0]?.n)
  t.ok((await next('public.tickets')) > 150, 'past the rows of both tables')
  t.equal(await next('public."Invoices"'), 131, 'past the other side: no number is in a text')
  t.ok((await next('public.amounts')) > 100)
})
