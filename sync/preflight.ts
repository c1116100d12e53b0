/** What would go wrong if these tables were kept in step: everything at once, before anything is changed. */
import { BanyanError } from '../model/errors.ts'
import { PREFLIGHT_ERRORS as RULES } from '../model/errors-preflight.ts'
import type { TableRenames } from '../model/mapping.ts'
import { rowKey, type TableFacts } from '../postgres/catalog.ts'
import { captureBlockers, replicaBlocker } from '../postgres/probes.ts'
import { columnBlockers } from './preflight-columns.ts'
import { missingTable } from './missing-table.ts'
import type { PreflightFacts, RoleView, SideFacts } from './preflight-facts.ts'

/** What blocks `sync`; empty when nothing does. Pure. */
export function preflight(facts: PreflightFacts): BanyanError[] {
  const { source, target, direction } = facts
  const back = direction === 'back'
  return [
    ...serverBlockers(source, { captures: true, applies: back }),
    ...serverBlockers(target, { captures: back, applies: true }),
    ...(back ? encodingBlockers(source, target) : []),
    ...sharedTargets(facts.tables),
    ...facts.tables.flatMap(table => pairBlockers(facts, table)),
    // A read copy draws nothing.
    ...(back
      ? sharedSequences(
          source,
          facts.tables.map(each => each.table),
        )
      : []),
    ...(back
      ? sharedSequences(
          target,
          facts.tables.map(each => each.to),
        )
      : []),
  ]
}

function serverBlockers(
  side: SideFacts,
  does: { readonly captures: boolean; readonly applies: boolean },
): BanyanError[] {
  const { capture, apply, where, name } = side
  const blockers = does.captures
    ? captureBlockers(capture.server, where, { slots: 1, senders: 1 })
    : []
  const { encoding } = apply.server
  const denied = does.applies ? replicaBlocker(apply.server) : null
  if (denied) blockers.push(denied)
  if (encoding === 'SQL_ASCII') blockers.push(new BanyanError(RULES.ENCODING, [name]))
  return blockers
}

/** SQL_ASCII is a matter of its own, and said already. */
function encodingBlockers(source: SideFacts, target: SideFacts): BanyanError[] {
  const here = source.apply.server.encoding
  const there = target.apply.server.encoding
  if (here === there || [here, there].includes('SQL_ASCII')) return []
  const details = [source.name, here, target.name, there]
  return [new BanyanError(RULES.ENCODING_DIFFERS, details)]
}

function sharedTargets(tables: readonly TableRenames[]): BanyanError[] {
  const first = new Map<string, string>()
  return tables.flatMap(({ table, to }) => {
    const other = first.get(to)
    if (other !== undefined) return [new BanyanError(RULES.TARGET_SHARED, [other, table, to])]
    first.set(to, table)
    return []
  })
}

/** Once the slice has moved, its tables and those outside would draw from two sequences that know nothing of each other. */
function sharedSequences({ name, apply }: SideFacts, tables: readonly string[]): BanyanError[] {
  const drawn = tables.flatMap(table => apply.catalog.get(table)?.drawnFrom ?? [])
  const bySequence = new Map(drawn.map(each => [each.sequence, each.tables]))
  return [...bySequence].flatMap(([sequence, all]) => {
    const [inside, outside] = [true, false].map(mine =>
      all.filter(table => tables.includes(table) === mine).join(', '),
    )
    if (!outside) return []
    return [new BanyanError(RULES.SEQUENCE_SHARED, [name, sequence, inside ?? '', outside])]
  })
}

function pairBlockers(facts: PreflightFacts, wanted: TableRenames): BanyanError[] {
  const { source, target, direction, viaRoot } = facts
  const from = source.capture.catalog.get(wanted.table)
  const to = target.apply.catalog.get(wanted.to)
  const blockers: BanyanError[] = []
  if (!from) blockers.push(missingTable(source.name, wanted.table, source.capture.known))
  if (!to) blockers.push(missingTable(target.name, wanted.to, target.apply.known))
  const back = direction === 'back'
  if (from) blockers.push(...tableBlockers(source, from, { read: true, written: back, viaRoot }))
  if (to) blockers.push(...tableBlockers(target, to, { read: back, written: true, viaRoot }))
  if (!from || !to) return blockers
  return [...blockers, ...columnBlockers({ facts, wanted, from, to })]
}

