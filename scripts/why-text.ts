/** `banyan why` as text. Pure: it prints what was read, and nothing that wasn't. */
import type { FlipRow } from '../control/store/flips.ts'
import { abandonedLines } from './abandoned-text.ts'
import { ageText, clockText, countOf, countText, timeText } from './amounts.ts'
import { findingLines } from './finding-text.ts'
import { pauseOf, stageText } from './flip-text.ts'
import { pendingLines, wayBackWords } from './loss-text.ts'
import type { SliceLook } from './look.ts'
import type { SliceSeen } from './next-step.ts'
import { type Paint, problemLines } from './paint.ts'
import * as say from './slice-text.ts'
import { flow, lengthOf, wrap } from './table.ts'
import type { Why } from './why.ts'

/** Lines without the last one (`next:`). */
export function whyLines(why: Why, paint: Paint): string[] {
  const { colors, width } = paint
  const { slice, nowMs } = why
  const { sinceMs, stage, percent, service, epoch } = slice
  const since =
    sinceMs === null
      ? ': no controller has seen it yet'
      : ` for ${timeText(nowMs - sinceMs)}, since ${clockText(sinceMs)}`
  const owner = `${slice.owner} owns ${slice.tables.length === 0 ? 'nothing: it has no tables' : slice.tables.join(', ')}`
  const about = [`service ${service}`, owner, `epoch ${epoch}`]
  const sections: readonly (readonly [string, readonly string[]])[] = [
    ['', [flow(about, width - LABEL).join('\n')]],
    ['want', wantLines(why, paint)],
    [slice.brake?.paused ? 'pause' : 'brake', brakeLines(why, paint)],
    [slice.flip?.kind === 'rehearsal' ? 'rehearsal' : 'flip', openFlipLines(why, paint)],
    ['last flip', lastFlipLines(slice, nowMs, paint)],
    ['given up', abandonedLines([slice], why, paint)],
    ['came here', cameLines(why)],
    ['streams', streamLines(slice, paint)],
    ['verified', verifiedLines(slice, nowMs, paint)],
    ['way back', wayBackLines(why, paint)],
    ['checks', checkLines(why, paint)],
    ['keys', why.unheld.map(each => `${paint.colors.yellow('!')} ${each}`)],
  ]
  return [
    ...wrap(`${colors.bold(slice.slice)}  ${stageText(stage, percent)}${since}`, width, '  '),
    ...sections.flatMap(([label, lines]) => labelled(label, lines, paint)),
    ...findingLines(why, paint).flatMap(line => wrap(line, width, '  ')),
  ]
}

/** Columns of the labels. */
const LABEL = 11

function labelled(label: string, lines: readonly string[], { colors, width }: Paint): string[] {
  return lines
    .flatMap(line => line.split('\n'))
    .flatMap(line => wrap(line, width - LABEL, '  '))
    .map((line, n) => `${n === 0 ? colors.dim(label.padEnd(LABEL)) : ' '.repeat(LABEL)}${line}`)
}

function wantLines({ slice, control }: Why, { colors, good }: Paint): string[] {
  const reason = say.reasonText(slice, { controlAlive: control.alive, named: true })
  const from = control.elsewhere
    ? [`the controller reads ${control.configPath} on ${control.host}, not the files here`]
    : []
  const proposed = say.proposedText(slice)
  if (reason !== undefined) {
    return [reason, ...(proposed === undefined ? [] : [proposed])].map(colors.yellow).concat(from)
  }
  return [`${good} ${slice.want?.file} wants what is`, ...from]
}

function brakeLines({ slice, nowMs }: Why, { colors }: Paint): string[] {
  const { brake } = slice
  if (brake === null) return []
  const what = `${brake.paused ? 'stays' : 'held'} at ${brake.stage}`
  const on = `${colors.yellow(what)} by ${brake.by}, ${ageText(nowMs - brake.atMs)}`
  const stands = brake.paused
    ? 'no flip of it begins, by file or by hand, until it is released'
    : 'it stands, whatever the file says, until it is released'
  return [`${on}: ${brake.reason}`, stands]
}

function openFlipLines({ slice, nowMs, control }: Why, paint: Paint): string[] {
  const { flip } = slice
  if (flip === null) return []
  const what =
    flip.kind === 'rehearsal' ? `of ${flip.to}` : `to ${stageText(flip.to, flip.percent)}`
  const to = paint.colors.yellow(`${what} under way`)
  const began =
    flip.startedAtMs === null ? 'not begun yet' : `begun ${ageText(nowMs - flip.startedAtMs)}`
  const alone = control.alive ? [] : ['no controller is there: the next one settles it']
  return [`${to}, asked for by ${flip.actor}, ${began}`, ...stepLines(flip), ...alone]
}

