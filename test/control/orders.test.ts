import t from 'tap'
import { buildOrders } from '../../control/orders.ts'
import { must } from '../../model/errors.ts'
import { loadProject } from '../../model/project.ts'

const BANYAN = `version: 1
legacy: { url: http://127.0.0.1:1, database: env:A }
services: { rooms: { url: http://127.0.0.1:2, database: env:B } }
`
const SLICE = `service: rooms
stage: legacy
routes: ['* /visits/**']
`

function orderOf(more: string) {
  const loaded = loadProject({
    banyan: { file: 'banyan.yaml', text: BANYAN },
    slices: [{ file: 'slices/visits.yaml', text: SLICE + more }],
  })
  return buildOrders(must(loaded.project, JSON.stringify(loaded.diagnostics)), [], []).slices[0]
}

void t.test('how much is shadowed goes from the file to the routers', async t => {
  t.match(orderOf('shadow: { sample: 12.5 }'), { name: 'visits', sample: 12.5 })
  t.match(orderOf(''), { sample: 100 }, 'everything, where the file does not say')
})
