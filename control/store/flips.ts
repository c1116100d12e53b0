/** Flips: one at a time for each slice, every step written before it acts. */
import type { Stage } from '../../model/stage.ts'
import { BanyanError, type ErrorRule } from '../../model/errors.ts'
import { CONTROL_ERRORS } from '../../model/errors-control.ts'
import { append } from './journal.ts'
import { raiseEpoch, refuseOverridden } from './slices.ts'
import { type Store, transact } from './store.ts'

export interface FlipRow {
  readonly id: number
  readonly slice: string
  readonly from: Stage
  readonly to: Stage
  readonly percent: number
  readonly actor: string
  readonly reason: string | null
  readonly kind: 'flip' | 'back' | 'file' | 'rehearsal' | 'abandon'
  /** Of an abandonment: how somebody knows that the service's database can't come back writable. */
  readonly proof: string | null
  readonly epoch: number | null
  readonly startedAtMs: number | null
  readonly endedAtMs: number | null
  readonly outcome: 'done' | 'refused' | 'undone' | null
  readonly error: FlipError | null
  readonly steps: readonly { step: string; ms: number | null; detail: unknown }[]
}

export interface FlipError {
  readonly code: string
  readonly message: string
  readonly hint: string
  readonly exit: ErrorRule['exit']
  readonly blockers?: readonly { code: string; message: string; hint: string }[] | undefined
}

const COLUMNS = `f.id::int, f.slice, f.from_stage AS "from", f.to_stage AS "to", f.percent::float8, f.actor, f.reason, f.kind, f.proof,
  f.epoch::int, extract(epoch from f.started_at)::float8 * 1000 AS "startedAtMs",
  extract(epoch from f.ended_at)::float8 * 1000 AS "endedAtMs", f.outcome, f.error,
  coalesce((SELECT json_agg(json_build_object('step', s.step, 'ms', s.ms, 'detail', s.detail) ORDER BY s.started_at)
    FROM banyan.flip_step s WHERE s.flip = f.id), '[]') AS steps`

export interface FlipWanted {
  readonly slice: string
  readonly from: Stage
  readonly to: Stage
  readonly percent: number
  readonly actor: string
  readonly reason?: string | undefined
  readonly kind: FlipRow['kind']
  readonly proof?: string | undefined
}

/**
 * Asks for a flip. Throws FLIP_IN_PROGRESS where another one of the slice hasn't ended (one wins, the other learns who),
 * OVERRIDDEN where a brake or a pause is on and it isn't the brake's own.
 */
export async function requestFlip(store: Store, wanted: FlipWanted): Promise<number> {
  try {
    return await transact(store, ['flip'], async client => {
      if (wanted.kind !== 'back' && wanted.kind !== 'abandon')
        await refuseOverridden(client, wanted.slice)
      const { rows } = await client.query<{ id: number }>(
        `INSERT INTO banyan.flip (slice, from_stage, to_stage, percent, actor, reason, kind, proof)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id::int`,
        [
          wanted.slice,
          wanted.from,
          wanted.to,
          wanted.percent,
          wanted.actor,
          wanted.reason ?? null,
          wanted.kind,
          wanted.proof ?? null,
        ],
      )
      await append(client, {
        actor: wanted.actor,
        slice: wanted.slice,
        kind: `${wordOf(wanted.kind)} requested`,
        detail: {
          from: wanted.from,
          to: wanted.to,
          percent: wanted.percent,
          reason: wanted.reason,
          ...(wanted.kind === 'abandon' && { abandon: true, proof: wanted.proof }),
        },
      })
      return rows[0]!.id
    })
  } catch (error) {
    if ((error as { code?: string }).code !== '23505') throw error
    const open = (await readFlips(store, { slice: wanted.slice, open: true, limit: 1 }))[0]
    throw new BanyanError(
      CONTROL_ERRORS.FLIP_IN_PROGRESS,
      [wanted.slice, open?.to ?? '?', open?.actor ?? 'somebody'],
      { cause: error },
    )
  }
}

