/** Waits, and shows how far it is, while a slice's tables are copied for the first time. */
import { readStreams, type StreamRow } from '../control/store/streams.ts'
import { BanyanError } from '../model/errors.ts'
import { CONTROL_ERRORS } from '../model/errors-control.ts'
import type { Slice } from '../model/project.ts'
import { COPIES, formatStream } from '../model/stream.ts'
import type { Context } from './context.ts'
import type { Opened } from './control-store.ts'

const LOOK_MS = 250
/** A worker that says nothing for this long isn't there. */
const SILENT_MS = 10_000
/** A worker tries again by itself; what still fails after this needs a person. */
const FAILED_MS = 5_000

/**
 * Resolves to true when all streams of the slice are in step, to false when the person stops waiting (the copy goes on).
 * Throws STREAMS_SILENT, or what a stream failed of.
 */
export async function awaitInStep(
  context: Context,
  { wiring, store, ear }: Opened,
  slice: Slice,
): Promise<boolean> {
  const live = process.stdout.isTTY && !context.json
  const began = performance.now()
  let heardAt = began
  let failedAt: number | undefined
  while (!context.signal.aborted) {
    const heard = ear.heard(['stream'], LOOK_MS, context.signal)
    const { services } = wiring.project.banyan
    const all = await readStreams(store)
    const streams = streamsOf(slice, all, services)
    const arrived = inStepNow(slice, all, services)
    if (arrived) {
      const { rows } = arrived
      const lag = Math.round(arrived.lagMs)
      const seconds = ((performance.now() - began) / 1000).toFixed(1)
      if (live) context.write('\r\u001b[K')
      if (!context.json)
        context.write(
          `  ${rows.toLocaleString('en-US')} rows in ${seconds} s, in step, lag ${lag} ms\n`,
        )
      return true
    }
    if (live) context.write(`\r\u001b[K  ${progressOf(streams)}`)
    const now = performance.now()
    if (streams.some(each => (each.silentMs ?? Infinity) < SILENT_MS / 2)) heardAt = now
    const broken = streams.find(each => each.error !== null)
    failedAt = broken ? (failedAt ?? now) : undefined
    if (broken?.error && failedAt !== undefined && now - failedAt > FAILED_MS) {
      throw new StreamBroken(broken)
    }
    if (now - heardAt > SILENT_MS) {
      throw new BanyanError(CONTROL_ERRORS.STREAMS_SILENT, [slice.name, SILENT_MS / 1000])
    }
    await heard
  }
  if (live) context.write('\r\u001b[K')
  return false
}

class StreamBroken extends BanyanError {
  constructor({ name, error }: StreamRow) {
    const { code, message } = error ?? { code: 'UNEXPECTED', message: '' }
    super({ ...CONTROL_ERRORS.STREAM_BROKEN, code }, [name, message])
  }
}

/** What the streams of a slice have copied, and how late they are, once all of them are in step; undefined before. */
export function inStepNow(
  slice: Pick<Slice, 'name' | 'service'>,
  all: readonly StreamRow[],
  services: Parameters<typeof streamsOf>[2],
): { readonly rows: number; readonly lagMs: number } | undefined {
  const streams = streamsOf(slice, all, services)
  if (!streams.every(inStep)) return undefined
  return {
    rows: streams.reduce((sum, each) => sum + each.rowsCopied, 0),
    lagMs: Math.max(...streams.map(each => each.lagMs ?? 0)),
  }
}

function inStep(stream: StreamRow): boolean {
  return stream.state === 'streaming' && stream.position !== null
}

function progressOf(streams: readonly StreamRow[]): string {
  const copying = streams.filter(each => each.rowsTotal > 0)
  const rows = copying.reduce((sum, each) => sum + each.rowsCopied, 0)
  const total = copying.reduce((sum, each) => sum + each.rowsTotal, 0)
  if (total === 0) return 'waiting for the streams …'
  // The total is the planner's estimate: it can be short of the truth.
  const part = Math.min(99, Math.floor((100 * rows) / total))
  return `copy ${part} %, ${rows.toLocaleString('en-US')} rows …`
}

/** Forward, reverse and read copies; those that aren't on record yet count as not in step. */
export function streamsOf(
  slice: Pick<Slice, 'name' | 'service'>,
  all: readonly StreamRow[],
  services: Readonly<Record<string, { readonly copies: readonly string[] }>>,
): StreamRow[] {
  const { name, service } = slice
  const wanted = [
    formatStream({ from: 'legacy', to: service, what: name }),
    formatStream({ from: service, to: 'legacy', what: name }),
  ]
  if ((services[service]?.copies.length ?? 0) > 0) {
    wanted.push(formatStream({ from: 'legacy', to: service, what: COPIES }))
  }
  return wanted.flatMap(each => {
    const known = all.find(stream => stream.name === each)
    return known ? [known] : [unborn(each, name)]
  })
}

function unborn(name: string, slice: string): StreamRow {
  const nothing = { rowsCopied: 0, rowsTotal: 0, position: null, watermark: null }
  return { name, slice, state: 'new', lagMs: null, silentMs: null, error: null, ...nothing }
}
