import t from 'tap'
import { must } from '../../model/errors.ts'
import { loadProject } from '../../model/project.ts'
import { STAGE_NAMES, STAGES, type Stage } from '../../model/stage.ts'
import { COPIES } from '../../model/stream.ts'
import { isOver, wantedStreams } from '../../sync/plan.ts'

const project = (...slices: string[]) => {
  const loaded = loadProject({
    banyan: {
      file: 'banyan.yaml',
      text: `version: 1
legacy: { url: http://127.0.0.1:1, database: env:A }
services: { rooms: { url: http://127.0.0.1:2, database: env:B, copies: [doctors] } }
`,
    },
    slices: slices.map(name => ({
      file: `slices/${name}.yaml`,
      text: `service: rooms\nstage: legacy\nroutes: [GET /${name}]\ntables: { ${name}: true }\n`,
    })),
  })
  return must(loaded.project, JSON.stringify(loaded.diagnostics))
}
const stages = (all: Record<string, Stage>) => new Map(Object.entries(all))
const FORWARD = { from: 'legacy', to: 'rooms', what: 'visits' }
const COPY = { from: 'legacy', to: 'rooms', what: COPIES }

void t.test('a slice has its streams while its stage says so, and no longer', async t => {
  for (const stage of STAGE_NAMES) {
    const wanted = wantedStreams(project('visits'), stages({ visits: stage }))
    const inMotion = STAGES[stage].stream !== 'off'
    t.equal(wanted.length, inMotion ? 3 : 0, stage)
    t.equal(isOver(FORWARD, project('visits'), stages({ visits: stage })), !inMotion, stage)
  }
})

void t.test('a file that is gone takes no stream down: it is the way back', async t => {
  for (const stage of ['sync', 'shadow', 'canary', 'moved'] as const) {
    t.equal(isOver(FORWARD, project(), stages({ visits: stage })), false, stage)
    t.equal(isOver(COPY, project(), stages({ visits: stage })), false, `${stage}: copies`)
  }
  t.equal(isOver(FORWARD, project(), stages({ visits: 'legacy' })), true)
  t.equal(isOver(COPY, project(), stages({ visits: 'legacy' })), true)
})

void t.test('what nobody has ever heard of is left alone', async t => {
  t.equal(isOver(FORWARD, project(), stages({})), false)
})