export interface Use {
  /** By the stream and the copy. */
  readonly read: boolean
  /** By the applier. */
  readonly written: boolean
  readonly viaRoot: boolean
}

/** A side of which perhaps only one role has got in. */
export type SeenSide = Pick<SideFacts, 'name'> & {
  readonly [Role in 'capture' | 'apply']: RoleView | undefined
}

/** The part of preflight that one side shows by itself, for when the other doesn't answer. Pure. */
export function sideBlockers(side: SeenSide, tables: readonly string[], use: Use): BanyanError[] {
  const view = side.capture ?? side.apply
  if (!view) return []
  return tables.flatMap(name => {
    const table = view.catalog.get(name)
    if (!table) return [missingTable(side.name, name, view.known)]
    return tableBlockers(side, table, use)
  })
}

function tableBlockers(side: SeenSide, table: TableFacts, use: Use): BanyanError[] {
  const { name, capture, apply } = side
  return [
    ...kindBlockers(name, table, use),
    ...(use.read ? identityBlockers(name, table) : []),
    ...table.rules.map(
      rule => new BanyanError(RULES.RULE_WRITES, [name, rule.name, table.name, rule.event]),
    ),
    ...table.subscriptions.map(each => new BanyanError(RULES.SUBSCRIBED, [name, each, table.name])),
    ...(use.read && capture ? roleBlockers(name, capture, table.name, ['select']) : []),
    ...(use.written && apply ? roleBlockers(name, apply, table.name, WRITES) : []),
  ]
}

const WRITES = ['select', 'insert', 'update', 'delete', 'truncate'] as const

function kindBlockers(name: string, table: TableFacts, { viaRoot }: Use): BanyanError[] {
  const what = [
    table.kind === 'foreign' ? 'a foreign table' : '',
    table.kind === 'view' || table.kind === 'materialized view' ? `a ${table.kind}` : '',
    table.persistence === 'unlogged' ? 'unlogged' : '',
    table.persistence === 'temporary' ? 'temporary' : '',
    table.kind === 'partitioned' && !viaRoot
      ? 'partitioned, and its publication would name the partitions'
      : '',
    table.partitionOf === null ? '' : `a partition of ${table.partitionOf} (name that one)`,
    ...table.leaves.map(leaf =>
      leaf.kind === 'foreign' ? `partitioned with the foreign table ${leaf.name}` : '',
    ),
    table.inheritedBy.length > 0 ? `inherited by ${table.inheritedBy.join(', ')}` : '',
    table.inheritsFrom.length > 0 ? `an heir of ${table.inheritsFrom.join(', ')}` : '',
  ].filter(text => text !== '')
  return what.map(text => new BanyanError(RULES.TABLE_KIND, [name, table.name, text]))
}

function identityBlockers(name: string, table: TableFacts): BanyanError[] {
  if (!['table', 'partitioned'].includes(table.kind)) return []
  const keyless = rowKey(table) === null ? [table.name] : table.frozen
  return keyless.map(each => {
    const remedy =
      each === table.name ? identityRemedy(table) : `give ${each} that of ${table.name}`
    return new BanyanError(RULES.NO_IDENTITY, [name, each, table.replicaIdentity, remedy])
  })
}

function identityRemedy({ name, keys }: TableFacts): string {
  const primary = keys.find(key => key.primary)
  if (primary?.usable) return `ALTER TABLE ${name} REPLICA IDENTITY DEFAULT`
  const usable = keys.find(key => key.usable)
  if (usable) return `ALTER TABLE ${name} REPLICA IDENTITY USING INDEX ${usable.name}`
  return `give ${name} a primary key`
}

function roleBlockers(
  name: string,
  view: RoleView,
  tableName: string,
  privileges: readonly (keyof TableFacts['may'])[],
): BanyanError[] {
  const table = view.catalog.get(tableName)
  const { role } = view.server
  if (!table) return [missingTable(name, tableName, view.known)]
  const missing = privileges.filter(privilege => !table.may[privilege])
  const blockers: BanyanError[] = []
  if (missing.length > 0) {
    const list = missing.map(privilege => privilege.toUpperCase()).join(', ')
    blockers.push(new BanyanError(RULES.GRANT_MISSING, [name, role.name, list, tableName]))
  }
  if (table.rowSecurity && !role.bypassRls) {
    blockers.push(new BanyanError(RULES.ROW_SECURITY, [name, tableName, role.name]))
  }
  return blockers
}
