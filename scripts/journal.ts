/** `banyan journal`: what was decided, by whom, why, and how it ended; newest last, one line for each entry. */
import pc from 'picocolors'
import { type JournalEntry, readJournal } from '../control/store/journal.ts'
import { readSlices } from '../control/store/slices.ts'
import { BanyanError } from '../model/errors.ts'
import { CONTROL_ERRORS } from '../model/errors-control.ts'
import { STAGE_NAMES } from '../model/stage.ts'
import { countOf, countText } from './amounts.ts'
import { commandLine, type Context, type ExitCode, jsonText } from './context.ts'
import { type Opened, withGoodFiles } from './control-store.ts'
import { stageText } from './flip-text.ts'
import { layOut, printable, widthOf } from './table.ts'

const LINES_MAX = 10_000

type Colors = ReturnType<typeof pc.createColors>

/** Throws OPTION_INVALID, SLICE_UNKNOWN, and what `withGoodFiles` throws. */
export async function runJournal(
  context: Context,
  slice: string | undefined,
  lines: string,
): Promise<ExitCode> {
  const limit = linesOf(lines)
  return withGoodFiles<ExitCode>(context, async opened => {
    if (slice !== undefined) await mustBeKnown(opened, slice)
    const entries = (await readJournal(opened.store, { slice, limit })).reverse()
    if (context.json) context.write(jsonText(entries))
    else context.write(screen(context, slice, entries))
    return 0
  })
}

function linesOf(text: string): number {
  const lines = /^\d{1,6}$/.test(text) ? Number(text) : 0
  if (lines >= 1 && lines <= LINES_MAX) return lines
  const why = `it is a whole number from 1 to ${LINES_MAX}`
  throw new BanyanError(CONTROL_ERRORS.OPTION_INVALID, ['--lines', text, why, 'journal'])
}

/** A slice whose file is gone still has a past. */
async function mustBeKnown({ wiring, store }: Opened, name: string): Promise<void> {
  const known = [...wiring.project.slices, ...(await readSlices(store.pool))].map(each => each.name)
  if (known.includes(name)) return
  const list = [...new Set(known)].sort().join(', ') || 'none yet'
  throw new BanyanError(CONTROL_ERRORS.SLICE_UNKNOWN, [name, list])
}

function screen(
  context: Context,
  slice: string | undefined,
  entries: readonly JournalEntry[],
): string {
  const colors = pc.createColors(context.color)
  const shown = printable(entries)
  const rows = shown.map(entry => [
    colors.dim(timeOf(entry.at)),
    ...(slice === undefined ? [entry.slice ?? '–'] : []),
    whatText(colors, entry),
  ])
  const lines = layOut(rows, widthOf(context)).flatMap((line, n) => {
    const day = dayOf(shown[n]!.at)
    return n > 0 && dayOf(shown[n - 1]!.at) === day ? [line] : [colors.bold(day), line]
  })
  if (lines.length === 0) lines.push('nothing was decided yet')
  const next = slice === undefined ? 'status' : `why ${slice}`
  return `${[...lines, `next: ${commandLine(context, next)}`].join('\n')}\n`
}

function whatText(colors: Colors, { kind, actor, detail }: JournalEntry): string {
  const details = detailText(detail)
  return `${colored(colors, kind)} by ${actor}${details === '' ? '' : `: ${details}`}`
}

/** A day has a line of its own, so that what was decided has room. */
function dayOf(iso: string): string {
  return iso.slice(0, 'YYYY-MM-DD'.length)
}

/** To the second; `--json` has the rest. */
function timeOf(iso: string): string {
  return iso.slice('YYYY-MM-DDT'.length).replace(/\.\d+Z$/, 'Z')
}

function colored(colors: Colors, kind: string): string {
  if (/done$|off$|approved$/.test(kind)) return colors.green(kind)
  return /refused$|undone$|(brake|pause) on$/.test(kind) ? colors.red(kind) : kind
}

/** The details that a person looks for, in one order whatever the entry: where to, which epoch, what of, why. */
export function detailText(detail: JournalEntry['detail']): string {
  const text = (name: string): string | undefined => {
    const value = detail[name]
    return typeof value === 'string' || typeof value === 'number' ? String(value) : undefined
  }
  const count = (name: string, noun: string): string | undefined => {
    const value = detail[name]
    return typeof value === 'number' ? countOf(value, noun) : undefined
  }
  const table = text('table')
  const reason = text('reason')
  const parts = [
    moveOf(text, detail['percent']),
    text('plan') && `plan ${text('plan')}`,
    text('verdict'),
    text('epoch') && `epoch ${text('epoch')}`,
    table && [table, text('key'), text('state')].filter(Boolean).join(' '),
    count('rows', 'row'),
    typeof detail['differences'] === 'number' && `${countText(detail['differences'])} different`,
    count('writes', 'write'),
    count('objects', 'changed object'),
    text('code'),
    text('message'),
    reason && `"${reason}"`,
  ]
  return parts.filter(part => typeof part === 'string' && part !== '').join(' · ')
}

function moveOf(text: (name: string) => string | undefined, percent: unknown): string | undefined {
  const to = text('to') ?? text('stage')
  if (to === undefined) return undefined
  const from = text('from')
  const stage = STAGE_NAMES.find(each => each === to)
  const goal = stage && typeof percent === 'number' ? stageText(stage, percent) : to
  return from === undefined ? `→ ${goal}` : `${from} → ${goal}`
}
