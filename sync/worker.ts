/** Runs every stream that the stages ask for, each alone in its failures; takes down those that nobody wants any more. */
import { BanyanError } from '../model/errors.ts'
import { pause } from '../model/pause.ts'
import { formatStream, parseStream } from '../model/stream.ts'
import { type StreamTask, wantedStreams } from './plan.ts'
import { endStream } from './stream-begin.ts'
import { problemOf, runStream, type StreamContext } from './stream-run.ts'

/** How often the stages are read. */
const LOOK_MS = 200
/** After a failure: doubled each time up to the second. */
const AGAIN_MIN_MS = 100
const AGAIN_MAX_MS = 5_000

/** Runs until the signal aborts. */
export async function runWorker(context: StreamContext, signal: AbortSignal): Promise<void> {
  const running = new Map<string, { stop: AbortController; done: Promise<void>; census: boolean }>()
  while (!signal.aborted) {
    try {
      await adjust()
    } catch (error) {
      // The control database is away: what runs goes on, nothing new begins.
      context.log.warn({ err: error }, 'stages not readable')
    }
    await pause(LOOK_MS, signal)
  }
  await Promise.all([...running.values()].map(each => each.done))

  async function adjust(): Promise<void> {
    const wanted = wantedStreams(context.wiring.project, await context.store.stages())
    const names = new Set(wanted.map(task => formatStream(task.stream)))
    for (const [name, stream] of running) {
      const task = wanted.find(each => formatStream(each.stream) === name)
      if (task && task.census === stream.census) continue
      stream.stop.abort()
      await stream.done
      running.delete(name)
    }
    for (const task of wanted) {
      const name = formatStream(task.stream)
      if (running.has(name) || !(await context.store.claim(name))) continue
      const stop = new AbortController()
      const done = keep(context, task, AbortSignal.any([signal, stop.signal]))
      running.set(name, { stop, done, census: task.census })
    }
    for (const name of await context.store.known()) {
      if (names.has(name) || !(await context.store.claim(name))) continue
      const stream = parseStream(name)
      if (!stream) continue
      const service = stream.from === 'legacy' ? stream.to : stream.from
      await endStream(context, { stream, slice: undefined, service, census: false }, signal)
    }
  }
}

async function keep(context: StreamContext, task: StreamTask, signal: AbortSignal): Promise<void> {
  const name = formatStream(task.stream)
  let againMs = AGAIN_MIN_MS
  while (!signal.aborted) {
    const started = performance.now()
    try {
      await runStream(context, task, signal)
    } catch (error) {
      if (signal.aborted) return
      context.log.warn({ stream: name, err: error }, 'stream stopped')
      const problem = problemOf(error)
      const state = context.store.state(name, task.slice?.name ?? null, 'failed', { problem })
      await state.catch(() => undefined)
      // Its successor has it: this one waits until it is the only one again.
      if (error instanceof BanyanError && error.code === 'STREAM_TAKEN') againMs = AGAIN_MAX_MS
    }
    if (performance.now() - started > AGAIN_MAX_MS) againMs = AGAIN_MIN_MS
    await pause(againMs, signal)
    againMs = Math.min(againMs * 2, AGAIN_MAX_MS)
  }
}
