/** Waits, and shows how far it is, while a slice's tables are copied for the first time. */
import { streamsOf } from '../control/slice-streams.ts'
import { readStreams, type StreamRow } from '../control/store/streams.ts'
import type { Slice } from '../model/project.ts'
import { countText, timeText } from './amounts.ts'
import type { Context } from './context.ts'
import type { Opened } from './control-store.ts'
import { liveLine } from './live.ts'
import { streamWatch } from './stream-watch.ts'

const LOOK_MS = 250

/**
 * Resolves to true when all streams of the slice are in step, to false when the person stops waiting (the copy goes on).
 * Throws STREAMS_SILENT, or what a stream failed of.
 */
export async function awaitInStep(
  context: Context,
  { wiring, store, ear }: Opened,
  slice: Slice,
): Promise<boolean> {
  const line = liveLine(context)
  const began = performance.now()
  const watch = streamWatch(slice.name)
  const { services } = wiring.project.banyan
  try {
    while (!context.signal.aborted) {
      const heard = ear.heard(['stream'], LOOK_MS, context.signal)
      const streams = streamsOf(slice, await readStreams(store), services)
      const arrived = inStepNow(streams)
      if (arrived) {
        const took = timeText(performance.now() - began)
        const text = `${countText(arrived.rows)} rows in ${took}, in step, lag ${timeText(arrived.lagMs)}`
        line.clear()
        if (!context.json) context.write(`  ${text}\n`)
        return true
      }
      line.show(`  ${progressOf(streams)}`)
      watch(streams)
      await heard
    }
    return false
  } finally {
    line.clear()
  }
}

/** What they have copied, and how late they are, once all of them are in step; undefined before. */
export function inStepNow(
  streams: readonly StreamRow[],
): { readonly rows: number; readonly lagMs: number } | undefined {
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
  return `copy ${part} %, ${countText(rows)} rows …`
}
