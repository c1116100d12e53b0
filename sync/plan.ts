/** Which streams must run, given the files and where each slice stands: pure. */
import type { Project, Slice } from '../model/project.ts'
import { STAGES, type Stage } from '../model/stage.ts'
import { COPIES, type StreamName } from '../model/stream.ts'

export interface StreamTask {
  readonly stream: StreamName
  /** Undefined for read copies. */
  readonly slice: Slice | undefined
  /** The service at one end. */
  readonly service: string
  /** While the census is taken, the stream reads the other tables too. */
  readonly census: boolean
}

export function wantedStreams(project: Project, stages: ReadonlyMap<string, Stage>): StreamTask[] {
  const moving = project.slices.filter(slice => {
    const stage = stages.get(slice.name)
    const owns = Object.keys(slice.tables).length > 0
    return owns && stage !== undefined && STAGES[stage].stream !== 'off'
  })
  const services = new Set(moving.map(slice => slice.service))
  const copies = [...services].filter(name => project.banyan.services[name]!.copies.length > 0)
  return [
    ...copies.map(service => ({
      stream: { from: 'legacy', to: service, what: COPIES },
      slice: undefined,
      service,
      census: false,
    })),
    ...moving.flatMap(slice => {
      const { name, service } = slice
      const census = stages.get(name) === 'sync'
      return [
        { stream: { from: 'legacy', to: service, what: name }, slice, service, census },
        { stream: { from: service, to: 'legacy', what: name }, slice, service, census: false },
      ]
    }),
  ]
}

/**
 * May a stream that nobody wants be taken down? Only where the slice's stage says so. A slice whose file is gone while it
 * is in motion keeps its streams' slots and progress: they are its way back.
 */
export function isOver(
  stream: StreamName,
  project: Project,
  stages: ReadonlyMap<string, Stage>,
): boolean {
  const inMotion = (stage: Stage | undefined): boolean =>
    stage !== undefined && STAGES[stage].stream !== 'off'
  if (stream.what !== COPIES) return stages.has(stream.what) && !inMotion(stages.get(stream.what))
  const known = new Set(project.slices.map(slice => slice.name))
  return ![...stages].some(([slice, stage]) => inMotion(stage) && !known.has(slice))
}
