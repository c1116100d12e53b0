/**
 * Turns arrivals into requests: intent on disk, socket, request, outcome, each counted where it
 * happened.
 */
import { createArrivals } from './arrivals.ts'
import { failureDetail, failureRow, toldBy, type Area } from './failure.ts'
import { jsonOf, numberIn, type End, type HttpClient } from './http-client.ts'
import type { JournalFile } from './journal-file.ts'
import { createLane, type Lane } from './lane.ts'
import type { PauseWindow } from './pause-window.ts'
import { seeded } from './random.ts'
import { planRead } from './read.ts'
import type { Tally } from './tally.ts'
import type { World } from './world.ts'
import { planWrite } from './write.ts'

export interface Driver {
  /** Stops offering and resolves when everything offered has ended and is on disk. */
  pause(): Promise<void>
  resume(): void
}

export interface DriverOptions {
  readonly client: HttpClient
  readonly journal: JournalFile
  readonly world: World
  readonly tally: Tally
  readonly window: PauseWindow
  readonly seed: number
  /** Arrivals per second. */
  readonly reads: number
  readonly writes: number
  /** Sockets for each of the two, so that parked writes don't starve reads. */
  readonly sockets: number
  /** A request not sent so many ms after it was due is unsent. */
  readonly budgetMs: number
  /** A number for the next intent of this journal; numbers never repeat. */
  readonly nextNumber: () => number
  /** A request's handling itself failed (the journal can't be written): the load can't go on. */
  readonly onError: (error: unknown) => void
}

interface Flow {
  readonly options: DriverOptions
  readonly lane: Lane
}

/** Starts paused. */
export function createDriver(options: DriverOptions): Driver {
  const now = (): number => performance.now()
  const random = { reads: seeded(options.seed), writes: seeded(options.seed ^ 0x5bd1e995) }
  const flow = (): Flow => ({ options, lane: createLane({ places: options.sockets, now }) })
  const flows = { reads: flow(), writes: flow() }
  const under = new Set<Promise<void>>()
  const offer = (work: (due: number) => Promise<void>) => (due: number) => {
    options.tally.offered()
    const ending = work(due)
      .catch(options.onError)
      .finally(() => under.delete(ending))
    under.add(ending)
  }
  const arrivals = [
    createArrivals({
      perSecond: options.reads,
      now,
      arrive: offer(due => read(flows.reads, due, () => planRead(options.world, random.reads))),
    }),
    createArrivals({
      perSecond: options.writes,
      now,
      arrive: offer(due => write(flows.writes, due, () => planWrite(options.world, random.writes))),
    }),
  ]
  return {
    async pause() {
      for (const stream of arrivals) stream.pause()
      await Promise.all(under)
      await options.journal.flush()
      options.window.forgetGap()
    },
    resume() {
      options.window.forgetGap()
      for (const stream of arrivals) stream.resume()
    },
  }
}

async function read(
  { options, lane }: Flow,
  due: number,
  plan: () => ReturnType<typeof planRead>,
): Promise<void> {
  const { tally } = options
  if (!(await lane.enter(due + options.budgetMs))) return tally.unsent()
  tally.sent()
  const planned = plan()
  const end = await options.client.call(planned.call).finally(() => lane.leave())
  count({ tally, kind: 'reads', area: planned.area, end, latencyMs: performance.now() - due })
  const stale = planned.judge(end)
  if (!stale) return
  tally.stale(stale)
  options.journal.note({ t: 'stale', at: Date.now(), ...stale })
}

async function write(
  { options, lane }: Flow,
  due: number,
  plan: () => ReturnType<typeof planWrite>,
): Promise<void> {
  const { tally, journal } = options
  const { intent, area, call, settle } = plan()
  const n = options.nextNumber()
  await journal.commit({ t: 'intent', n, at: Date.now(), intent })
  if (!(await lane.enter(due + options.budgetMs))) {
    tally.unsent()
    tally.told('unsent')
    settle('unsent', undefined)
    return journal.note({ t: 'outcome', n, at: Date.now(), told: 'unsent' })
  }
  tally.sent()
  const sentAt = performance.now()
  const end = await options.client.call(call).finally(() => lane.leave())
  const endedAt = performance.now()
  const told = toldBy(end)
  const body = jsonOf(end)
  const id = told === 'ok' ? numberIn(body, 'id') : undefined
  journal.note({
    t: 'outcome',
    n,
    at: Date.now(),
    told,
    ...(end.kind === 'answer' ? { status: end.status } : {}),
    ...(id === undefined ? {} : { id }),
  })
  tally.told(told)
  count({ tally, kind: 'writes', area, end, latencyMs: endedAt - due })
  settle(told, body)
  if (told === 'ok' && (area === 'appointments' || area === 'patients')) {
    options.window.acknowledged(area, { fromDueMs: endedAt - due, fromSentMs: endedAt - sentAt })
  }
}

function count(what: {
  tally: Tally
  kind: 'reads' | 'writes'
  area: Area
  end: End
  latencyMs: number
}): void {
  const row = failureRow(what.area, what.end)
  what.tally.ended({
    kind: what.kind,
    latencyMs: what.latencyMs,
    ...(row === undefined ? {} : { failure: { row, detail: failureDetail(what.end) } }),
  })
}
