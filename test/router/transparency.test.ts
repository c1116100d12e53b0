/** Law L1: a client can't tell the façade from the monolith. Raw bytes, direct and through, in every stage. */
import t from 'tap'
import type { SliceOrder } from '../../model/orders.ts'
import type { Stage } from '../../model/stage.ts'
import { facade, rawOrigin } from '../support/facade.ts'
import type { RawSocket, Teardown } from '../support/facade.ts'
import { ordersOf, sliceOrder } from '../support/router-control.ts'
import { arrivals, comparable, pass } from '../support/wire.ts'
import type { Passage } from '../support/wire.ts'
import { WIRE_CASES } from '../support/wire-cases.ts'

// A shadow that differs is dropped at once.
const LIMITS = { shadowSettleMs: 1 }

interface Row {
  readonly name: string
  readonly stage: Stage
  readonly changes?: Partial<SliceOrder>
  /** What the slice's service gets: none of the cases, some of them, a copy of some, or each that has a path. */
  readonly service: 'nothing' | 'some' | 'copies' | 'all'
  /** Answers to unsafe requests carry the façade's mark. */
  readonly marked?: true
}

const ROWS: readonly Row[] = [
  { name: 'legacy', stage: 'legacy', service: 'nothing' },
  { name: 'shadow', stage: 'shadow', service: 'copies' },
  { name: 'canary, for a key that stays', stage: 'canary', service: 'nothing' },
  {
    name: 'canary, for a key that goes',
    stage: 'canary',
    changes: { percent: 100 },
    service: 'some',
    marked: true,
  },
  { name: 'moved', stage: 'moved', service: 'all' },
]

// The slice has every path, and Host is the key, so that the cases are the same bytes in every stage.
const EVERYTHING = { routes: [{ methods: [], pattern: '/**' }], by: ['header:host'], include: [] }

async function stand(t: Teardown, row: Row) {
  const origins = arrivals()
  const copies = row.service === 'copies'
  const legacy = await rawOrigin(t, origins.at('legacy'))
  const service = await rawOrigin(t, copies ? answerCopies : origins.at('service'))
  const slice = sliceOrder(row.stage, { ...EVERYTHING, ...row.changes })
  const f = await facade(t, ordersOf(legacy.url, service.url, [slice]), { limits: LIMITS })
  f.freshness.watermarks.set(slice.name, 100n)
  // A copy that is behind is never compared a second time: that would be a request to legacy beside the cases.
  if (copies) f.freshness.position = 200n
  return { origins, f, legacy }
}

async function answerCopies(socket: RawSocket): Promise<void> {
  for (;;) {
    await socket.take('\r\n\r\n')
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
  }
}

for (const row of ROWS) {
  void t.test(`every case is the same, direct and through the façade: ${row.name}`, async t => {
    const { origins, f, legacy } = await stand(t, row)
    let [same, served] = [0, 0]
    for (const which of WIRE_CASES) {
      const direct = await pass(t, legacy.port, which, origins)
      const through = await pass(t, f.port, which, origins)
      if (t.strictSame(comparable(through), comparable(direct), which.name)) same++
      if (through.by === 'service') served++
      const safe = /^(?:GET|HEAD|OPTIONS|TRACE) /.test(which.send)
      t.equal(isMarked(through), row.marked === true && !safe, `${which.name}: its mark`)
    }
    t.comment(`${same} of ${WIRE_CASES.length} cases are the same`)
    if (row.service === 'some') t.ok(served > 0 && served < WIRE_CASES.length)
    else t.equal(served, row.service === 'all' ? WIRE_CASES.length - 1 : 0, 'OPTIONS * has no path')
    if (row.service === 'copies') {
      await f.control.reported('appointments', r => r.shadow.dropped > 0)
    }
  })
}

function isMarked({ got }: Passage): boolean {
  return (
    typeof got !== 'string' && got.headers.some(line => /^set-cookie: banyan-wrote=/i.test(line))
  )
}
