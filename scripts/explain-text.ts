/** What `banyan explain` prints: the answer first, then everything that it rests on. */
import pc from 'picocolors'
import { unreachable } from '../model/errors.ts'
import type { Side } from '../model/stage.ts'
import { UNUSUAL_PATH_MAX_CHARS } from '../router/canonical.ts'
import type { Decision, Forward, Reason } from '../router/decide.ts'
import { BUCKETS, includes } from '../router/keys.ts'
import type { TableSlice } from '../router/table.ts'
import { timeText } from './amounts.ts'
import { commandLine, type Context } from './context.ts'
import type { Basis, Explained, Key } from './explain.ts'
import type { LostRoute } from './explain-routes.ts'
import { percentText, stageText } from './flip-text.ts'
import { widthOf, wrap } from './table.ts'

const LABEL = 10
/** More routes than these that lost are counted, not shown. */
const LOST_SHOWN = 6

export function explainText(context: Context, explained: Explained): string {
  const colors = pc.createColors(context.color)
  const width = widthOf(context)
  const { request } = explained
  const head = `${request.method} ${request.target} ${colors.bold(`→ ${goalOf(explained)}`)}`
  const indent = ' '.repeat(LABEL + 2)
  const lines = rowsOf(explained).flatMap(([label, text]) => {
    const [first = '', ...rest] = wrap(text, width - indent.length)
    return [`  ${colors.dim(label.padEnd(LABEL))}${first}`, ...rest.map(line => indent + line)]
  })
  const next = `next: ${commandLine(context, nextOf(explained))}`
  return `${[head, ...lines, next].join('\n')}\n`
}

/** As one document; no value of a header is in it. */
export function explainJson(explained: Explained): object {
  const { request, basis, routes, key, slice, order, decision } = explained
  return {
    method: request.method,
    target: request.target,
    basis,
    decision: decisionJson(decision),
    because: becauseOf(explained),
    inForce: explained.inForce ? decisionJson(explained.inForce) : null,
    own: explained.own,
    route: routes.won,
    lost: routes.lost,
    readings: routes.readings ?? null,
    slice: slice && order ? sliceJson(order) : null,
    key: key ?? null,
  }
}

function sliceJson({ name, order }: TableSlice): object {
  const { stage, percent, owner, service } = order
  return { name, stage, percent, owner, service }
}

function decisionJson(decision: Decision): object {
  if (decision.kind === 'refuse') return decision
  const { kind, side, reason, unsafe, hold, shadow, fallback } = decision
  return { kind, side, reason, unsafe, hold, shadow, fallback }
}

function goalOf({ own, decision, project }: Explained): string {
  if (own) return 'the façade itself'
  if (decision.kind === 'refuse') return 'refused by the façade (400)'
  const { side, slice } = decision
  if (side === 'legacy' || !slice) return `legacy (${project.banyan.legacy.url})`
  return `${slice.order.service} (${slice.upstream.url})`
}

type Row = readonly [label: string, text: string]

function rowsOf(explained: Explained): Row[] {
  const { decision, routes, slice, order, basis, inForce, own } = explained
  const forward = decision.kind === 'forward' ? decision : undefined
  const rows: Row[] = [['because', becauseOf(explained)]]
  if (own) return rows
  if (routes.won) rows.push(['route', `${routes.won.route}  ${routes.won.place}`])
  rows.push(...lostRows(routes.lost))
  const readings = routes.readings ?? []
  for (const { path, won } of readings.length > 1 ? readings : []) {
    rows.push(['may mean', `${path}: ${won ? `${won.route}  ${won.place}` : "no slice's route"}`])
  }
  if (slice && order) {
    const { stage, percent, owner } = order.order
    rows.push(['slice', `${slice.name}, at ${stageText(stage, percent)}, owned by ${owner}`])
  }
  if (forward && slice && order) {
    if (order.by.length > 0) rows.push(['key', keyText(explained, order)])
    rows.push(['held', heldText(forward, basis)])
    rows.push(['shadowed', shadowText(forward, explained)])
    rows.push(['fallback', fallbackText(forward)])
  }
  rows.push(['facts', basisText(basis)])
  if (inForce) rows.push(['but', inForceText(inForce, basis)])
  return rows
}

function lostRows(lost: readonly LostRoute[]): Row[] {
  const rows = lost.slice(0, LOST_SHOWN).map(({ route, slice, place, lost }): Row => {
    return [lost === 'method' ? 'not' : 'over', `${route}  ${place}: ${LOSSES[lost](slice, route)}`]
  })
  const more = lost.length - LOST_SHOWN
  return more > 0 ? [...rows, ['', `and ${more} more (see --json)`]] : rows
}

const LOSSES: Readonly<Record<LostRoute['lost'], (slice: string, route: string) => string>> = {
  specificity: slice => `less specific, of ${slice}`,
  'same slice': slice => `as specific, and of ${slice} too: it makes no difference`,
  method: (slice, route) => `of ${slice}, answers ${route.slice(0, route.indexOf(' '))} only`,
}

interface Ground {
  readonly side: Side
  readonly slice: TableSlice | null
  readonly rules: string
}