/** Newest first. */
export async function readFlips(
  store: Store,
  filter: {
    slice?: string | undefined
    id?: number | undefined
    open?: boolean | undefined
    limit: number
  },
): Promise<FlipRow[]> {
  const { rows } = await store.pool.query<FlipRow>(
    `SELECT ${COLUMNS} FROM banyan.flip f
     WHERE ($1::text IS NULL OR f.slice = $1) AND ($2::int IS NULL OR f.id = $2) AND (NOT $3 OR f.ended_at IS NULL)
     ORDER BY f.id DESC LIMIT $4`,
    [filter.slice ?? null, filter.id ?? null, filter.open ?? false, filter.limit],
  )
  return rows
}

/** For the journal: a rehearsal moves nothing, and is never called a flip there. */
function wordOf(kind: FlipRow['kind']): string {
  return kind === 'rehearsal' ? kind : 'flip'
}

/**
 * Progress is a topic of its own: a controller that woke at each step would read its files while writers wait. Throws
 * OVERRIDDEN where a brake or a pause was set after it had been asked for: it doesn't begin.
 */
export async function startFlip(store: Store, id: number, epoch: number | null): Promise<void> {
  await transact(store, ['step'], async client => {
    const { rows } = await client.query<{
      slice: string
      actor: string
      to_stage: string
      kind: FlipRow['kind']
    }>(
      'UPDATE banyan.flip SET started_at = clock_timestamp(), epoch = $2 WHERE id = $1 RETURNING slice, actor, to_stage, kind',
      [id, epoch],
    )
    const flip = rows[0]!
    // Issued before anybody acts with it: not even a database that forgets it may see it again.
    if (epoch !== null) await raiseEpoch(client, flip.slice, epoch)
    if (flip.kind !== 'back' && flip.kind !== 'abandon') await refuseOverridden(client, flip.slice)
    await append(client, {
      actor: flip.actor,
      slice: flip.slice,
      kind: `${wordOf(flip.kind)} started`,
      detail: { flip: id, to: flip.to_stage, epoch },
    })
  })
}

/** Written before the step acts; the returned function writes how long it took. */
export async function beginStep(
  store: Store,
  flip: number,
  step: string,
): Promise<(ms: number, detail?: object) => Promise<void>> {
  const { rows } = await store.pool.query<{ started_at: string }>(
    `WITH told AS (SELECT pg_notify('banyan', 'step'))
     INSERT INTO banyan.flip_step (flip, step) SELECT $1, $2 FROM told RETURNING started_at::text`,
    [flip, step],
  )
  return async (ms, detail) => {
    await store.pool.query(
      'UPDATE banyan.flip_step SET ms = $4, detail = $5 WHERE flip = $1 AND step = $2 AND started_at = $3',
      [flip, step, rows[0]!.started_at, ms, detail ? JSON.stringify(detail) : null],
    )
  }
}

export async function endFlip(
  store: Store,
  id: number,
  outcome: NonNullable<FlipRow['outcome']>,
  error: FlipError | null,
): Promise<void> {
  await transact(store, ['flip', 'slice'], async client => {
    const { rows } = await client.query<{
      slice: string
      actor: string
      to_stage: string
      epoch: string | null
      kind: FlipRow['kind']
    }>(
      `UPDATE banyan.flip SET ended_at = clock_timestamp(), outcome = $2, error = $3 WHERE id = $1 AND ended_at IS NULL
       RETURNING slice, actor, to_stage, epoch::text, kind`,
      [id, outcome, error ? JSON.stringify(error) : null],
    )
    const flip = rows[0]
    if (!flip) return
    await append(client, {
      actor: flip.actor,
      slice: flip.slice,
      kind: `${wordOf(flip.kind)} ${outcome}`,
      detail: {
        flip: id,
        to: flip.to_stage,
        epoch: flip.epoch,
        ...(error && { code: error.code, message: error.message }),
      },
    })
  })
}
