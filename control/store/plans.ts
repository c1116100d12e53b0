/** Plans that somebody looked at, and who has approved them. */
import type pg from 'pg'
import type { Plan } from '../plan.ts'
import { personOf, shortHash } from '../plan.ts'
import { append } from './journal.ts'
import { type Store, transact } from './store.ts'

/** What nobody can use any more is kept this long, so that it can be told from what never was. */
const KEPT = '1 day'

export interface StoredPlan extends Plan {
  readonly by: string
  readonly ageMs: number
  /** Negative where it has expired. */
  readonly goodForMs: number
}

export interface Approval {
  readonly actor: string
  readonly atMs: number
  readonly goodForMs: number
}

/** Somebody looks at it now: it is good for so long from here on. What was approved before keeps its own end. */
export async function storePlan(
  client: pg.Pool | pg.ClientBase,
  plan: Plan,
  looked: { readonly by: string; readonly goodForMs: number },
): Promise<void> {
  await client.query(
    `DELETE FROM banyan.plan WHERE good_until < clock_timestamp() - interval '${KEPT}'`,
  )
  const { hash, slice, from, to, percent, epoch } = plan
  await client.query(
    `INSERT INTO banyan.plan (hash, slice, from_stage, to_stage, percent, epoch, planned_by, good_until)
     VALUES ($1, $2, $3, $4, $5, $6, $7, clock_timestamp() + $8 * interval '1 ms')
     ON CONFLICT (hash) DO UPDATE SET planned_by = excluded.planned_by, planned_at = clock_timestamp(), good_until = excluded.good_until`,
    [hash, slice, from, to, percent, epoch, looked.by, looked.goodForMs],
  )
}

/** Those whose hash begins so, the newest first. */
export async function findPlans(store: Store, prefix: string): Promise<StoredPlan[]> {
  const { rows } = await store.pool.query<StoredPlan>(
    `SELECT hash, slice, from_stage AS "from", to_stage AS "to", percent::float8, epoch::int, planned_by AS by,
       extract(epoch from clock_timestamp() - planned_at)::float8 * 1000 AS "ageMs",
       extract(epoch from good_until - clock_timestamp())::float8 * 1000 AS "goodForMs"
     FROM banyan.plan WHERE left(hash, length($1)) = $1 ORDER BY planned_at DESC`,
    [prefix],
  )
  return rows
}

/** Records that a person approved it; their word is good as long as the plan is. Tells the controller. */
export async function approvePlan(
  store: Store,
  plan: Plan,
  said: { readonly actor: string; readonly reason: string | undefined },
): Promise<void> {
  await transact(store, ['slice'], async client => {
    await client.query(
      `INSERT INTO banyan.approval (hash, actor, good_until) SELECT hash, $2, good_until FROM banyan.plan WHERE hash = $1
       ON CONFLICT (hash, actor) DO UPDATE SET at = clock_timestamp(), good_until = excluded.good_until`,
      [plan.hash, said.actor],
    )
    const { slice, from, to, percent } = plan
    const detail = { from, to, percent, plan: shortHash(plan), reason: said.reason }
    await append(client, { actor: said.actor, slice, kind: 'plan approved', detail })
  })
}

/** Those that count now, the oldest first; of one person the last. */
export async function readApprovals(
  store: Store,
  { hash }: Pick<Plan, 'hash'>,
): Promise<Approval[]> {
  const { rows } = await store.pool.query<Approval>(
    `SELECT actor, extract(epoch from at)::float8 * 1000 AS "atMs",
       extract(epoch from good_until - clock_timestamp())::float8 * 1000 AS "goodForMs"
     FROM banyan.approval WHERE hash = $1 AND good_until > clock_timestamp() ORDER BY at`,
    [hash],
  )
  return [...new Map(rows.map(each => [personOf(each.actor), each])).values()]
}

/** The epoch in which the owner of a slice became it; 0: nobody ever moved it. */
export async function ownerEpoch(store: Store, slice: string): Promise<number> {
  const { rows } = await store.pool.query<{ epoch: number }>(
    `SELECT coalesce(max(epoch), 0)::int AS epoch FROM banyan.flip
     WHERE slice = $1 AND outcome = 'done' AND kind <> 'rehearsal'`,
    [slice],
  )
  return rows[0]!.epoch
}

/** When the last flip of a slice was undone; 0: none ever was. Milliseconds since the epoch. */
export async function lastUndoneMs(store: Store, slice: string): Promise<number> {
  const { rows } = await store.pool.query<{ at: number }>(
    `SELECT coalesce(max(extract(epoch from ended_at)), 0)::float8 * 1000 AS at FROM banyan.flip
     WHERE slice = $1 AND outcome = 'undone' AND kind <> 'rehearsal'`,
    [slice],
  )
  return rows[0]!.at
}
