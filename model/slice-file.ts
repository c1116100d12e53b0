/** slices/<name>.yaml: one slice: its routes, its tables, its service, its stage, and what its owner has answered. */
import { z } from 'zod'
import { Name, TableName } from './banyan-file.ts'
import { CONFIG_ERRORS } from './errors-config.ts'
import { BanyanError } from './errors.ts'
import type { ErrorRule } from './errors.ts'
import { parseRoute } from './route.ts'
import { STAGE_NAMES } from './stage.ts'
import type { Stage } from './stage.ts'
import { count, durationMs, percent, sizeBytes } from './units.ts'

/** What a file may ask for. `retired` is no intent: it has no way back, so a command does it and asks twice. */
export type WantedStage = Exclude<Stage, 'retired'>
const WANTED = STAGE_NAMES.filter((name): name is WantedStage => name !== 'retired')

const ColumnName = z.string().regex(/^[^\s."'\u0000-\u001f]{1,63}$/, 'COLUMN_NAME')

const RouteText = z.string().superRefine((text, ctx) => {
  try {
    parseRoute(text)
  } catch (error) {
    if (!(error instanceof BanyanError)) throw error
    ctx.addIssue({ code: 'custom', params: { error } })
  }
})

const Mapping = z
  .strictObject({
    to: TableName.optional().describe("The table's name in the service; absent: the same."),
    columns: z
      .record(ColumnName, z.union([ColumnName, z.literal(false)]))
      .default({})
      .describe(
        'Columns of legacy → their other name in the service, or `false`: it stays behind, carried in neither direction.',
      ),
  })
  .superRefine((mapping, ctx) => {
    const seen = new Map<string, string>()
    for (const [column, target] of Object.entries(mapping.columns)) {
      if (target === false) continue
      const first = seen.get(target)
      if (first === undefined) seen.set(target, column)
      else refuse(ctx, CONFIG_ERRORS.COLUMN_TAKEN, [first, column, target], ['columns', column])
    }
  })

const Tables = z
  .record(TableName, z.union([z.null(), z.literal(true), Mapping]))
  .prefault({})
  .transform(tables =>
    Object.fromEntries(
      Object.entries(tables).map(([name, mapping]) => {
        const given: z.output<typeof Mapping> =
          mapping === null || mapping === true ? { columns: {} } : mapping
        return [name, { to: given.to ?? name, ...answered(given.columns) }]
      }),
    ),
  )
  .describe(
    'Tables that the slice owns: legacy name → `true` (same name in the service) or what differs. ' +
      'A slice without tables moves routes only.',
  )

/** `columns`: those that are called differently there; `left`: those that stay in legacy. */
function answered(columns: Readonly<Record<string, string | false>>) {
  const renamed: Record<string, string> = {}
  const left: string[] = []
  for (const [name, target] of Object.entries(columns)) {
    if (target === false) left.push(name)
    else renamed[name] = target
  }
  return { columns: renamed, left }
}

/** How a foreign key that crosses the slice's edge is kept while its two tables have different owners. */
export const FK_ANSWERS = ['copy', 'loose', 'check', 'refuse'] as const
export type FkAnswer = (typeof FK_ANSWERS)[number]

const KeyAnswer = z
  .union([
    z.enum(FK_ANSWERS).transform(answer => ({ answer })),
    z
      .strictObject({
        answer: z.enum(FK_ANSWERS).describe('The same words as above.'),
        onDelete: z
          .union([z.enum(['keep', 'null', 'cascade']), z.null().transform(() => 'null' as const)])
          .optional()
          .describe(
            'With `loose`: what happens to the children of a deleted parent. Absent: as the key itself said.',
          ),
      })
      .superRefine(({ answer, onDelete }, ctx) => {
        if (onDelete === undefined || answer === 'loose') return
        refuse(ctx, CONFIG_ERRORS.FK_ON_DELETE, [answer], ['onDelete'])
      }),
  ])
  .describe(
    '`check`, `loose` (an outside child of an owned table); `copy`, `loose`, `refuse` (an owned child of an outside table).',
  )

const FOREIGN_KEY = /^[^\s"'+]+\.[^\s."'+]+(?:\+[^\s."'+]+)*$/

const SOURCE = String.raw`(?:header|cookie):[!#$%&'*+.^_\x60|~0-9A-Za-z-]+`

const Canary = z.strictObject({
  by: z
    .array(z.string().regex(new RegExp(`^${SOURCE}$`), 'KEY_RULE'))
    .max(8)
    .default([])
    .describe(
      'Where the key of a request is, the first that is there: `header:<name>`, `cookie:<name>`.',
    ),
  percent: percent({
    what: 'Part of the keys whose reads the service answers',
    why: 'Percent moves reads only; ownership of writes moves once, with the stage.',
    standard: 0,
  }),
  include: z
    .array(z.string().regex(new RegExp(`^${SOURCE}=\\S+$`), 'KEY_RULE'))
    .max(32)
    .default([])
    .describe('Requests that the service always answers: `header:x-beta=1`, `cookie:beta=1`.'),
})

const Cutover = z
  .strictObject({
    holdMs: durationMs({
      what: 'Longest time that unsafe requests are held; also the deadline of the flip, after which anyone undoes it',
      why: 'Clients give up; a flip that takes longer is better tried again later.',
      min: 100,
      max: 60_000,
      standard: '2s',
    }),
    maxHeld: count({
      what: 'Most requests of the slice that one router holds',
      unit: 'requests',
      why: 'Each one keeps a connection open; the next one is answered 503 with Retry-After.',
      min: 0,
      max: 100_000,
      standard: 500,
    }),
    maxHeldBodyBytes: sizeBytes({
      what: 'Largest request body that is held in memory',
      why: 'Times maxHeld, it is the most memory that a hold can take in one router.',
      min: 0,
      max: 64 * 1024 ** 2,
      standard: '256kB',
    }),
    drainMs: durationMs({
      what: 'Longest wait for unsafe requests that were forwarded before the hold',
      why: 'Part of holdMs: one slow request must not use up the pause of all the others.',
      min: 1,
      max: 60_000,
      standard: '1s',
    }),
    quietMs: durationMs({
      what: 'How long no transaction may have been open on owned tables before the fence',
      why: 'An answer is not the end of the work: applications go on writing after it. Part of drainMs.',
      min: 0,
      max: 10_000,
      standard: '100ms',
    }),
    approvals: count({
      what: 'How many other persons must approve a plan before a flip may move the owner',
      unit: 'persons',
      why: 'Where four eyes are a rule; a brake never waits for them, and a rehearsal moves nothing.',
      min: 0,
      max: 10,
      standard: 0,
    }),
  })
  .superRefine((budget, ctx) => {
    const parts = [
      ['drainMs', 'holdMs'],
      ['quietMs', 'drainMs'],
    ] as const
    for (const [part, whole] of parts) {
      if (budget[part] < budget[whole]) continue
      const details = [part, `${budget[part]} ms`, whole, `${budget[whole]} ms`]
      refuse(ctx, CONFIG_ERRORS.BUDGET_ORDER, details, [part])
    }
  })

export const SliceFile = z.strictObject({
  service: Name.describe(
    'The service that the slice moves to: a name under services in banyan.yaml.',
  ),
  stage: z.enum(WANTED).describe('Where the slice is wanted. `banyan flip` edits this.'),
  routes: z
    .array(RouteText)
    .min(1)
    .max(500)
    .describe(
      'What belongs to the slice: methods and a path. `:name` is one segment, a last `**` the rest; ' +
        'the more specific route wins, whatever the order.',
    ),
  tables: Tables,
  foreignKeys: z
    .record(z.string().regex(FOREIGN_KEY, 'FK_KEY'), KeyAnswer)
    .prefault({})
    .describe(
      "Keys that cross the slice's edge, as `table.column` of the child → what becomes of them.",
    ),
  triggers: z
    .record(z.string(), z.enum(['run', 'skip']))
    .default({})
    .describe("Triggers on the slice's tables → whether they run while the table is a copy."),
  sideWrites: z
    .record(TableName, z.enum(['service', 'legacy', 'dropped']))
    .default({})
    .describe('Other tables that its transactions write → who writes them after the move.'),
  writers: z
    .record(z.string(), z.literal('waived'))
    .default({})
    .describe(
      'Roles or application_names that write its tables around the routes → `waived`: refused after the move, and known.',
    ),
  canary: Canary.prefault({}).describe('Whose reads the service answers at stage canary.'),
  cutover: Cutover.prefault({}).describe('What one attempt to flip the ownership may cost.'),
  shadow: z
    .strictObject({
      sample: percent({
        what: 'Part of the safe requests that are also sent to the service and compared at stage shadow',
        why: 'Each one costs the service a request; clients never wait for it.',
        standard: 100,
      }),
    })
    .prefault({})
    .describe('How much is compared at stage shadow.'),
})
export type SliceFile = z.output<typeof SliceFile>

/** A foreign key's name in the files: `table.column` of the child; of several columns: `table.a+b`. */
export function foreignKeyName(key: {
  readonly table: string
  readonly columns: readonly string[]
}): string {
  return `${key.table}.${key.columns.join('+')}`
}

function refuse(
  ctx: z.RefinementCtx,
  rule: ErrorRule,
  details: readonly string[],
  path: readonly string[],
): void {
  const params = { error: new BanyanError(rule, details) }
  ctx.addIssue({ code: 'custom', params, path: [...path] })
}
