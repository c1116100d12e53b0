/** `banyan status` as text. Pure: it prints what was read, and nothing that wasn't. */
import { ABANDON_ERRORS } from '../model/errors-abandon.ts'
import { abandonedLines } from './abandoned-text.ts'
import { ageText, countOf, countText, shareText, sizeText, timeText } from './amounts.ts'
import type { SliceSeen } from './next-step.ts'
import { type Paint, problemLines } from './paint.ts'
import * as say from './slice-text.ts'
import type { Status } from './status-facts.ts'
import { cut, flow, layOut, lengthOf, rowWidth, wrap } from './table.ts'
import { findingLines } from './finding-text.ts'

/** Lines without the last one (`next:`). */
export function statusLines(status: Status, paint: Paint): string[] {
  const whole = status.only === null
  return [
    ...headerLines(status, paint),
    ...(whole ? progressLines(status, paint) : []),
    ...status.insecure.map(({ name, url }) =>
      paint.colors.red(
        `! INSECURE  ${name} ${url}: any TLS certificate is taken for its own (insecure: true)`,
      ),
    ),
    ...changedLines(status, paint),
    ...abandonedLines(status.slices, status, paint),
    ...tableLines(status, paint),
    ...status.unheld.map(each => `${paint.colors.yellow('!')} ${each}`),
    ...findingLines(status, paint),
  ].flatMap(line => wrap(line, paint.width, '  '))
}

/** A database that was restored, failed over or copied: nothing of its slices moves before a person has looked. */
function changedLines({ slices }: Status, paint: Paint): string[] {
  return slices
    .flatMap(each => each.checks?.blockers ?? [])
    .filter(each => each.code === ABANDON_ERRORS.DATABASE_CHANGED.code)
    .flatMap(each => problemLines({ ...paint, width: Infinity }, each))
}

/** A folder's name may be longer than what it heads. */
const PROJECT_MAX = 32

function headerLines(status: Status, paint: Paint): string[] {
  const { colors, good, bad, unknown, width } = paint
  const { control, routers, ordersVersion, databases, upstreams } = status
  const onNewest = routers.filter(each => each.version >= ordersVersion).length
  const count = `${onNewest}/${routers.length}`
  const held = databases.filter(each => each.walHeldBytes !== null)
  const wal = held.map(({ name, walHeldBytes, walLimitBytes }) => {
    const limit = walLimitBytes === null ? '' : ` of ${sizeText(walLimitBytes)}`
    const text = `${sizeText(walHeldBytes ?? 0)}${limit} at ${name}`
    const high = walLimitBytes !== null && (walHeldBytes ?? 0) > walLimitBytes / 2
    return high ? colors.red(text) : text
  })
  const parts = [
    colors.bold(cut(status.project, PROJECT_MAX)),
    control.alive
      ? `control ${good}`
      : `control ${bad}${control.host === null ? ' never ran' : ''}`,
    routers.length === 0
      ? `routers ${bad} none`
      : `routers ${onNewest < routers.length ? colors.red(count) : count} on table ${ordersVersion}`,
    ...(wal.length > 0 ? [`WAL held ${wal.join(', ')}`] : []),
  ]
  const away = databases.filter(each => each.away !== null)
  return [
    ...flow(parts, width, { indent: '  ' }),
    ...(control.elsewhere
      ? [`  the controller reads ${control.configPath} on ${control.host}, not the files here`]
      : []),
    ...(control.problems.length > 0
      ? [
          `  ${bad} ${colors.red(`the files have ${countOf(control.problems.length, 'problem')}`)}; the last good ones count`,
          ...control.problems.map(each => `    ${each}`),
        ]
      : []),
    ...upstreams.flatMap(each => (each.why === null ? [] : [`  ${bad} ${goneText(each, paint)}`])),
    ...away.map(({ name, away }) => `  ${unknown} ${name}: ${away?.message}`),
  ]
}

function goneText({ name, url, why }: Status['upstreams'][number], { colors }: Paint): string {
  return name === 'legacy'
    ? `${colors.red("legacy can't be reached")}  ${url}: ${why}`
    : `${colors.red(`${name} isn't ready`)}  ${why}`
}

function progressLines({ progress }: Status, { colors, width }: Paint): string[] {
  const { slices, moved, requests, tables, tablesMoved, tablesOfLegacy } = progress
  const all = tablesOfLegacy === null ? countText(tables) : countText(tablesOfLegacy)
  const parts = [
    `${moved} of ${countOf(slices, 'slice')} moved`,
    ...(requests.total > 0
      ? [`${shareText(requests.byServices, requests.total)} of their requests`]
      : []),
    `${tablesMoved} of ${all} tables`,
  ]
  return flow(parts, width - 10, { indent: '' }).map(
    (line, n) => `${n === 0 ? colors.dim('progress') : '        '}  ${line}`,
  )
}

