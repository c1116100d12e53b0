/** What `banyan doctor --rebuild-control` says: what was made again, from what, and what nobody can bring back. */
import pc from 'picocolors'
import type { StreamFound } from '../control/in-databases.ts'
import type { Rebuilt, RebuiltSlice } from '../control/rebuild.ts'
import type { BanyanError } from '../model/errors.ts'
import { formatLsn } from '../model/position.ts'
import type { Project } from '../model/project.ts'
import { explain } from '../postgres/explain.ts'
import { countOf } from './amounts.ts'
import { commandLine, type Context, jsonText } from './context.ts'
import { fit } from './fit.ts'
import { layOut, printable, widthOf } from './table.ts'

const LOST = [
  'brakes (a slice follows its file again)',
  'the journal until now',
  'the census',
  'verifications',
  'the lists of refused writes and of writes round the gate',
]

/** For the journal. */
export function detailOf(slice: RebuiltSlice): Record<string, unknown> {
  const { stage, owner, epoch, number, settled, streams } = slice
  return {
    ...{ stage, owner, epoch, number, settled: settled && settledOf(settled) },
    streams: { forward: streamOf(streams.forward), reverse: streamOf(streams.reverse) },
  }
}

/** Its way back is broken, or nobody could settle it. */
export function needsPerson({ stage, streams, settled }: RebuiltSlice): boolean {
  const broken = stage === 'moved' && streams.reverse.kind !== 'goes on'
  return broken || settled?.why !== undefined
}

export function writeNothing(context: Context, why: string): void {
  if (context.json) return context.write(jsonText({ rebuilt: false, why }))
  const next = `next: ${commandLine(context, 'status')}`
  context.write(`${[...fit(context, [`nothing to rebuild: ${why}`]), next].join('\n')}\n`)
}

export function writeRebuilt(context: Context, rebuilt: Rebuilt, project: Project): void {
  const noTrace = project.slices
    .filter(each => Object.keys(each.tables).length === 0)
    .map(each => each.name)
  if (!context.json)
    return context.write(
      screen(context, printable(linesOf(rebuilt, noTrace)), nextOf(rebuilt, project)),
    )
  const { asked, away, slices, copies } = rebuilt
  context.write(
    jsonText({
      rebuilt: true,
      from: asked,
      away: [...away].map(([database, error]) => ({ database, why: explain(error).message })),
      slices: slices.map(each => ({ slice: each.name, ...detailOf(each) })),
      copies: copies.map(({ stream }) => streamOf(stream)),
      lost: LOST,
      noTrace,
    }),
  )
}

interface Lines {
  readonly head: string
  readonly rows: readonly (readonly string[])[]
  readonly notes: readonly string[]
}

function linesOf({ asked, away, slices, copies }: Rebuilt, noTrace: readonly string[]): Lines {
  return {
    head: `the control database is made again from ${asked.join(', ')}`,
    rows: slices.map(({ name, stage, owner, service, epoch, streams }) => [
      ...[name, stage, owner === 'legacy' ? 'legacy' : service, String(epoch)],
      [streams.forward, streams.reverse].filter(each => each.kind === 'goes on').length === 2
        ? 'both go on'
        : `forward ${wordOf(streams.forward)}, reverse ${wordOf(streams.reverse)}`,
    ]),
    notes: [
      ...[...away].map(([name, error]) => `${name} was not asked: ${explain(error).message}`),
      ...slices.flatMap(notesOf),
      ...copies.flatMap(({ stream, service }) =>
        stream.kind === 'stuck' ? [`read copies of ${service}: ${aboutStuck(stream.why)}`] : [],
      ),
      ...noTrace.map(name => `${name} has no tables, so nothing is known: it begins at legacy`),
      `lost with the old one: ${LOST.join(', ')}`,
    ],
  }
}

function notesOf({ name, stage, streams, settled }: RebuiltSlice): string[] {
  const notes: string[] = []
  if (settled?.why !== undefined) {
    notes.push(`${name} stays closed: epoch ${settled.epoch}: ${explain(settled.why).message}`)
  } else if (settled) {
    notes.push(
      `${name} was closed in the middle of a flip: epoch ${settled.epoch} is ${settled.verdict}`,
    )
  }
  for (const [which, stream] of Object.entries(streams)) {
    if (stream.kind === 'stuck') notes.push(`${name}, ${which}: ${aboutStuck(stream.why)}`)
    else if (stream.kind === 'none' && stage === 'moved') {
      notes.push(
        `${name}, ${which}: no such stream; ${which === 'reverse' ? 'there is no way back without loss' : 'nobody watches legacy'}`,
      )
    }
  }
  return notes
}

function aboutStuck({ code, message }: BanyanError): string {
  return `${code} ${message}`
}

function wordOf({ kind }: StreamFound): string {
  return { 'goes on': 'goes on', stuck: 'can not go on', none: 'is not there' }[kind]
}

function streamOf(stream: StreamFound): Record<string, unknown> {
  const { name, kind } = stream
  if (kind === 'none') return { name, state: kind }
  const position = formatLsn(stream.position)
  if (kind === 'stuck') return { name, state: kind, position, code: stream.why.code }
  return { name, state: kind, position, seen: stream.seen }
}

function settledOf({ epoch, verdict, complete, why }: NonNullable<RebuiltSlice['settled']>) {
  return { epoch, verdict, complete, ...(why !== undefined && { why: explain(why).message }) }
}

function nextOf({ slices }: Rebuilt, { banyan }: Project): string {
  const broken = slices.find(needsPerson)
  if (broken) return `doctor ${broken.name}`
  return banyan.control.database === 'embedded' ? 'up' : 'run control'
}

function screen(context: Context, { head, rows, notes }: Lines, next: string): string {
  const colors = pc.createColors(context.color)
  const table = [['SLICE', 'STAGE', 'OWNER', 'EPOCH', 'STREAMS'], ...rows]
  const lines = [
    ...fit(context, [`${colors.green('✔')} ${head}: ${countOf(rows.length, 'slice')}`]),
    ...layOut(table, widthOf(context)),
    ...fit(
      context,
      notes.map(note => `${colors.yellow('!')} ${note}`),
    ),
    `next: ${commandLine(context, next)}`,
  ]
  return `${lines.join('\n')}\n`
}
