/** Whatever became of whoever began an epoch, settling it ends with one owner: from every state that a flip can be left in. */
import t from 'tap'
import {
  copyDecision,
  decide,
  type Fence,
  prepare,
  setGate,
  takeFence,
  type Verdict,
} from '../../postgres/gate.ts'
import { overdue, settle } from '../../postgres/settle.ts'
import {
  gateSides,
  outcome,
  preparation,
  put,
  read,
  settlementOf,
  streamInto,
  type SideHandle,
  type TestSlice,
} from './gate-sides.ts'

const sides = await gateSides(t)
const { legacy, service, system } = sides
const LATER_MS = Date.parse('2100-01-01T00:00:00Z')

interface Flip {
  readonly slice: TestSlice
  readonly epoch: number
  readonly old: SideHandle
  readonly next: SideHandle
}

const fenceOf = ({ slice, epoch }: Flip): Fence => ({
  slice: slice.name,
  epoch,
  deadlineMs: LATER_MS,
  legacy: system,
  service: system,
})

/** What a flip, and the stream, do one after the other. */
const DO = {
  async fence(flip: Flip) {
    await takeFence(flip.old.apply, fenceOf(flip))
  },
  async dyingFence(flip: Flip) {
    await flip.old.apply.query('BEGIN')
    await takeFence(flip.old.apply, fenceOf(flip))
    await flip.old.apply.query('ROLLBACK')
  },
  async reach({ slice, epoch, old, next }: Flip) {
    const { rows } = await old.root.query<{ fence: string }>(
      'SELECT row_to_json(f)::text AS fence FROM banyan.fence f WHERE slice = $1 AND epoch = $2',
      [slice.name, epoch],
    )
    await next.root.query(
      `INSERT INTO banyan.evidence (slice, epoch, kind, position, detail) VALUES ($1, $2, 'REACHED', '0/1000', $3)`,
      [slice.name, epoch, rows[0]!.fence],
    )
    await next.root.query(
      `INSERT INTO banyan.progress (stream, worker, position) VALUES ($1, gen_random_uuid(), '0/1000')`,
      [streamInto(next.side, slice)],
    )
  },
  async prepare({ slice, epoch, next }: Flip) {
    await prepare(next.apply, preparation(next.side, slice, epoch))
  },
  async promote({ slice, epoch }: Flip) {
    await decide(legacy.apply, slice.name, epoch, 'PROMOTED')
  },
  async abort({ slice, epoch }: Flip) {
    await decide(legacy.apply, slice.name, epoch, 'ABORTED')
  },
  async copyPromoted({ slice, epoch }: Flip) {
    await copyDecision(service.apply, slice.name, epoch, 'PROMOTED')
  },
  async copyAborted({ slice, epoch }: Flip) {
    await copyDecision(service.apply, slice.name, epoch, 'ABORTED')
  },
  async openNext({ slice, epoch, next }: Flip) {
    await setGate(next.apply, slice.name, epoch)
  },
  async openOld({ slice, epoch, old }: Flip) {
    await setGate(old.apply, slice.name, epoch)
  },
} satisfies Record<string, (flip: Flip) => Promise<void>>
type Step = keyof typeof DO

interface Left {
  readonly steps: readonly Step[]
  readonly verdict: Verdict
  /** Where only one direction can be left so. */
  readonly only?: 'there' | 'back'
}

/** How far the flip came before it was left alone, and how it must end. */
const LEFT: readonly Left[] = [
  { steps: [], verdict: 'ABORTED' },
  { steps: ['dyingFence'], verdict: 'ABORTED' },
  { steps: ['fence'], verdict: 'ABORTED' },
  { steps: ['fence', 'reach'], verdict: 'ABORTED' },
  { steps: ['fence', 'reach', 'prepare'], verdict: 'ABORTED' },
  { steps: ['abort', 'fence'], verdict: 'ABORTED' },
  { steps: ['fence', 'abort'], verdict: 'ABORTED' },
  { steps: ['fence', 'reach', 'prepare', 'abort', 'copyAborted'], verdict: 'ABORTED' },
  { steps: ['fence', 'abort', 'copyAborted', 'openOld'], verdict: 'ABORTED' },
  { steps: ['dyingFence', 'abort', 'copyAborted'], verdict: 'ABORTED' },
  { steps: ['fence', 'reach', 'prepare', 'promote'], verdict: 'PROMOTED' },
  { steps: ['fence', 'reach', 'prepare', 'promote', 'copyPromoted'], verdict: 'PROMOTED' },
  {
    steps: ['fence', 'reach', 'prepare', 'promote', 'copyPromoted', 'openNext'],
    verdict: 'PROMOTED',
  },
  // On the way back legacy decides by its own preparation: it can't be missing.
  { steps: ['fence', 'reach', 'promote'], verdict: 'PROMOTED', only: 'there' },
  { steps: ['fence', 'reach', 'promote', 'copyPromoted'], verdict: 'PROMOTED', only: 'there' },
]
const WAYS = ['there', 'back'] as const

async function leave(way: 'there' | 'back', steps: readonly Step[]): Promise<Flip> {
  const slice = await sides.slice()
  const flip: Flip =
    way === 'there'
      ? { slice, epoch: 1, old: legacy, next: service }
      : { slice, epoch: 2, old: service, next: legacy }
  if (way === 'back') {
    await put(legacy, slice, system, 'closed 1, FENCED 1, PROMOTED 1')
    await put(service, slice, system, 'open 1, REACHED 1@A, PREPARED 1@A, PROMOTED 1')
  }
  for (const step of steps) await DO[step](flip)
  return flip
}

