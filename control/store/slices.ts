/** Each slice: the stage it is in (fact), the one its file wants (intent), and a brake or a pause that overrides the file. */
import type pg from 'pg'
import { BanyanError } from '../../model/errors.ts'
import { CONTROL_ERRORS } from '../../model/errors-control.ts'
import type { Stage } from '../../model/stage.ts'
import type { Store } from './store.ts'

export interface SliceFact {
  readonly name: string
  readonly number: number
  readonly service: string
  readonly stage: Stage
  readonly percent: number
  readonly epoch: number
  readonly sinceMs: number
  readonly wantedStage: Stage | null
  readonly wantedPercent: number | null
  readonly override: {
    readonly stage: Stage
    readonly by: string
    readonly reason: string
    readonly atMs: number
    /** It stays where it stands, and no flip begins; else it goes back to that stage. */
    readonly paused: boolean
  } | null
}

export type Override = NonNullable<SliceFact['override']>

const COLUMNS = `name, number, service, stage, percent::float8, epoch::int, extract(epoch from since) * 1000 AS "sinceMs",
  wanted_stage AS "wantedStage", wanted_percent::float8 AS "wantedPercent",
  CASE WHEN override_stage IS NOT NULL THEN json_build_object('stage', override_stage, 'by', override_by,
    'reason', override_reason, 'atMs', extract(epoch from override_at) * 1000, 'paused', override_paused) END AS override`

export async function readSlices(client: pg.ClientBase | pg.Pool): Promise<SliceFact[]> {
  const { rows } = await client.query<SliceFact>(
    `SELECT ${COLUMNS} FROM banyan.slice ORDER BY name`,
  )
  return rows.map(row => ({ ...row, sinceMs: Number(row.sinceMs) }))
}

/** What the files want now. A slice that is new begins at `legacy`; one whose file is gone keeps its row, and wants nothing. */
export async function wantSlices(
  store: Store,
  wanted: readonly { name: string; service: string; stage: Stage; percent: number }[],
): Promise<void> {
  for (const slice of wanted) {
    await store.pool.query(
      `INSERT INTO banyan.slice (name, service, wanted_stage, wanted_percent) VALUES ($1, $2, $3, $4)
       ON CONFLICT (name) DO UPDATE SET wanted_stage = $3, wanted_percent = $4`,
      [slice.name, slice.service, slice.stage, slice.percent],
    )
  }
  await store.pool.query(
    'UPDATE banyan.slice SET wanted_stage = NULL, wanted_percent = NULL WHERE name <> ALL($1)',
    [wanted.map(slice => slice.name)],
  )
}

/** A pause moves along: the flip that was under way when it was set ends as it ends. */
export async function setStage(
  client: pg.ClientBase,
  slice: string,
  fact: { stage: Stage; percent: number; epoch?: number | undefined },
): Promise<void> {
  await client.query(
    `UPDATE banyan.slice SET since = CASE WHEN stage = $2 THEN since ELSE clock_timestamp() END,
       override_stage = CASE WHEN override_paused THEN $2 ELSE override_stage END, stage = $2, percent = $3, epoch = greatest(epoch, coalesce($4, epoch)) WHERE name = $1`,
    [slice, fact.stage, fact.percent, fact.epoch ?? null],
  )
}

/** An epoch that was issued is never issued again, whatever becomes of it. */
export async function raiseEpoch(
  client: pg.ClientBase | pg.Pool,
  slice: string,
  epoch: number,
): Promise<void> {
  await client.query('UPDATE banyan.slice SET epoch = greatest(epoch, $2) WHERE name = $1', [
    slice,
    epoch,
  ])
}

/** Puts the brake on: it stands, whatever the file says, until it is released. */
export async function setOverride(
  client: pg.ClientBase,
  slice: string,
  override: { stage: Stage; by: string; reason: string },
): Promise<void> {
  await client.query(
    `UPDATE banyan.slice SET override_stage = $2, override_by = $3, override_reason = $4, override_at = clock_timestamp(),
       override_paused = false WHERE name = $1`,
    [slice, override.stage, override.by, override.reason],
  )
}

/** Holds it at the stage where it stands. Returns false where a brake or a pause is on already, which stays as it is. */
export async function setPause(
  client: pg.ClientBase,
  slice: string,
  pause: { by: string; reason: string },
): Promise<boolean> {
  const { rowCount } = await client.query(
    `UPDATE banyan.slice SET override_stage = stage, override_by = $2, override_reason = $3, override_at = clock_timestamp(),
       override_paused = true WHERE name = $1 AND override_stage IS NULL`,
    [slice, pause.by, pause.reason],
  )
  return rowCount === 1
}

/**
 * Throws OVERRIDDEN where a brake or a pause is on. The row stays locked until the transaction ends, so that whoever sets
 * one sees what has begun before it.
 */
export async function refuseOverridden(client: pg.ClientBase, slice: string): Promise<void> {
  const { rows } = await client.query<Pick<SliceFact, 'override'>>(
    `SELECT ${COLUMNS} FROM banyan.slice WHERE name = $1 FOR SHARE`,
    [slice],
  )
  const override = rows[0]?.override
  if (override) throw overridden(slice, override)
}

export function overridden(slice: string, { stage, by, reason, paused }: Override): BanyanError {
  const how = paused ? 'paused' : 'held'
  return new BanyanError(CONTROL_ERRORS.OVERRIDDEN, [slice, stage, by, reason, how])
}

export async function clearOverride(client: pg.ClientBase, slice: string): Promise<void> {
  await client.query(
    `UPDATE banyan.slice SET override_stage = NULL, override_by = NULL, override_reason = NULL, override_at = NULL,
       override_paused = false WHERE name = $1`,
    [slice],
  )
}
