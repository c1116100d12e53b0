/** One slice in words and cells, for every screen that shows it. */
import { parseStream } from '../model/stream.ts'
import { STAGES } from '../model/stage.ts'
import type { FlipRow } from '../control/store/flips.ts'
import { ageText, countOf, countText, timeText } from './amounts.ts'
import type { Checked } from './checks-now.ts'
import { percentText, stageText } from './flip-text.ts'
import type { SliceLook } from './look.ts'
import { atWant, lastFailed, nextStage, type SliceSeen } from './next-step.ts'
import { wayBackWords } from './loss-text.ts'
import type { Paint } from './paint.ts'

/** `moved → canary 25 %`, or the stage alone where it is the wanted one. */
export function stageCell(look: SliceLook, { colors }: Paint): string {
  const is = stageText(look.stage, look.percent)
  const braked = look.brake ? colors.yellow(look.brake.paused ? ' pause' : ' brake') : ''
  if (atWant(look)) return is + braked
  const want = look.want ? stageText(look.want.stage, look.want.percent) : 'no file'
  return `${colors.yellow(want)} → ${is}${braked}`
}

export function readsCell({ stage, percent, service }: SliceLook): string {
  const { reads } = STAGES[stage]
  if (reads === 'legacy') return 'legacy'
  if (reads === 'compare') return 'legacy, compared'
  return reads === 'split' ? `${service} ${percentText(percent)}` : service
}

/** A worker that was silent this long isn't believed. */
export const SILENT_MAX_MS = 3_000

type Stream = SliceLook['streams'][number]

/** The lag of the stream that carries the owner's changes. */
export function lagCell(
  look: SliceLook,
  lagMaxMs: number,
  { colors, bad, unknown }: Paint,
): string {
  if (look.streams.length === 0) return '–'
  const copying = look.streams.find(each => each.state === 'copying' || each.state === 'new')
  if (look.streams.some(each => each.error !== null || each.state === 'failed')) return bad
  if (copying) return copying.rowsTotal > 0 ? `copy ${copyText(copying)}` : 'waits'
  const carrying = look.streams.find(each => parseStream(each.name)?.from === look.owner)
  const lag = carrying?.lagMs ?? null
  if (lag === null) return unknown
  return lag > lagMaxMs ? colors.red(timeText(lag)) : timeText(lag)
}

/** The total is the planner's estimate: it can be short of the truth. */
function copyText({ rowsCopied, rowsTotal }: Stream): string {
  return `${Math.min(99, Math.floor((100 * rowsCopied) / Math.max(1, rowsTotal)))} %`
}

/** `✔`, `✖2`, `?`, or both; with the stage that was asked about. */
export function checksCell(checks: Checked | null, paint: Paint, withStage: boolean): string {
  if (checks === null) return '–'
  const { colors, good, unknown } = paint
  const blocked = checks.blockers.length
  const marks = [
    ...(checks.state === 'go' ? [good] : []),
    ...(blocked > 0 ? [colors.red(`✖${blocked}`)] : []),
    ...(checks.state === 'unknown' ? [unknown] : []),
  ]
  return `${marks.join(' ')}${withStage ? ` ${checks.to}` : ''}`
}

/** Where it costs a pause, the words hold only if the way is free now. `short`: without what they promise. */
export function wayBackCell(
  look: SliceSeen,
  { good, bad, unknown }: Paint,
  short: boolean,
): string {
  const { wayBack, checks } = look
  const [cost, promise] = wayBack.split(', ')
  if (promise === undefined) return wayBack
  if (checks === null || STAGES[checks.to].owner !== 'legacy') return `${cost} ${unknown}`
  const way = checks.wayBack
  if (way && (way.state === 'broken' || way.state === 'away')) return `${wayBackWords(way)} ${bad}`
  if (checks.state === 'unknown') return `${cost} ${unknown}`
  // A brake waits for nobody's approval.
  if (checks.blockers.some(each => each.code !== 'APPROVAL')) return `not now ${bad}`
  return `${short ? cost : wayBack} ${good}`
}