/** One sentence for each reason that a decision may have. */
const REASONS: Readonly<Record<Reason, (ground: Ground) => string>> = {
  unmatched: () => "no slice's route matches it, and all that no slice has stays with legacy",
  unclear: () =>
    'its spelling can be read as several paths; legacy owns all that they could mean, so it reads it itself',
  owner: ({ side, slice }) =>
    `it may change something, so it goes to the owner of ${slice?.name ?? 'it'}: ${nameOf(side, slice)}`,
  stage: ({ side, slice }) =>
    `at ${slice?.order.stage ?? 'legacy'}, ${nameOf(side, slice)} answers every safe request`,
  'no-key': ({ rules }) =>
    `at canary a request is chosen by its key, and it has none of ${rules}: legacy answers`,
  outside: ({ slice }) =>
    `its key is not one of the ${percentText(slice?.order.percent ?? 0)} whose reads the service answers`,
  stale: () =>
    'nothing says that the copy is up to date (its stream is away or behind), so legacy answers',
  chosen: ({ slice }) =>
    `its key is one of the ${percentText(slice?.order.percent ?? 0)} whose reads the service answers; ` +
    'for a moment after a write of this key legacy answers, until the copy has it',
  included: () =>
    'canary.include names it, so the service answers; for a moment after a write of this key legacy answers',
}

function becauseOf({ own, decision, order, routes, slice }: Explained): string {
  if (own) return 'these are the keys by which services check who a request belongs to'
  switch (decision.kind) {
    case 'refuse':
      return routes.readings === undefined
        ? `a path this long (over ${UNUSUAL_PATH_MAX_CHARS} characters) with something unusual in it can't be read with certainty, ` +
            'and a slice has moved or is just moving'
        : 'its spelling can be read as several paths, and legacy may take it for one that is no longer its own: ' +
            'better no answer than the wrong owner; send the path in its plain spelling'
    case 'forward': {
      const rules = slice?.canary.by.join(', ') ?? ''
      return REASONS[decision.reason]({ side: decision.side, slice: order ?? null, rules })
    }
    default:
      return unreachable(decision)
  }
}

function nameOf(side: Side, slice: TableSlice | null): string {
  return side === 'legacy' ? 'legacy' : (slice?.order.service ?? 'the service')
}

function keyText({ key, request, slice }: Explained, order: TableSlice): string {
  const split = order.rule.reads === 'split'
  const included = includes(order.include, request) ? 'canary.include matches; ' : ''
  if (!key) return `${included}none found: canary.by is ${slice?.canary.by.join(', ')}`
  const bucket = (key.bucket * 100) / BUCKETS
  const below = percentText((key.below * 100) / BUCKETS)
  const verdict = split
    ? `${key.in ? 'in' : 'out'}: the first ${below} are in`
    : `at canary ${below} it would be ${inOrOut(key)}`
  return `${included}${key.rule}, bucket ${bucket.toFixed(2)} of 100, ${verdict}`
}

function inOrOut(key: Key): string {
  return key.in ? 'in' : 'out'
}

function heldText({ unsafe, hold }: Forward, basis: Basis): string {
  if (!unsafe) return 'no: a safe request never waits'
  if (hold) {
    return `yes: the owner is changing (epoch ${hold.epoch}); it waits up to ${timeText(hold.holdMs)}`
  }
  return basis.from === 'control'
    ? 'no: no flip of its owner is under way'
    : 'not known: only the control database says whether its owner is changing'
}

function shadowText({ shadow, slice }: Forward, { request }: Explained): string {
  if (!shadow || !slice) return 'no'
  const plain = request.method === 'GET' || request.method === 'HEAD'
  if (!plain || request.header('range') !== undefined) {
    return 'no: only a GET or HEAD of the whole is compared'
  }
  const { sample, service } = slice.order
  const part = sample === 100 ? '' : `${percentText(sample)} of these: `
  return `yes: ${part}a copy goes to ${service} afterwards, to be compared`
}

function fallbackText({ side, unsafe, fallback, slice }: Forward): string {
  if (fallback) return `yes: legacy answers where ${slice?.order.service} can't be reached`
  if (side === 'legacy') return 'no: legacy answers already'
  return unsafe ? 'no: a write is never given to another' : 'no: legacy does not own the data'
}

function basisText(basis: Basis): string {
  if (basis.from === 'files') {
    return `as the files say, every slice at legacy: ${basis.why}`
  }
  return basis.version === null
    ? 'the control database; no controller has told the routers anything yet'
    : `the control database, table ${basis.version}`
}

function inForceText(decision: Decision, basis: Basis): string {
  const table = basis.from === 'control' ? `table ${basis.version}` : 'a table'
  const there =
    decision.kind === 'refuse'
      ? 'refuse it'
      : `send it to ${nameOf(decision.side, decision.slice)} (${decision.reason})`
  return `routers decide by ${table}, made from other files than these: they ${there}`
}

function nextOf({ basis, slice }: Explained): string {
  if (basis.from === 'files') return 'up'
  return slice ? `status ${slice.name}` : 'status'
}
