/** Whether both databases together can hold the same rows: what `banyan doctor` asks where both let it in. */
import { BanyanError } from '../model/errors.ts'
import { copyOf, renamesOf } from '../model/mapping.ts'
import type { Project, Slice } from '../model/project.ts'
import { preflight } from '../sync/preflight.ts'
import { oneWayBlockers } from '../sync/preflight-columns.ts'
import type { PreflightFacts, SideFacts } from '../sync/preflight-facts.ts'
import type { Problem } from './context.ts'
import { problem, ROLES, SERVER, TABLES } from './doctor-checks.ts'
import type { Examined } from './doctor-look.ts'
import type { SideSeen } from './doctor-side.ts'

/** Undefined where one of the four roles didn't get in. */
export function columnPairs(
  slice: Slice,
  project: Project,
  { legacy, service }: Examined['sides'],
): Problem[] | undefined {
  const source = legacy && factsOf(legacy)
  const target = service && factsOf(service)
  if (!source || !target) return undefined
  const tables = renamesOf(slice)
  const copies = project.banyan.services[slice.service]?.copies ?? []
  const facts = { source, target, viaRoot: true }
  const found = [
    ...preflight({ ...facts, tables, direction: 'back' }),
    ...preflight({ ...facts, tables: copies.map(copyOf), direction: 'forward' }),
    ...oneWay({ ...facts, tables, direction: 'back' }),
  ]
  // What one side shows by itself was asked there.
  const asked = new Set([...SERVER, ...ROLES, ...TABLES].flatMap(([, codes]) => codes))
  return found.filter(each => !asked.has(each.code)).map(problem)
}

function oneWay(facts: PreflightFacts): BanyanError[] {
  return facts.tables.flatMap(wanted => {
    const from = facts.source.capture.catalog.get(wanted.table)
    const to = facts.target.apply.catalog.get(wanted.to)
    try {
      return from && to ? oneWayBlockers({ facts, wanted, from, to }) : []
    } catch (error) {
      if (error instanceof BanyanError) return [] // preflight has said it
      throw error
    }
  })
}

function factsOf({ wanted, capture, apply }: SideSeen): SideFacts | undefined {
  return capture && apply && { name: wanted.name, where: wanted.urls.capture, capture, apply }
}