/** Which sides accept an application's write. */
async function owners({ slice }: Flip): Promise<string[]> {
  const accepting: string[] = []
  for (const at of [legacy, service]) {
    const app = await at.app()
    const answer = await outcome(app.query(`INSERT INTO ${slice.table} (note) VALUES ('mine')`))
    if (answer !== 'BNY01') accepting.push(at.side)
    await app.end()
  }
  return accepting
}

const states = async ({ slice }: Flip) => [await read(legacy, slice), await read(service, slice)]

for (const way of WAYS) {
  for (const { steps, verdict, only = way } of LEFT) {
    if (only !== way) continue
    const name = `${way === 'there' ? 'forward' : 'back'}, left after: ${steps.join(', ') || 'nothing'}`
    void t.test(name, async t => {
      const flip = await leave(way, steps)
      const settlement = settlementOf(flip.slice, legacy.apply, service.apply)
      t.same(await settle(settlement, flip.epoch), { verdict, complete: true })
      const owner = verdict === 'PROMOTED' ? flip.next : flip.old
      t.same(await owners(flip), [owner.side], `${owner.side} is the owner, alone`)
      const after = await states(flip)
      for (const line of after) t.match(line, `${verdict} ${flip.epoch}`, 'both know the decision')

      t.same(await settle(settlement, flip.epoch), { verdict, complete: true }, 'again')
      t.same(await states(flip), after, 'nothing more happens')
    })
  }
}

void t.test('any number may settle at once', async t => {
  for (const way of WAYS) {
    for (const { steps, verdict, only = way } of LEFT) {
      if (only !== way) continue
      const flip = await leave(way, steps)
      const answers = await Promise.all(
        Array.from({ length: 3 }, async () => {
          const sessions = [await legacy.session(), await service.session()] as const
          const settled = await settle(settlementOf(flip.slice, ...sessions), flip.epoch).catch(
            (error: unknown) => (error as { code?: string }).code,
          )
          await Promise.all(sessions.map(each => each.end()))
          return settled
        }),
      )
      const want = { verdict, complete: true }
      t.same(answers, [want, want, want], `${way}: ${steps.join(', ')}`)
      t.same(await owners(flip), [(verdict === 'PROMOTED' ? flip.next : flip.old).side])
    }
  }
})

void t.test('legacy is settled without the service, which has its part still to come', async t => {
  for (const way of WAYS) {
    for (const { steps, verdict, only = way } of LEFT) {
      if (only !== way || steps.includes('openNext') || steps.includes('openOld')) continue
      const flip = await leave(way, steps)
      const alone = settlementOf(flip.slice, legacy.apply, undefined)
      const before = await read(service, flip.slice)
      t.same(
        await settle(alone, flip.epoch),
        { verdict, complete: false },
        `${way}: ${steps.join(', ')}`,
      )
      t.equal(await read(service, flip.slice), before, 'the service is as it was')
      const owner = verdict === 'PROMOTED' ? flip.next : flip.old
      if (owner === legacy) t.same(await owners(flip), ['legacy'], 'and legacy is open')
      const both = settlementOf(flip.slice, legacy.apply, service.apply)
      t.same(await settle(both, flip.epoch), { verdict, complete: true })
      t.same(await owners(flip), [owner.side])
    }
  }
})

void t.test('after a restore nothing opens by itself', async t => {
  const slice = await sides.slice()
  await put(legacy, slice, system, 'closed 1, FENCED 1 foreign')
  const settlement = settlementOf(slice, legacy.apply, service.apply)
  await t.rejects(settle(settlement, 1), { code: 'SYSTEM_CHANGED' })
  t.equal(await read(legacy, slice), 'closed 1, FENCED 1')
  t.equal(await read(service, slice), 'closed 0')
})

// prettier-ignore
const OVERDUE: readonly (readonly [because: string, legacy: string, service: string, epoch: number, overdue: boolean])[] = [
  ['nothing has begun', 'open 0', 'closed 0', 1, false],
  ['a service that was never open has not died', 'open 0', 'closed 0', 0, false],
  ['a fence before its deadline', 'closed 1, FENCED 1', 'closed 0', 1, false],
  ['a fence past its deadline', 'closed 1, FENCED 1 late', 'closed 0', 1, true],
  ['a fence in the service past its deadline', 'closed 1', 'closed 2, FENCED 2 late', 2, true],
  ['a fence in the service before it', 'closed 1', 'closed 2, FENCED 2', 2, false],
  ['a fence that died', 'closed 1', 'closed 0', 1, true],
  ['a fence that died in the service', 'closed 1, FENCED 1', 'closed 2', 2, true],
  ['another epoch’s fence', 'closed 1, FENCED 1 late', 'closed 0', 2, false],
  ['aborted, and nobody has reopened', 'closed 1, FENCED 1, ABORTED 1', 'closed 0', 1, true],
  ['promoted, and nobody has opened', 'closed 1, FENCED 1, PROMOTED 1', 'closed 0', 1, true],
]

void t.test(
  'who doesn’t run the flip waits for its deadline, or for a fence that died',
  async t => {
    const slice = await sides.slice()
    const settlement = settlementOf(slice, legacy.apply, service.apply)
    for (const [because, atLegacy, atService, epoch, expected] of OVERDUE) {
      await put(legacy, slice, system, atLegacy)
      await put(service, slice, system, atService)
      t.equal(await overdue(settlement, epoch), expected, because)
    }
  },
)