function lastFlipLines({ lastFlip, checks }: SliceSeen, nowMs: number, paint: Paint): string[] {
  if (lastFlip === null) return ['none yet']
  const { colors } = paint
  const { outcome, error, to, percent, endedAtMs, actor } = lastFlip
  const mark = outcome === 'done' ? paint.good : paint.bad
  const rehearsed = lastFlip.kind === 'rehearsal' && outcome === 'done'
  const how = outcome === 'done' ? (rehearsed ? 'rehearsed' : outcome) : colors.red(String(outcome))
  const age = endedAtMs === null ? '' : ` ${ageText(nowMs - endedAtMs)}`
  const kind = {
    ...{ flip: '', back: ' (the brake)', file: '', rehearsal: ' (rehearsal)' },
    abandon: ' (given up)',
  }
  const reason = lastFlip.reason === null ? '' : `: ${lastFlip.reason}`
  const whole = { ...paint, width: Infinity }
  // What is still in the way stands under `checks`, with the command that clears it.
  const still = checks?.to === to ? checks.blockers.map(each => each.code) : []
  const blockers = error?.blockers ?? []
  const standing = blockers.filter(each => still.includes(each.code)).map(each => each.code)
  const others = blockers.filter(each => !still.includes(each.code))
  return [
    `${mark} ${lastFlip.from} → ${stageText(to, percent)} ${how}${age}, asked for by ${actor}${kind[lastFlip.kind]}${reason}`,
    ...(rehearsed ? ['nothing moved'] : []),
    ...stepLines(lastFlip),
    ...(standing.length > 0 ? [`still in the way: ${colors.red(standing.join(', '))}`] : []),
    ...others.flatMap(each =>
      checks?.to === to && checks.state !== 'unknown'
        ? [`${paint.good} ${each.code} is cleared since then: ${each.message}`]
        : problemLines(whole, each),
    ),
    ...(error && blockers.length === 0 ? problemLines(whole, error) : []),
  ]
}

/** `pause 118 ms = hold 3 · drain 41 · …`; a step that failed says of what. */
function stepLines(flip: FlipRow): string[] {
  if (flip.steps.length === 0) return []
  const parts = flip.steps.map(({ step, ms, detail }) => {
    const failed = (detail as { failed?: string } | null)?.failed
    return `${step} ${ms === null ? '…' : Math.round(ms)}${failed ? ` ${failed}` : ''}`
  })
  return [`pause ${Math.round(pauseOf(flip))} ms = ${parts.join(' · ')}`]
}

/** Which flip brought it where it is, where that isn't the last one. */
function cameLines({ slice, cameBy, nowMs }: Why): string[] {
  if (cameBy === null || cameBy.id === slice.lastFlip?.id) return []
  const age = cameBy.endedAtMs === null ? '' : `, ${ageText(nowMs - cameBy.endedAtMs)}`
  const way = `${cameBy.from} → ${stageText(cameBy.to, cameBy.percent)}`
  return [`${way}, asked for by ${cameBy.actor}${age}`, ...stepLines(cameBy)]
}

function streamLines({ streams }: SliceLook, paint: Paint): string[] {
  const longest = Math.max(0, ...streams.map(each => lengthOf(each.name)))
  return streams.map(stream => {
    const bad = stream.error !== null || stream.silentMs === null
    const odd = say.isNotable(stream, say.SILENT_MAX_MS)
    const mark = bad ? paint.bad : odd ? paint.unknown : paint.good
    const state = say.streamState(stream, paint, say.SILENT_MAX_MS).join(', ')
    return `${mark} ${stream.name.padEnd(longest)}  ${state}`
  })
}

function verifiedLines(slice: SliceLook, nowMs: number, paint: Paint): string[] {
  if (slice.tables.length === 0) return []
  const { verification } = slice
  const differing = (verification?.tables ?? []).filter(
    each => each.missing + each.extra + each.different > 0,
  )
  const parts = (table: (typeof differing)[number]): string =>
    [
      [table.missing, 'missing'] as const,
      [table.extra, 'too many'] as const,
      [table.different, 'different'] as const,
    ]
      .filter(([count]) => count > 0)
      .map(([count, word]) => `${countText(count)} ${word}`)
      .join(', ')
  return [
    say.verificationText(slice, nowMs, paint),
    ...differing.map(table => {
      const total = table.missing + table.extra + table.different
      const rest = total > table.keys.length ? ', …' : ''
      return `  ${table.table}: ${parts(table)} of ${countOf(table.rows, 'row')}: ${table.keys.join(', ')}${rest}`
    }),
  ]
}

/** Only where the way home is looked at: what it would cost now, and what it would lose. */
function wayBackLines({ slice, nowMs }: Why, paint: Paint): string[] {
  const way = slice.checks?.wayBack
  if (!way) return []
  const words = wayBackWords(way)
  if (way.state === 'lossless') return [`${paint.good} ${words}`]
  const lines = [`${paint.bad} ${paint.colors.red(words)}`, ...(way.why === null ? [] : [way.why])]
  return way.loses ? [...lines, ...pendingLines(way.loses, nowMs)] : lines
}

function checkLines({ slice }: Why, paint: Paint): string[] {
  const { checks } = slice
  if (checks === null) return []
  const whole = { ...paint, width: Infinity }
  if (checks.state === 'go') return [`${paint.good} nothing stands in the way to ${checks.to}`]
  return [
    `on the way to ${checks.to}:`,
    ...checks.blockers.flatMap(each => problemLines(whole, each)),
    ...(checks.missing ? problemLines(whole, checks.missing, { known: false }) : []),
  ]
}
