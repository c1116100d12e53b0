/** What a flip is made of and what it changes for whom, in words: only figures that are measured or configured. Pure. */
import { STEPS, type StepName } from '../control/cutover.ts'
import { streamTo } from '../control/cutover-runner.ts'
import { lossText } from '../control/way-back.ts'
import type { Slice } from '../model/project.ts'
import { type Stage, STAGES } from '../model/stage.ts'
import { ageText, countOf, countText, sizeText, timeText } from './amounts.ts'
import { percentText } from './flip-text.ts'
import type { Measured } from './plan-facts.ts'

export interface Planned {
  readonly slice: Slice
  readonly from: Stage
  readonly to: Stage
  /** Of the keys whose reads the service answers, before and after. */
  readonly percent: { readonly from: number; readonly to: number }
  readonly measured: Measured
  readonly sequenceHeadroom: number
}

export interface PlannedStep {
  readonly step: StepName
  readonly what: string
  readonly figures: readonly string[]
}

/** The steps of a flip that moves the owner. */
export function stepsOf(planned: Planned): PlannedStep[] {
  const figures = figuresOf(planned)
  return STEPS.map(({ step, what }) => ({ step, what, figures: figures[step] }))
}

function figuresOf({ slice, to, measured, sequenceHeadroom }: Planned): Record<StepName, string[]> {
  const { holdMs, maxHeld, drainMs, quietMs } = slice.cutover
  const { routers, openWriters, epoch, streams, verification, sequences } = measured
  const forward = STAGES[to].owner === 'service'
  const [old, fresh] = forward ? ['legacy', slice.service] : [slice.service, 'legacy']
  const tables = tablesAt(slice, old)
  const stream = streams.find(each => each.name === streamTo(slice, STAGES[to].owner))
  const lag = stream?.lagMs ?? null
  const age = verification?.ageMs ?? null
  return {
    hold: [
      `${countOf(slice.routes.length, 'route')} at ${countOf(routers, 'router')}`,
      `up to ${countOf(maxHeld, 'request')} each, ${timeText(holdMs)} at most`,
    ],
    drain: [
      `${timeText(drainMs)} at most, at rest for ${timeText(quietMs)}`,
      ...(openWriters === null
        ? []
        : openWriters.length === 0
          ? [`nobody writes in ${old} now`]
          : [
              `${countOf(openWriters.length, 'open transaction')} there now: ${openWriters.join('; ')}`,
            ]),
    ],
    fence: [
      `${old}: ${tables.join(', ')}`,
      ...(epoch === null ? [] : [`epoch ${epoch.now} → ${epoch.next}`]),
    ],
    reach: [
      `${stream?.name ?? streamTo(slice, STAGES[to].owner)}`,
      ...(lag === null ? [] : [`lag ${timeText(lag)} now`]),
    ],
    compare: age === null ? [] : [`those that changed since the verification ${ageText(age)}`],
    prepare:
      sequences === null
        ? []
        : sequences.length === 0
          ? ['no sequence']
          : [`${sequences.join(', ')}: ${countText(sequenceHeadroom)} past both sides`],
    decide: [],
    open: [fresh],
    publish: [countOf(routers, 'router')],
  }
}

function tablesAt(slice: Slice, side: string): string[] {
  const tables = Object.entries(slice.tables)
  return tables.map(([name, { to }]) => (side === 'legacy' ? name : to))
}

export interface Change {
  readonly who: string
  readonly what: string
}

/** What a flip of reads alone changes, for readers, writers, data and clients that wait. */
export function changesOf(planned: Planned): Change[] {
  const { slice, from, to } = planned
  const owns = Object.keys(slice.tables).length > 0
  return [
    { who: 'readers', what: readersOf(planned) },
    { who: 'writers', what: writersOf(planned) },
    ...(owns ? dataOf(planned) : [{ who: 'data', what: 'the slice has no tables: no data moves' }]),
    {
      who: 'waiting',
      what: from === 'legacy' && to === 'sync' && owns ? GATES_WAIT : 'nobody waits',
    },
  ]
}

// The gates are triggers: making one takes the table's lock for a moment.
const GATES_WAIT =
  'writers of a table for a moment while its gate is made; nobody waits for the copy'

function readersOf({ slice, from, to, percent }: Planned): string {
  const { service, canary } = slice
  const { reads } = STAGES[to]
  if (reads === 'legacy')
    return STAGES[from].reads === 'legacy'
      ? 'legacy answers, as before'
      : 'legacy answers all of them again'
  if (reads === 'compare') {
    const { sample } = slice.shadow
    const sampled = sample === 100 ? 'safe requests' : `${percentText(sample)} of the safe requests`
    const again =
      STAGES[from].reads === 'compare' || STAGES[from].reads === 'legacy' ? '' : ' again'
    return `legacy answers${again}; ${sampled} also go to ${service} and are compared, no client waits for that`
  }
  if (reads === 'service') return `${service} answers all of them`
  const keys = canary.by.length > 0 ? ` (${canary.by.join(', ')})` : ''
  const before = from === 'canary' ? ` instead of ${percentText(percent.from)}` : ''
  const always = canary.include.length > 0 ? `, and always ${canary.include.join(', ')}` : ''
  const nobody =
    canary.by.length === 0 ? '; the file names no key (canary.by), so nobody is chosen' : ''
  return (
    `${service} answers ${percentText(percent.to)} of the keys${keys}${before}${always}${nobody}; legacy answers the rest, ` +
    `and whoever has just written until ${service} has that write`
  )
}

