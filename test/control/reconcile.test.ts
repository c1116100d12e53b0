import t from 'tap'
import { nextStep, proposedStep, stepTowards } from '../../control/reconcile.ts'
import { movesOwner, type Stage, STAGE_NAMES } from '../../model/stage.ts'

/** From (row) to (column): the step that is taken, undefined where no path leads there. */
// prettier-ignore
const STEPS: Record<Stage, Record<Stage, Stage | undefined>> = {
  legacy:  { legacy: 'legacy', sync: 'sync', shadow: 'sync', canary: 'sync', moved: 'sync', retired: 'sync' },
  sync:    { legacy: 'legacy', sync: 'sync', shadow: 'shadow', canary: 'shadow', moved: 'shadow', retired: 'shadow' },
  shadow:  { legacy: 'legacy', sync: 'sync', shadow: 'shadow', canary: 'canary', moved: 'canary', retired: 'canary' },
  canary:  { legacy: 'legacy', sync: 'sync', shadow: 'shadow', canary: 'canary', moved: 'moved', retired: 'moved' },
  moved:   { legacy: 'canary', sync: 'canary', shadow: 'canary', canary: 'canary', moved: 'moved', retired: 'retired' },
  retired: { legacy: undefined, sync: undefined, shadow: undefined, canary: undefined, moved: undefined, retired: 'retired' },
}

/** Where a brake takes a slice (row) that is held at (column): back or nowhere. */
// prettier-ignore
const BRAKES: Record<Stage, Record<Stage, Stage | undefined>> = {
  legacy:  { legacy: undefined, sync: undefined, shadow: undefined, canary: undefined, moved: undefined, retired: undefined },
  sync:    { legacy: 'legacy', sync: undefined, shadow: undefined, canary: undefined, moved: undefined, retired: undefined },
  shadow:  { legacy: 'legacy', sync: 'sync', shadow: undefined, canary: undefined, moved: undefined, retired: undefined },
  canary:  { legacy: 'legacy', sync: 'sync', shadow: 'shadow', canary: undefined, moved: undefined, retired: undefined },
  moved:   { legacy: 'canary', sync: 'canary', shadow: 'canary', canary: 'canary', moved: undefined, retired: undefined },
  retired: { legacy: undefined, sync: undefined, shadow: undefined, canary: undefined, moved: undefined, retired: undefined },
}

const pairs = STAGE_NAMES.flatMap(from => STAGE_NAMES.map(to => [from, to] as const))

type Fact = Parameters<typeof nextStep>[0]

function fact(stage: Stage, more: Partial<Fact>): Fact {
  return { stage, percent: 0, wantedStage: null, wantedPercent: null, override: null, ...more }
}

const brake = (stage: Stage, paused = false): Fact['override'] => ({
  ...{ stage, by: 'ann', reason: 'red', atMs: 0, paused },
})

void t.test('one step forward, or straight back', async t => {
  for (const [from, to] of pairs) t.equal(stepTowards(from, to), STEPS[from][to], `${from} → ${to}`)
})

void t.test('the file takes every step by itself but those that move the owner', async t => {
  for (const [stage, wantedStage] of pairs) {
    const step = nextStep(fact(stage, { wantedStage, wantedPercent: 5, percent: 5 }))
    const to = STEPS[stage][wantedStage]
    const taken = to !== undefined && to !== stage && !movesOwner(stage, to)
    const percent = to === 'canary' ? 5 : 0
    const claim = `${stage} → ${wantedStage}`
    t.strictSame(step, taken ? { to, percent, kind: 'file' } : undefined, claim)
  }
})

void t.test(
  'what the file may not take by itself it proposes, where nothing holds the slice',
  async t => {
    for (const [stage, wantedStage] of pairs) {
      const wanted = fact(stage, { wantedStage, wantedPercent: 5 })
      const to = STEPS[stage][wantedStage]
      const proposed = to !== undefined && to !== 'retired' && movesOwner(stage, to)
      const step = proposed ? { to, percent: to === 'canary' ? 5 : 0 } : undefined
      t.strictSame(proposedStep(wanted), step, `${stage} → ${wantedStage}`)
      for (const paused of [true, false]) {
        t.equal(proposedStep({ ...wanted, override: brake(stage, paused) }), undefined)
      }
    }
    t.equal(proposedStep(fact('canary', {})), undefined, 'its file is gone')
  },
)

void t.test('a pause keeps a slice where it stands, whatever the file says', async t => {
  for (const [stage, wantedStage] of pairs) {
    const override = brake(stage, true)
    const wanted = fact(stage, { wantedStage, wantedPercent: 50, percent: 5, override })
    t.equal(nextStep(wanted), undefined, `${stage}, the file wants ${wantedStage}`)
  }
})

void t.test('a slice whose file is gone stays where it is', async t => {
  for (const stage of STAGE_NAMES) t.equal(nextStep(fact(stage, {})), undefined, stage)
})

void t.test('a percentage that the file changes is a step of its own, at canary alone', async t => {
  for (const stage of STAGE_NAMES) {
    const step = nextStep(fact(stage, { wantedStage: stage, wantedPercent: 50, percent: 5 }))
    const wanted = stage === 'canary' ? { to: 'canary', percent: 50, kind: 'file' } : undefined
    t.strictSame(step, wanted, stage)
  }
})

void t.test(
  'a brake goes back, step by step, whatever the file says, and moves the owner',
  async t => {
    for (const [stage, held] of pairs) {
      for (const wantedStage of [...STAGE_NAMES, null]) {
        const step = nextStep(
          fact(stage, { wantedStage, wantedPercent: 5, percent: 5, override: brake(held) }),
        )
        const to = BRAKES[stage][held]
        const claim = `${stage}, held at ${held}, the file wants ${wantedStage}`
        t.match(step ?? 'nothing', to === undefined ? 'nothing' : { to, kind: 'back' }, claim)
      }
    }
  },
)

void t.test('under a brake a percentage of the file changes nothing', async t => {
  const override = brake('canary')
  const more = { wantedStage: 'canary', wantedPercent: 50, percent: 5, override } as const
  t.equal(nextStep(fact('canary', more)), undefined)
})

void t.test('what is wanted is reached, or stands at the owner’s edge', async t => {
  for (const [from, to] of pairs) {
    let at = from
    for (let n = 0; n < STAGE_NAMES.length; n += 1) {
      const step = nextStep(fact(at, { wantedStage: to }))
      if (step) at = step.to
    }
    const beyond = movesOwner(from, to) && from !== 'retired'
    const edge = { legacy: 'canary', service: 'moved' } as const
    const end =
      from === 'retired' ? 'retired' : beyond ? (from === 'moved' ? edge.service : edge.legacy) : to
    t.equal(at, end, `${from} → ${to}`)
  }
})
