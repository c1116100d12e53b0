/** `banyan verify`: asks the worker to compare a slice's two sides row by row, waits, and says what it found. */
import type pg from 'pg'
import pc from 'picocolors'
import {
  readVerification,
  requestVerification,
  type VerificationRow,
  type VerifiedTable,
} from '../control/store/verifications.ts'
import { readStreams, type StreamRow } from '../control/store/streams.ts'
import type { Orphans } from '../control/orphans.ts'
import { BanyanError, must } from '../model/errors.ts'
import { CONTROL_ERRORS } from '../model/errors-control.ts'
import type { Slice } from '../model/project.ts'
import { type Stage, STAGES } from '../model/stage.ts'
import { formatStream } from '../model/stream.ts'
import { unqualified, type Wiring } from '../model/wiring.ts'
import { connect } from '../postgres/connection.ts'
import { waitedFor } from '../sync/verify/writers.ts'
import { countOf, countText, timeText } from './amounts.ts'
import { commandLine, type Context, type ExitCode, jsonText } from './context.ts'
import { findSlice, type Opened, withGoodFiles } from './control-store.ts'
import { brokenKeys, orphanedKeys, orphanLines } from './orphans-text.ts'
import { paintOf, problemLines } from './paint.ts'
import { streamWatch } from './stream-watch.ts'
import { cut, flow, layOut, printable, widthOf } from './table.ts'

const LOOK_MS = 250
const WAITS_MS = 1_000

/** Throws VERIFY_NO_STREAM, STREAMS_SILENT, what the stream failed of, SLICE_UNKNOWN, and what `withGoodFiles` throws. */
export async function runVerify(context: Context, name: string): Promise<ExitCode> {
  return withGoodFiles<ExitCode>(context, async opened => {
    const { slice, fact } = await findSlice(opened, name)
    if (Object.keys(slice.tables).length === 0) return nothingToCompare(context, name)
    if (STAGES[fact.stage].stream === 'off') {
      throw new BanyanError(CONTROL_ERRORS.VERIFY_NO_STREAM, [name, fact.stage])
    }
    const id = await requestVerification(opened.store, name, context.actor)
    const found = await awaitVerification(opened, context, slice, fact.stage, id)
    if (found.endedAtMs === null) return stoppedWaiting(context, name, id)
    const dropped = STAGES[fact.stage].owner === 'service'
    const orphans = found.tables ? await brokenKeys(opened, slice, { dropped }) : []
    return say(context, slice, fact.stage, found, orphans)
  })
}

/** A slice of routes alone has one owner of its data all the time. */
function nothingToCompare(context: Context, name: string): ExitCode {
  const text = `✔ ${name} owns no tables: there is nothing to compare\nnext: ${commandLine(context, `status ${name}`)}\n`
  context.write(
    context.json ? jsonText({ slice: name, tables: [], rows: 0, differences: 0 }) : text,
  )
  return 0
}

function stoppedWaiting(context: Context, name: string, id: number): ExitCode {
  const text = `you stopped waiting; ${name} is compared all the same\nnext: ${commandLine(context, `why ${name}`)}\n`
  context.write(context.json ? jsonText({ slice: name, verification: id, ended: false }) : text)
  return 4
}

/** Until it has ended, or the person has had enough. */
async function awaitVerification(
  { store, ear, wiring }: Opened,
  context: Context,
  slice: Slice,
  stage: Stage,
  id: number,
): Promise<VerificationRow> {
  const live = process.stdout.isTTY && !context.json
  const stream = streamOf(slice, stage)
  const began = performance.now()
  await using waits = new Waits(sourceUrl(wiring, slice, stage))
  const watch = streamWatch(slice.name)
  try {
    for (;;) {
      const heard = ear.heard(['verification', 'stream'], LOOK_MS, context.signal)
      const found = must(await readVerification(store, id), 'the verification')
      if (found.endedAtMs !== null || context.signal.aborted) return found
      const row = (await readStreams(store)).find(each => each.name === stream)
      watch(row ? [row] : [])
      if (live) {
        const ms = performance.now() - began
        const text = (await waits.text(ms)) ?? progressOf(row, ms)
        context.write(`\r\u001b[K  ${cut(text, widthOf(context) - 3)}`)
      }
      await heard
    }
  } finally {
    if (live) context.write('\r\u001b[K')
  }
}

function sourceUrl(wiring: Wiring, { service }: Slice, stage: Stage): string {
  const [owner] = sidesOf(service, stage)
  return (owner === 'legacy' ? wiring.legacy : must(wiring.services[owner], owner)).capture
}

