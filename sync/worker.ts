/** Runs every stream that the stages ask for, each alone in its failures; takes down those that nobody wants any more. */
import { BanyanError } from '../model/errors.ts'
import { pause } from '../model/pause.ts'
import { formatStream, parseStream, type StreamName } from '../model/stream.ts'
import { isOver, type StreamTask, wantedStreams } from './plan.ts'
import { endStream } from './stream-begin.ts'
import { problemOf, runStream, type StreamContext } from './stream-run.ts'

/** How often the stages are read. */
const LOOK_MS = 200
/** After a failure: doubled each time up to the second. */
const AGAIN_MIN_MS = 100
const AGAIN_MAX_MS = 5_000
/** Between two attempts to take a stream down. */
const END_AGAIN_MS = 1_000

/** Runs until the signal aborts. */
export async function runWorker(context: StreamContext, signal: AbortSignal): Promise<void> {
  const running = new Map<string, { stop: AbortController; done: Promise<void>; census: boolean }>()
  const ending = new Map<string, Promise<void>>()
  while (!signal.aborted) {
    try {
      await adjust()
    } catch (error) {
      // The control database is away: what runs goes on, nothing new begins.
      context.log.warn({ err: error }, 'stages not readable')
    }
    await pause(LOOK_MS, signal)
  }
  await Promise.all([...[...running.values()].map(each => each.done), ...ending.values()])

  async function adjust(): Promise<void> {
    const { project } = context.wiring
    const stages = await context.store.stages()
    const wanted = wantedStreams(project, stages)
    const names = new Set(wanted.map(task => formatStream(task.stream)))
    for (const [name, stream] of running) {
      const task = wanted.find(each => formatStream(each.stream) === name)
      const same = task && task.census === stream.census
      // The claim is a session's: whoever has lost it would fight its successor for ever.
      if (same && (await context.store.claim(name))) continue
      stream.stop.abort()
      await stream.done
      running.delete(name)
    }
    for (const task of wanted) {
      const name = formatStream(task.stream)
      if (running.has(name) || ending.has(name)) continue
      if (!(await context.store.claim(name))) continue
      const stop = new AbortController()
      const done = keep(context, task, AbortSignal.any([signal, stop.signal]))
      running.set(name, { stop, done, census: task.census })
    }
    for (const name of await context.store.known()) {
      const stream = parseStream(name)
      if (!stream || names.has(name) || !isOver(stream, project, stages)) continue
      if (ending.has(name) || !(await context.store.claim(name))) continue
      const done = end(context, stream, signal).finally(() => ending.delete(name))
      ending.set(name, done)
    }
  }
}

/** One attempt; the next one comes with a later look. */
async function end(context: StreamContext, stream: StreamName, signal: AbortSignal): Promise<void> {
  const service = stream.from === 'legacy' ? stream.to : stream.from
  try {
    await endStream(context, { stream, slice: undefined, service, census: false }, signal)
  } catch (error) {
    if (signal.aborted) return
    context.log.warn({ stream: formatStream(stream), err: error }, 'stream not ended')
    await pause(END_AGAIN_MS, signal)
  }
}

async function keep(context: StreamContext, task: StreamTask, signal: AbortSignal): Promise<void> {
  const name = formatStream(task.stream)
  let againMs = AGAIN_MIN_MS
  while (!signal.aborted) {
    const started = performance.now()
    let taken = false
    try {
      if (!(await context.store.claim(name))) {
        await pause(LOOK_MS, signal)
        continue
      }
      await runStream(context, task, signal)
    } catch (error) {
      if (signal.aborted) return
      context.log.warn({ stream: name, err: error }, 'stream stopped')
      const problem = problemOf(error)
      // What ended for one that stood still isn't what is true of its successor.
      if (await context.store.claim(name).catch(() => false)) {
        const state = context.store.state(name, task.slice?.name ?? null, 'failed', { problem })
        await state.catch(() => undefined)
      }
      taken = error instanceof BanyanError && error.code === 'STREAM_TAKEN'
    }
    if (performance.now() - started > AGAIN_MAX_MS) againMs = AGAIN_MIN_MS
    // Its successor has it.
    if (taken) againMs = AGAIN_MAX_MS
    await pause(againMs, signal)
    againMs = Math.min(againMs * 2, AGAIN_MAX_MS)
  }
}