function writersOf({ slice, from, to }: Planned): string {
  const owner = STAGES[to].owner === 'legacy' ? 'legacy' : slice.service
  return STAGES[from].owner === STAGES[to].owner
    ? `${owner} takes them, as before`
    : `${owner} takes all of them from then on`
}

function dataOf({ slice, from, to, measured }: Planned): Change[] {
  const { service, tables } = slice
  if (STAGES[to].stream === 'off') {
    return [{ who: 'data', what: `the streams end; a later sync copies everything again` }]
  }
  if (STAGES[from].stream !== 'off') return [{ who: 'data', what: 'the streams go on, as before' }]
  const sizes = measured.sizes ?? []
  const rows = sizes.every(each => each.rows !== null)
    ? `about ${countText(sizes.reduce((sum, each) => sum + (each.rows ?? 0), 0))} rows, `
    : ''
  const bytes = sizes.reduce((sum, each) => sum + each.bytes, 0)
  const size = sizes.length > 0 ? ` (${rows}${sizeText(bytes)})` : ''
  const names = Object.entries(tables).map(([name, { to: target }]) =>
    name === target ? name : `${name} → ${target}`,
  )
  return [
    {
      who: 'data',
      what: `${names.join(', ')} ${names.length === 1 ? 'is' : 'are'} copied${size} and kept in step with legacy`,
    },
    {
      who: 'legacy',
      what: 'stays the owner; gates (open), a publication and a slot are made there',
    },
    {
      who: service,
      what: `its tables ${Object.values(tables)
        .map(each => each.to)
        .join(', ')} are emptied first, and closed for all but the stream`,
    },
  ]
}

export interface After {
  /** It takes something away from somebody. */
  readonly warns: boolean
  readonly what: string
}

/** What is so after a flip of the owner: who is refused, which keys go or come back. */
export function afterOf(planned: Planned): After[] {
  const { slice, to, measured } = planned
  const forward = STAGES[to].owner === 'service'
  const old = forward ? 'legacy' : slice.service
  const tables = tablesAt(slice, old).join(', ')
  const refused = { warns: true, what: `${old} refuses every write to ${tables} but the stream's` }
  const keys = measured.keys ?? []
  if (!forward) {
    const back = keys.map(each => ({
      warns: false,
      what: `${each.key}: its foreign key ${each.name} is put back, and stays NOT VALID if a row there has no parent`,
    }))
    return [...lossOf(slice, measured), refused, ...back]
  }
  return [
    refused,
    ...seenWriters(measured),
    ...Object.entries(slice.sideWrites).map(([table, who]) => ({
      warns: who === 'dropped',
      what:
        who === 'dropped'
          ? `${table} is written by nobody any more`
          : `${table} is written by ${who === 'legacy' ? who : slice.service}`,
    })),
    ...keys.map(each => ({
      warns: true,
      what: each.dropped
        ? `${each.key}: the foreign key ${each.name} was dropped by an earlier try`
        : `${each.key}: the foreign key ${each.name} is dropped before the hold; its text is kept for the way back`,
    })),
    ...(measured.unenforced ?? []).map(what => ({ warns: true, what })),
  ]
}

function lossOf({ service }: Slice, { wayBack }: Measured): After[] {
  if (!wayBack?.loses) return []
  const what = `${lossText(wayBack.loses)} that only ${service} has would not be in legacy`
  return [{ warns: true, what }]
}

function seenWriters({ census }: Measured): After[] {
  const { transactions, monolith, writers } = census
  if (transactions === 0) {
    return [{ warns: true, what: 'who else writes them is not known: none was seen during sync' }]
  }
  if (writers.length === 0) {
    const count = countOf(transactions, 'transaction')
    const what = `at sync ${monolith ?? 'nobody that is known'} alone was seen writing them, in ${count}; since then nobody looked`
    return [{ warns: false, what }]
  }
  return writers.map(({ name, perDay, waived }) => ({
    warns: true,
    what: `${name} is refused, about ${countText(perDay)} times a day${waived ? ' (waived)' : ''}`,
  }))
}

/** What going back costs from there; what is promised rests on the stream that leads back. */
export function wayBackOf({ slice, to, measured }: Planned): string | null {
  const { wayBack, owner } = STAGES[to]
  if (to === 'legacy') return null
  if (Object.keys(slice.tables).length === 0) return 'instant'
  if (owner === 'legacy') return wayBack
  const stream = measured.streams.find(each => each.name === streamTo(slice, 'legacy'))
  if (!stream) return wayBack
  const lag = stream.lagMs === null ? '' : `, lag ${timeText(stream.lagMs)} now`
  return `${wayBack} while ${stream.name} is in step (${stream.state}${lag})`
}