/** Whom the worker waits for before it compares: asked once that takes longer than usual. */
class Waits implements AsyncDisposable {
  readonly #url: string
  #client: Promise<pg.Client> | undefined

  constructor(url: string) {
    this.#url = url
  }

  async text(ms: number): Promise<string | undefined> {
    if (ms < WAITS_MS) return undefined
    const asked = { url: this.#url, applicationName: 'banyan verify', answerMs: WAITS_MS }
    this.#client ??= connect(asked)
    const who = await this.#client.then(waitedFor).catch(() => undefined)
    return who === undefined ? undefined : `waits for an open transaction: ${who}`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client?.then(client => client.end()).catch(() => undefined)
  }
}

/** The one that applies changes: its worker compares. */
function streamOf({ name, service }: Slice, stage: Stage): string {
  const [from, to] = sidesOf(service, stage)
  return formatStream({ from, to, what: name })
}

/** The owner's side first: the other one is compared with it. */
function sidesOf(service: string, stage: Stage): readonly [owner: string, other: string] {
  return STAGES[stage].stream === 'reverse' ? [service, 'legacy'] : ['legacy', service]
}

function progressOf(row: StreamRow | undefined, ms: number): string {
  if (row?.state === 'streaming') return `comparing … ${timeText(ms)}`
  return row?.state === 'copying' ? 'waiting for the first copy …' : 'waiting for a worker …'
}

function say(
  context: Context,
  slice: Slice,
  stage: Stage,
  found: VerificationRow,
  orphans: readonly Orphans[],
): ExitCode {
  const { name } = slice
  const differences = found.differences ?? 0
  const exit = found.error ? 4 : differences > 0 ? 3 : 0
  const problem = found.error
    ? { ...found.error, hint: found.error.hint.replace('<slice>', name) }
    : differences > 0
      ? new BanyanError(CONTROL_ERRORS.VERIFY_DIFFERS, [countText(differences), name])
      : undefined
  if (context.json) {
    const { rows, tables, ms, endedAtMs } = found
    const error = problem && { code: problem.code, message: problem.message, hint: problem.hint }
    const [owner, other] = sidesOf(slice.service, stage)
    const result = { slice: name, owner, other, rows, differences: found.differences, tables, ms }
    const keys = orphanedKeys(orphans)
    context.write(jsonText({ ...result, endedAtMs, orphans: keys, ...(error && { error }) }))
    return exit
  }
  if (found.tables) context.write(tablesText(context, slice, stage, found, found.tables))
  for (const line of orphanLines(context, orphans, { slice: name, hint: false })) {
    context.write(`${line}\n`)
  }
  // What to do about it is the next command.
  if (problem) {
    const lines = problemLines(paintOf(context), problem, { hint: false })
    context.write(`${lines.join('\n')}\n`)
  }
  const next = exit === 0 ? `plan ${name}` : exit === 3 ? `why ${name}` : `verify ${name}`
  context.write(`next: ${commandLine(context, next)}\n`)
  return exit
}

function tablesText(
  context: Context,
  { name, service }: Slice,
  stage: Stage,
  found: VerificationRow,
  tables: readonly VerifiedTable[],
): string {
  const colors = pc.createColors(context.color)
  const width = widthOf(context)
  const [owner, other] = sidesOf(service, stage)
  const rows = countOf(found.rows ?? 0, 'row')
  const equal = (found.differences ?? 0) === 0
  const head = `${equal ? colors.green('✔') : colors.red('✖')} ${colors.bold(name)}  ${rows} compared in ${timeText(found.ms ?? 0)}`
  const header = ['TABLE', 'ROWS', 'MISSING', 'EXTRA', 'DIFFERENT']
  const body = printable(tables).map(table => [
    unqualified(table.table),
    ...[table.rows, table.missing, table.extra, table.different].map(countText),
  ])
  const wide = Math.max(...[header, ...body].map(row => row[1]?.length ?? 0))
  const right = [header, ...body].map(([table = '', ...counts]) => [
    table,
    ...counts.map((count, n) => count.padStart(n === 0 ? wide : (header[n + 1]?.length ?? 0))),
  ])
  const keys = printable(tables)
    .filter(table => table.keys.length > 0)
    .flatMap(table => flow([`${unqualified(table.table)}:`, ...table.keys], width, KEYS))
  const legend = equal ? [] : [`missing: only at ${owner} · extra: only at ${other}`]
  return `${[head, ...layOut(right, width), ...legend, ...keys].join('\n')}\n`
}

const KEYS = { between: '  ', indent: '  ' } as const