/** `legacy>rooms:visits` in words: state, lag, and whether its worker is heard. */
export function streamState(stream: Stream, { colors }: Paint, silentMaxMs: number): string[] {
  const { state, error, silentMs, lagMs, rowsCopied, rowsTotal } = stream
  const told = silentMs === null ? 'never heard of' : `last heard ${ageText(silentMs)}`
  const heard = silentMs === null || silentMs > silentMaxMs ? [colors.red(told)] : []
  if (error) return [colors.red(`${state}, ${error.code}`), error.message, ...heard]
  if (state === 'copying') {
    const of = rowsTotal > 0 ? ` of about ${countText(rowsTotal)}` : ''
    return [`copying, ${countText(rowsCopied)}${of} rows`, ...heard]
  }
  if (state !== 'streaming') return [colors.yellow(state), ...heard]
  return [lagMs === null ? 'streaming' : `streaming, lag ${timeText(lagMs)}`, ...heard]
}

/** True where a stream needs a line of its own even in a short list. */
export function isNotable({ state, error, silentMs }: Stream, silentMaxMs: number): boolean {
  if (state !== 'streaming' || error !== null) return true
  return silentMs === null || silentMs > silentMaxMs
}

export function verificationText(look: SliceLook, nowMs: number, { colors, bad }: Paint): string {
  const { verification, outdated } = look
  if (verification === null) {
    return outdated === null
      ? 'the two sides were never compared'
      : `the last comparison doesn't count: ${outdated}`
  }
  const { rows, differences, endedAtMs } = verification
  const age = endedAtMs === null ? '' : `, ${ageText(nowMs - endedAtMs)}`
  if ((differences ?? 0) > 0) {
    return `${bad} ${colors.red(`${countOf(differences ?? 0, 'row')} differ`)} of ${countText(rows ?? 0)}${age}`
  }
  return `${countOf(rows ?? 0, 'row')} equal${age}`
}

/** Why what is wanted isn't what is; undefined where it is. `named`: with the file that wants it. */
export function reasonText(
  seen: SliceSeen,
  { controlAlive, named }: { readonly controlAlive: boolean; readonly named: boolean },
): string | undefined {
  const { want, brake, flip, service, checks, proposed } = seen
  if (want === null) return 'its file is gone: no router knows its routes, they all go to legacy'
  if (atWant(seen)) return undefined
  const wants = `${named ? `${want.file} ` : ''}wants ${stageText(want.stage, want.percent)}`
  if (brake) return `${wants}: the ${brake.paused ? 'pause' : 'brake'} holds it`
  if (flip) return `${wants}: it is on its way`
  const next = nextStage(seen)
  if (proposed) {
    const to = STAGES[next].owner === 'legacy' ? 'legacy' : service
    const what = seen.tables.length > 0 ? 'the tables' : 'its writes'
    const failed = lastFailed(seen)
      ? `the last flip to ${next} was ${seen.lastFlip?.outcome}; `
      : ''
    return `${wants}: ${failed}that gives ${what} to ${to}, so it stands as proposed`
  }
  if (lastFailed(seen)) return `${wants}: the last flip to ${next} was ${seen.lastFlip?.outcome}`
  if (!controlAlive) return `${wants}: no controller is there to take it to ${next}`
  const once = checks?.state === 'blocked' ? ' once nothing is in the way' : ''
  return `${wants}: it goes to ${next} by itself${once}`
}

/** What a proposal waits for, and the command; undefined where nothing is proposed, or it is on its way. */
export function proposedText({ proposed, flip }: SliceLook): string | undefined {
  if (proposed === null || flip) return undefined
  const { short, needed, approvedBy } = proposed
  const by = approvedBy.length > 0 ? `, approved by ${approvedBy.join(', ')},` : ''
  const more = needed - approvedBy.length
  if (more <= 0) return `plan ${short}${by} is carried out by itself`
  const who = by === '' ? `${countOf(more, 'person')} to approve it` : `${more} more`
  return `plan ${short}${by} waits for ${who}: banyan approve ${short}`
}

/** `flip to moved`, `rehearsal of moved` */
export function flipName({ kind, to, percent }: FlipRow): string {
  return kind === 'rehearsal' ? `rehearsal of ${to}` : `flip to ${stageText(to, percent)}`
}