interface Shape {
  /** Which stage the checks are for. */
  readonly stage: boolean
  readonly wayBack: 'whole' | 'short' | 'below'
}

/** From the widest to the narrowest; what leaves the table stands under its slice. */
const SHAPES: readonly Shape[] = [
  { stage: true, wayBack: 'whole' },
  { stage: false, wayBack: 'whole' },
  { stage: false, wayBack: 'short' },
  { stage: false, wayBack: 'below' },
]

function tableLines(status: Status, paint: Paint): string[] {
  const { colors, width } = paint
  if (status.slices.length === 0) return [colors.dim('no slices yet: slices/<name>.yaml makes one')]
  const shapes = SHAPES.map(shape => ({ shape, rows: rowsOf(status, paint, shape) }))
  const { shape, rows } = shapes.find(each => rowWidth(each.rows) <= width) ?? shapes.at(-1)!
  const [head = '', ...lines] = layOut(rows, width)
  const slices = status.slices.flatMap((slice, n) => {
    const under = detailLines(slice, status, paint, shape)
    return [lines[n] ?? '', ...under]
  })
  const rest = lines.slice(status.slices.length)
  return [colors.dim(head), ...slices, ...rest.map(colors.dim)]
}

function rowsOf(status: Status, paint: Paint, { stage, wayBack }: Shape): string[][] {
  const differ = status.slices.some(each => say.stageCell(each, paint).includes('→'))
  const head = ['  SLICE', differ ? 'WANT → IS' : 'STAGE', 'READS', 'WRITES', 'LAG', 'CHECKS']
  const rows = status.slices.map(each => [
    `${paint.colors.dim(hasDetails(each, status, paint) ? '▾' : '▸')} ${paint.colors.bold(each.slice)}`,
    say.stageCell(each, paint),
    say.readsCell(each),
    each.owner,
    say.lagCell(each, status.lagMaxMs, paint),
    say.checksCell(each.checks, paint, stage),
    ...(wayBack === 'below' ? [] : [say.wayBackCell(each, paint, wayBack === 'short')]),
  ])
  const others = status.only === null ? [['  everything else', '', 'legacy', 'legacy']] : []
  return [[...head, ...(wayBack === 'below' ? [] : ['WAY BACK'])], ...rows, ...others]
}

function hasDetails(slice: SliceSeen, status: Status, paint: Paint): boolean {
  return detailLines(slice, status, paint, SHAPES[0]!).length > 0
}

/** What stands under a slice's row. */
function detailLines(slice: SliceSeen, status: Status, paint: Paint, shape: Shape): string[] {
  const { colors, width } = paint
  const whole = status.only !== null
  const lines = [
    ...standingLines(slice, status, paint),
    ...verdictLines(slice, status, paint, whole || shape.wayBack === 'below'),
    ...trafficLines(slice, paint, whole),
    ...streamLines(slice, paint, whole),
    ...checkLines(slice, paint, whole),
  ]
  const bar = `${colors.dim('│')} `
  const inside = width - 2
  return lines
    .flatMap(line => (whole ? wrap(line, inside, '  ') : [cut(line, inside)]))
    .map(line => bar + line)
}

function standingLines(slice: SliceSeen, { nowMs, control, only }: Status, paint: Paint): string[] {
  const { colors } = paint
  const { flip, brake, sinceMs } = slice
  const reason = say.reasonText(slice, { controlAlive: control.alive, named: only !== null })
  const lines: string[] = []
  if (only !== null) {
    const since =
      sinceMs === null
        ? 'no controller has seen it yet'
        : `at ${slice.stage} for ${timeText(nowMs - sinceMs)}`
    const own = slice.tables.length === 0 ? 'no tables' : slice.tables.join(', ')
    lines.push(`${since} · epoch ${slice.epoch} · ${countOf(slice.routes, 'route')} · ${own}`)
  }
  if (flip) {
    const at = flip.steps.at(-1)?.step
    const began =
      flip.startedAtMs === null ? 'not begun yet' : `begun ${ageText(nowMs - flip.startedAtMs)}`
    const where = at ? `, at ${at}` : ''
    lines.push(
      `${colors.yellow(`${say.flipName(flip)} under way`)}: asked for by ${flip.actor}, ${began}${where}`,
    )
  }
  if (brake) {
    const since = ageText(nowMs - brake.atMs)
    const [what, how] = brake.paused ? ['pause', 'stays'] : ['brake', 'held']
    lines.push(
      `${colors.yellow(what)}: ${how} at ${brake.stage} by ${brake.by}, ${since}: ${brake.reason}`,
    )
  }
  if (reason !== undefined) lines.push(colors.yellow(reason))
  const proposed = say.proposedText(slice)
  if (proposed !== undefined) lines.push(colors.yellow(proposed))
  return lines
}

