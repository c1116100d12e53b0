/** What a test asks of a moving slice: flip it, wait until it is in step, verify it, compare both sides. */
import { readFlips, requestFlip } from '../../control/store/flips.ts'
import { readSlices, type SliceFact } from '../../control/store/slices.ts'
import { readStreams } from '../../control/store/streams.ts'
import { readVerification, requestVerification } from '../../control/store/verifications.ts'
import { must } from '../../model/errors.ts'
import type { WantedStage } from '../../model/slice-file.ts'
import type { Test } from 'tap'
import { query } from './cluster.ts'
import type { MovingSlice } from './moving-slice.ts'

const never = new AbortController().signal

export async function until(
  moving: MovingSlice,
  what: string,
  test: () => Promise<boolean>,
): Promise<void> {
  const deadline = performance.now() + 15_000
  while (!(await test())) {
    if (performance.now() > deadline) {
      throw new Error(`never: ${what} ${JSON.stringify(await readStreams(moving.store))}`)
    }
    await moving.ear.heard(['flip', 'stream', 'slice', 'verification'], 20, never)
  }
}

export async function flip(moving: MovingSlice, to: WantedStage, percent = 0) {
  let fact: SliceFact | undefined
  await until(moving, 'a controller', async () => {
    ;[fact] = await readSlices(moving.store.pool)
    return fact !== undefined
  })
  const id = await requestFlip(moving.store, {
    slice: 'visits',
    from: must(fact, 'a slice').stage,
    to,
    percent,
    actor: 'tester',
    kind: 'flip',
  })
  moving.want(to)
  const read = async () => (await readFlips(moving.store, { id, limit: 1 }))[0]!
  await until(moving, `flip to ${to}`, async () => (await read()).endedAtMs !== null)
  return read()
}

export async function inStep(moving: MovingSlice): Promise<void> {
  await until(moving, 'in step', async () => {
    const streams = await readStreams(moving.store)
    return (
      streams.length === 3 &&
      streams.every(each => each.state === 'streaming' && each.position !== null)
    )
  })
}

export async function verify(moving: MovingSlice) {
  const id = await requestVerification(moving.store, 'visits', 'tester')
  const read = async () => (await readVerification(moving.store, id))!
  await until(moving, 'verified', async () => (await read()).endedAtMs !== null)
  return read()
}

/** All the way to where only the owner's flip is left. */
export async function toCanary(t: Test, moving: MovingSlice): Promise<void> {
  t.match(await flip(moving, 'sync'), { outcome: 'done' })
  await inStep(moving)
  for (const stage of ['shadow', 'canary'] as const)
    t.match(await flip(moving, stage), { outcome: 'done' })
  t.match(await verify(moving), { differences: 0, error: null })
}

/** Sessions of that application_name (LIKE) end at once. */
export async function cutSessions(url: string, name: string): Promise<void> {
  await query(
    url,
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE $1 AND pid <> pg_backend_pid()`,
    [name],
  )
}

/** After a verification: the stream stood still while rows were compared. */
export async function caughtUp(moving: MovingSlice): Promise<void> {
  await until(moving, 'caught up', async () =>
    (await readStreams(moving.store)).every(each => (each.lagMs ?? 0) < 500),
  )
}

export const same = async (moving: MovingSlice) => {
  const legacy = await query(
    moving.legacy,
    `SELECT md5(string_agg(v::text, ',' ORDER BY id)) AS v,
    (SELECT md5(string_agg(s::text, ',' ORDER BY room, at)) FROM seats s) AS s FROM visits v`,
  )
  const service = await query(
    moving.service,
    `SELECT md5(string_agg(v::text, ',' ORDER BY id)) AS v,
    (SELECT md5(string_agg(s::text, ',' ORDER BY room, at)) FROM seats s) AS s FROM visit v`,
  )
  return JSON.stringify(legacy) === JSON.stringify(service)
}
