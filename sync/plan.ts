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