/** What the last comparison found, and what the way back costs where the table has no room for it. */
function verdictLines(slice: SliceSeen, status: Status, paint: Paint, wayBack: boolean): string[] {
  const { streams, checks, verification } = slice
  const copied = streams.length > 0 && streams.every(each => each.state === 'streaming')
  // A check that asks for it says the same.
  const asked = checks?.blockers.some(each => each.code === 'VERIFY_MISSING')
  const shown = verification === null ? copied && !asked : streams.length > 0
  const words = say.wayBackCell(slice, paint, false)
  const parts = [
    ...(shown ? [say.verificationText(slice, status.nowMs, paint)] : []),
    ...(wayBack && words !== '–' ? [`way back: ${words}`] : []),
  ]
  return flow(parts, paint.width - 2)
}

function trafficLines(slice: SliceSeen, { colors, bad }: Paint, whole: boolean): string[] {
  const { traffic, service, stage } = slice
  const none = stage === 'shadow' ? ['shadow: no answer compared yet'] : []
  if (traffic === null) return none
  const { requests, failed, held, shadow, examples } = traffic
  const side = (name: string, count: number, lost: number): string => {
    const errors = lost > 0 ? `, ${colors.red(`${countText(lost)} failed`)}` : ''
    return `${name} ${countOf(count, 'request')}${errors}`
  }
  const lines: string[] = []
  if ((whole && requests.legacy + requests.service > 0) || failed.legacy + failed.service > 0) {
    const sides = [
      side('legacy', requests.legacy, failed.legacy),
      side(service, requests.service, failed.service),
    ]
    lines.push(`${sides.join(' · ')} since the routers started`)
  }
  if (held.now > 0) lines.push(colors.yellow(`${countOf(held.now, 'request')} held now`))
  if (held.overflowed + held.expired > 0) {
    lines.push(
      `${bad} of ${countOf(held.total, 'held request')} ${held.overflowed} were too many, ${held.expired} waited too long`,
    )
  }
  if (shadow.compared + shadow.dropped > 0) {
    const different = `${countText(shadow.different)} different`
    lines.push(
      `shadow: ${countText(shadow.compared)} answers compared, ${shadow.different > 0 ? colors.red(different) : different}` +
        (shadow.dropped > 0 ? `, ${countText(shadow.dropped)} not compared` : ''),
    )
  } else lines.push(...none)
  for (const { route, path, kind } of examples) lines.push(`  ${route}  ${path}  ${kind}`)
  return lines
}

function streamLines({ streams }: SliceSeen, paint: Paint, whole: boolean): string[] {
  const shown = whole ? streams : streams.filter(each => say.isNotable(each, say.SILENT_MAX_MS))
  const longest = Math.max(0, ...shown.map(each => lengthOf(each.name)))
  return shown.map(stream => {
    const state = say.streamState(stream, paint, say.SILENT_MAX_MS).join(', ')
    const mark = stream.error
      ? paint.bad
      : say.isNotable(stream, say.SILENT_MAX_MS)
        ? paint.unknown
        : paint.good
    const at = whole && stream.position !== null ? paint.colors.dim(`, at ${stream.position}`) : ''
    return `${mark} ${stream.name.padEnd(longest)}  ${state}${at}`
  })
}

function checkLines({ checks, streams }: SliceSeen, paint: Paint, whole: boolean): string[] {
  if (checks === null) return []
  const { to, missing, state } = checks
  const wide = { ...paint, width: Infinity }
  // A stream that has a line of its own isn't told twice.
  const told = streams.filter(each => !whole && say.isNotable(each, say.SILENT_MAX_MS))
  const blockers = checks.blockers.filter(
    each => !told.some(stream => each.message.includes(stream.name)),
  )
  return [
    ...(whole && state !== 'go' ? [`on the way to ${to}:`] : []),
    ...blockers.flatMap(each => problemLines(wide, each, { hint: whole })),
    ...(missing ? problemLines(wide, missing, { known: false, hint: whole }) : []),
    ...(whole && state === 'go' ? [`${paint.good} nothing stands in the way to ${to}`] : []),
  ]
}
